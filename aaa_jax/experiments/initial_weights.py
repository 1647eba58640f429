"""Weights that a run begins with: of another run, or of a file (`model.init_from`).

Every leaf of the network must have its place there, and no other may be there. Only the
head, the leaves whose shape depends on the number of classes, begins anew where the
classes differ. The optimiser and the policies begin anew as in any run.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from aaa_jax.experiments.build import build_model
from aaa_jax.experiments.config_rules import ConfigError
from aaa_jax.models import timm_layout, weight_files
from aaa_jax.models.resnet import ResNet
from aaa_jax.runtime import paths, randomness
from aaa_jax.workdir import checkpoints, run_directory, run_facts

SHOWN = 5  # leaves in a message


class InitialWeights(NamedTuple):
    """What a run begins with."""

    # by name, such as `params.classifier.dense.kernel`; others begin anew
    leaves: dict[str, np.ndarray]
    said: str  # which came and which did not, for the screen


class _Source(NamedTuple):
    """What was found; no class names where it does not say them."""

    name: str
    leaves: dict[str, np.ndarray]
    class_names: tuple[str, ...]


def read(
    config: ml_collections.ConfigDict,
    class_names: Sequence[str],
    image_shape: tuple[int, ...],
) -> InitialWeights:
    """The weights that `model.init_from` names, for the network of a config.

    The class names are of the run's data; the network sees images of (H, W, C).

    Raises:
        ConfigError: naming what cannot be read, or does not fit.
    """
    count = len(class_names)
    shapes, wider = (_shapes(config, k, image_shape) for k in (count, count + 1))
    try:
        place = paths.expand(config.model.init_from)
        if not epath.Path(place).exists():
            raise ConfigError(
                f"model.init_from: there is no {place}; give a run directory, or a "
                ".safetensors or .npz file"
            )
        if epath.Path(place).is_dir():
            source = _read_run(place)
        else:
            source = _read_file(place, config, shapes)
    except (
        weight_files.WeightFileError,
        checkpoints.CheckpointError,
        run_directory.RunDirectoryError,
        paths.PathError,
    ) as error:
        raise ConfigError(f"model.init_from: {error}") from error
    head = [name for name in shapes if shapes[name] != wider[name]]
    why = _why_anew(source, head, shapes, class_names)
    anew = head if why else []
    _require_fit(source, shapes, anew)
    leaves = {name: source.leaves[name] for name in shapes if name not in anew}
    said = f"weights from {source.name}: {len(leaves)} leaves came ({_modules(leaves)})"
    if anew:
        said += f"; {len(anew)} begin anew ({', '.join(anew)}): {why}"
    return InitialWeights(leaves, said)


def put_into(weights: InitialWeights, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The params and batch_stats of a fresh network, with the weights that came."""

    def chosen(path: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        found = weights.leaves.get(name)
        return leaf if found is None else jnp.asarray(found, leaf.dtype)

    return jax.tree_util.tree_map_with_path(chosen, dict(variables))


def _read_run(place: str) -> _Source:
    """The network of the newest sound checkpoint of a run."""
    path = epath.Path(place)
    if not (path / "config.json").exists():
        raise ConfigError(
            f"model.init_from: {place} is no run directory: it has no config.json"
        )
    step, saved = checkpoints.read_newest(path)
    leaves = {
        name.removeprefix("train."): leaf
        for name, leaf in saved.items()
        if name.startswith(("train.params.", "train.batch_stats."))
    }
    recorded = run_facts.load_facts(path).get(run_facts.DATASET, {})
    names = tuple(recorded.get("class_names", ()))
    return _Source(f"step {step} of {place}", leaves, names)


def _read_file(
    place: str, config: ml_collections.ConfigDict, names: Iterable[str]
) -> _Source:
    """The leaves of a file under our names; it may have those of timm."""
    found, metadata = weight_files.read(place)
    leaves = {name.replace("/", "."): leaf for name, leaf in found.items()}
    name = place
    if timm_layout.is_timm(leaves):
        model = build_model(config, 2)
        if not isinstance(model, ResNet):
            raise ConfigError(
                f"model.init_from: {place} has timm's weights of a ResNet, but "
                f"model.name is {config.model.name!r}: set it to resnet"
            )
        leaves = timm_layout.from_timm(leaves, names, model.variant)
        name = f"{place} (timm's names)"
    class_names = json.loads(metadata.get("class_names", "[]"))
    return _Source(name, leaves, tuple(class_names))


def _shapes(
    config: ml_collections.ConfigDict, num_classes: int, image_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """The shape of every leaf of the network, by name."""
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    init = functools.partial(build_model(config, num_classes).init, train=False)
    variables = jax.eval_shape(init, randomness.key_of_seed(0), images)
    return {name: leaf.shape for name, leaf in flatten_dict(variables, sep=".").items()}


def _why_anew(
    source: _Source,
    head: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    class_names: Sequence[str],
) -> str:
    """Why the leaves of the head cannot be taken; "" where they can."""
    there = [name for name in head if name in source.leaves]
    if not there:
        return "they are not there"
    if source.class_names and source.class_names != tuple(class_names):
        return (
            f"its {len(source.class_names)} classes, {source.class_names[0]!r} and so "
            f"on, are not the {len(class_names)} here, {class_names[0]!r} and so on"
        )
    if all(source.leaves[name].shape == shapes[name] for name in there):
        return ""
    sizes = {source.leaves[name].shape[-1] for name in there}
    return f"{max(sizes)} classes there, {len(class_names)} here"


def _require_fit(
    source: _Source, shapes: Mapping[str, tuple[int, ...]], anew: Sequence[str]
) -> None:
    """Refuses leaves that are missing, unknown, of another shape, or no numbers."""
    wrong = [
        f"{name} is not there"
        for name in shapes
        if name not in source.leaves and name not in anew
    ]
    for name, leaf in source.leaves.items():
        if name not in shapes:
            wrong.append(f"{name} is no leaf of the network")
        elif name in anew:
            continue
        elif leaf.shape != shapes[name]:
            wrong.append(f"{name} is {list(leaf.shape)}, not {list(shapes[name])}")
        elif not jnp.issubdtype(leaf.dtype, jnp.floating):
            wrong.append(f"{name} holds {leaf.dtype}, not floats")
        elif not np.isfinite(leaf.astype(np.float32)).all():
            wrong.append(f"{name} holds values that are not finite")
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ConfigError(
            f"model.init_from: {source.name} does not fit the network of this config: "
            f"{'; '.join(wrong[:SHOWN])}{more}. Set model.name and model.options "
            "to the network that the weights are of"
        )


def _modules(names: Iterable[str]) -> str:
    """The parts of the network that leaves belong to, each once."""
    return ", ".join(dict.fromkeys(name.split(".")[1] for name in names))
