"""The training step of a preset: its shapes at full size, or something to run.

Also the networks that benchmarks time, each with its preset and rows.
"""

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

# A folder's preset has no size of its own.
NOT_PRESETS = ("__init__", "arguments", "default", "table", "folder", *TABLES)
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PRESETS = tuple(sorted({path.stem for path in CONFIGS.glob("*.py")} - {*NOT_PRESETS}))
# Name -> preset, and rows of a step that leave room for a second framework in 80 GB.
NETWORKS = {
    "wrn16x4": ("cifar10_5000", 1024),
    "wrn40x2": ("cifar10_wrn40x2", 1024),
    "wrn28x10": ("cifar10_wrn28x10", 1024),
    "shake26_2x32d": ("cifar10_shake26_2x32d", 1024),
    "shake26_2x96d": ("cifar10_shake26_2x96d", 1024),
    "shake26_2x112d": ("cifar10_shake26_2x112d", 1024),
    "pyramidnet": ("cifar10_pyramidnet", 256),
    "r50": ("imagenet_r50", 512),
    "r50d": ("imagenet_r50d", 512),
    "r200": ("imagenet_r200", 256),
}
TINY = {  # options of --quick
    "wide_resnet": {"depth": 10, "width": 1},
    "shake_shake": {"depth": 8, "width": 4},
    "pyramidnet": {"depth": 11, "widening": 6},
    "resnet": {"depth": 14, "width": 4},
}
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
    """A training step and what it is called with, on one device."""

    call: Callable[..., tuple[step.TrainState, dict[str, jax.Array]]]
    make_arguments: Callable[[], tuple[Any, ...]]  # state, data, policies, root key
    experiment: Experiment

    def shapes(self) -> tuple[Any, ...]:
        """Those of the arguments; nothing is allocated."""
        return jax.eval_shape(self.make_arguments)


def get_config(preset: str, argument: str = "ours") -> ConfigDict:
    """The config of `configs/PRESET.py:ARGUMENT`."""
    return importlib.import_module(f"aaa_jax.configs.{preset}").get_config(argument)


def describe(config: ConfigDict) -> data.DatasetSpec:
    """The row of the dataset's table, and of ImageNet what it will say."""
    return data.DATASETS.get(config.data.name, IMAGENET)


def network_config(
    network: str, dtype: str, rows: int = 0, *, is_quick: bool = False
) -> tuple[ConfigDict, data.DatasetSpec]:
    """A network's config for so many rows (0: its own), and its dataset's description.

    One pass, random policies; tiny if `is_quick`.
    """
    preset, usual_rows = NETWORKS[network]
    config = get_config(preset, "random")
    config.model.dtype = dtype
    config.batch_size = (rows or usual_rows) // config.policies.num_policies
    config.num_passes = 1
    config.epochs = max(config.epochs, 100)
    spec = describe(config)
    if is_quick:
        config.model.options = TINY[config.model.name]
        spec = spec._replace(image_size=32, num_classes=10)
    return config, spec


def torch_setting(
    config: ConfigDict, spec: data.DatasetSpec, *, is_compiled: bool
) -> dict[str, Any]:
    """What `torch_step.make_training` needs to train the network of a config."""
    names = ("learning_rate", "weight_decay", "clip_norm")
    return {
        "model": config.model.name,
        "options": config.model.options.to_dict(),
        "num_classes": spec.num_classes,
        "dtype": config.model.dtype,
        "compile": is_compiled,
    } | {name: config.optimizer[name] for name in names}


def full_step(config: ConfigDict) -> PresetStep:
    """The step of a config at full size, as an accelerator runs it.

    The train split is resident; of ImageNet, which is not, a mini-batch is.
    """
    spec, name = describe(config), config.data.name
    num_images = config.data.num_train_images or data.NUM_IMAGES[name][0]
    resident = config.batch_size if name == "imagenet2012" else num_images
    made = make_step(config, spec, num_images, resident)
    recipe = made.experiment.recipe._replace(unroll=False)
    return made._replace(call=functools.partial(made.call, recipe=recipe))


def make_step(
    config: ConfigDict, spec: data.DatasetSpec, num_images: int, resident: int
) -> PresetStep:
    """The step of a config on ``resident`` images of noise in a split of so many."""
    made = build(config, spec, num_images)
    shape = (spec.image_size, spec.image_size, 3)
    parts = {"model": made.model, "optimizer": made.optimizer, "recipe": made.recipe}
    call = functools.partial(step.train_step, **parts, axis_name=None)

    def make_arguments() -> tuple[Any, ...]:
        key, recipe = jax.random.key(0), made.recipe
        state = step.init_train_state(
            key,
            made.model,
            made.optimizer,
            shape,
            recipe.layout.num_policies,
            num_sub_policies=recipe.num_sub_policies,
            keeps_round_start=recipe.is_gain,
        )
        train = step.ResidentData(
            images=jax.random.bits(key, (resident, *shape), jnp.uint8),
            labels=jnp.zeros(resident, jnp.int32),
            permutation=jnp.arange(resident, dtype=jnp.int32),
        )
        policies = made.source.sample(key, made.source.init(key), jnp.float32(0))
        return state, train, policies, key

    return PresetStep(call, make_arguments, made)
