"""The training step of a preset: its shapes at full size, or something to run."""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from aaa_jax import data
from aaa_jax.experiments.build import Experiment, build
from aaa_jax.experiments.paper_tables import TABLES
from aaa_jax.train import step

NOT_PRESETS = ("__init__", "arguments", "default", "table", *TABLES)
PRESETS = tuple(
    sorted(
        path.stem
        for path in (Path(__file__).resolve().parents[2] / "configs").glob("*.py")
        if path.stem not in NOT_PRESETS
    )
)
NUM_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet2012": 1_281_167}
IMAGENET = data.DatasetSpec(
    name="imagenet2012",
    num_classes=1000,
    image_size=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    fill=(124, 116, 104),
    flip=True,
)


class PresetStep(NamedTuple):
    """A training step and what it is called with, on one device.

    Attributes:
        call: `step.train_step` of the experiment.
        make_arguments: a fresh (train state, data, policies, root key).
        experiment: what the config stands for.
    """

    call: Callable[..., tuple[step.TrainState, dict[str, jax.Array]]]
    make_arguments: Callable[[], tuple[Any, ...]]
    experiment: Experiment

    def shapes(self) -> tuple[Any, ...]:
        """Those of the arguments; nothing is allocated."""
        return jax.eval_shape(self.make_arguments)


def get_config(preset: str, argument: str = "ours") -> ConfigDict:
    """The config of `configs/PRESET.py:ARGUMENT`."""
    return importlib.import_module(f"configs.{preset}").get_config(argument)


def describe(config: ConfigDict) -> data.DatasetSpec:
    """The row of the dataset's table, and of ImageNet what it will say."""
    return data.DATASETS.get(config.data.name, IMAGENET)


def full_step(config: ConfigDict) -> PresetStep:
    """The step of a config at full size, as an accelerator runs it.

    The train split is resident; of ImageNet, which is not, a mini-batch is.
    """
    spec, name = describe(config), config.data.name
    num_images = config.data.num_train_images or NUM_IMAGES[name]
    resident = config.batch_size if name == "imagenet2012" else num_images
    made = make_step(config, spec, num_images, resident)
    recipe = made.experiment.recipe._replace(unroll=False)
    return made._replace(call=functools.partial(made.call, recipe=recipe))


def planned_bytes(compiled: Any) -> int:
    """What a compiled program has on the device, by the compiler's plan."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def make_step(
    config: ConfigDict, spec: data.DatasetSpec, num_images: int, resident: int
) -> PresetStep:
    """The step of a config on ``resident`` images of noise in a split of so many."""
    experiment = build(config, spec, num_images)
    image_shape = (spec.image_size, spec.image_size, 3)
    call = functools.partial(
        step.train_step,
        model=experiment.model,
        optimizer=experiment.optimizer,
        recipe=experiment.recipe,
        axis_name=None,
    )
    make = functools.partial(_arguments, experiment, resident, image_shape)
    return PresetStep(call, make, experiment)


def _arguments(
    experiment: Experiment, resident: int, image_shape: tuple[int, int, int]
) -> tuple[Any, ...]:
    key, source = jax.random.key(0), experiment.source
    state = step.init_train_state(
        key,
        experiment.model,
        experiment.optimizer,
        image_shape,
        experiment.recipe.layout.num_policies,
    )
    train = step.ResidentData(
        images=jax.random.bits(key, (resident, *image_shape), jnp.uint8),
        labels=jnp.zeros(resident, jnp.int32),
        permutation=jnp.arange(resident, dtype=jnp.int32),
    )
    return state, train, source.sample(key, source.init(key), jnp.float32(0)), key
