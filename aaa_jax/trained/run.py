"""A trained network read back from a run directory, with what one needs to use it.

    run = aaa_jax.load_run("runs/digits")
    run.predict("pictures").top(5)
    run.evaluate().test_error

Nothing is written, renamed or locked: the run may still be going on. Only some keys of
`config.json`, the dataset's facts in `run.json`, the last line of `policies.jsonl` and
the network's leaves of the newest checkpoint are used: no dataset, except where a run
of an earlier version recorded no such facts.
"""

import argparse
import functools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from etils import epath
from flax import traverse_util

from aaa_jax import data
from aaa_jax.augment import magnitudes, standard
from aaa_jax.experiments.build import FILLS, build_model, evaluation_view
from aaa_jax.experiments.config_rules import ConfigError, wrong_values
from aaa_jax.experiments.splits import at_most
from aaa_jax.runtime import devices, randomness
from aaa_jax.runtime.paths import PathError
from aaa_jax.train import evaluate
from aaa_jax.workdir import atomic_files, checkpoints, run_directory, run_facts

if TYPE_CHECKING:
    from aaa_jax.trained.evaluate import Evaluation
    from aaa_jax.trained.predict import Predictions

BATCH_SIZE = 100  # images that the network sees at once
KEYS_READ = (
    *("data.name", "data.dir", "data.loader", "data.image_size", "data.resample"),
    *("data.on_bad_image", "data.num_threads", "evaluation.image_size"),
    *("evaluation.resize", "evaluation.batch_size", "model.name", "model.options"),
    *("model.dtype", "batch_size", "batch_norm.group_size", "batch_norm.grouping"),
    *("policies.num_policies", "policies.ranges", "policies.fill"),
)


class TrainedError(RuntimeError):
    """No network can be read from a run directory; the message says why."""


# What the commands of this room print as one line.
ERRORS = (
    TrainedError,
    data.DatasetError,
    run_directory.RunDirectoryError,
    PathError,
    devices.NoDeviceError,
)


class TrainedRun(NamedTuple):
    """The network of a run, and what it was trained on."""

    path: epath.Path  # the run directory
    step: int  # done when the checkpoint was saved
    model: nn.Module
    variables: dict[str, Any]  # params and batch_stats
    spec: data.DatasetSpec  # classes, size and normalisation of its images
    # Empty where the run recorded none, and its dataset is not here.
    class_names: tuple[str, ...]
    data_dir: str | None  # the folder of the datasets; None: the default
    ranges: str  # name of the table from magnitudes to values, with ten magnitudes
    fill: tuple[int, int, int]  # colour of pixels that an op moves in
    # How images are decoded; its `image_size` is the side of the square cut from the
    # middle, which the network sees.
    stream: data.StreamOptions
    resize: int  # length of an image's shorter side before that cut
    batch_size: int  # images of a batch in the run's own tests
    num_devices: int  # that the run used; 0: not known

    def predict(self, images: Any, *, batch_size: int = 128) -> "Predictions":
        """The probabilities of the classes: see `predict.predict`."""
        from aaa_jax.trained.predict import predict

        return predict(self, images, batch_size=batch_size)

    def evaluate(self, name: str = "", *, data_dir: str | None = None) -> "Evaluation":
        """Errors and loss on a test split: see `evaluate.evaluate`."""
        from aaa_jax.trained.evaluate import evaluate

        return evaluate(self, name, data_dir=data_dir)


def load_run(workdir: epath.PathLike, *, data_dir: str | None = None) -> TrainedRun:
    """The network of the newest sound checkpoint of a run.

    Args:
        workdir: a run directory; the run may be finished, stopped or going on.
        data_dir: folder of the datasets; None: as the run's config says.

    Raises:
        TrainedError: there is no run, or no sound checkpoint of its network.
        RunDirectoryError: a file of the run cannot be read.
        DatasetError: the run recorded nothing of its dataset, as earlier versions did,
            and it cannot be read.
        NoDeviceError: there is nothing to compute on.
    """
    devices.all_devices()
    path = run_directory.resolve(workdir)
    config = _read_config(path)
    data_dir = data_dir or config.data.dir or None
    facts = run_facts.load_facts(path)
    spec, class_names = _find_dataset(path, config, facts, data_dir)
    model = build_model(config, spec.num_classes)
    try:
        step, leaves = checkpoints.read_newest(path)
    except checkpoints.CheckpointError as error:
        raise TrainedError(str(error)) from error
    view = evaluation_view(config, spec)
    is_resized, fill = spec.loader == "stream", config.policies.fill
    return TrainedRun(
        path=path,
        step=step,
        model=model,
        variables=_find_variables(path, model, spec.image_size, leaves),
        spec=spec,
        class_names=class_names,
        data_dir=data_dir,
        ranges=_find_ranges(path, config.policies.ranges),
        # "alpha" makes moved-in pixels transparent: the network sees the mean.
        fill=spec.fill if fill == "alpha" else FILLS.get(fill, spec.fill),
        stream=data.StreamOptions(
            image_size=view.image_size,
            resample=config.data.resample,
            on_bad_image=config.data.on_bad_image,
            num_threads=config.data.num_threads,
        ),
        resize=view.resize if is_resized else view.image_size,
        batch_size=view.batch_size,
        num_devices=facts.get("num_devices", 0),
    )


def unnamed_classes(run: TrainedRun) -> str:
    """Says why classes are numbers."""
    return (
        f"{run.path} does not name its classes, as runs of earlier versions, and its "
        f"dataset {run.spec.name} is not in {run.data_dir or 'the data folder'}: they "
        "are numbers; --data-dir=DIR says where the dataset is"
    )


def load_images(run: TrainedRun, num_images: int | None) -> data.Dataset:
    """So many test images (None: all) as the run tests on them; always the same ones.

    A subset of a dataset that is loaded whole is stratified: each class has its share.
    A subset of a streamed dataset is not, because its labels are not known before its
    images are read; it lacks the images that the run leaves out as bad.

    Raises:
        DatasetError: there are no such images.
    """
    split = run.spec.name, run.spec.test_split
    if run.spec.loader != "stream":
        return at_most(data.load, *split, num_images, run.data_dir)
    stream = at_most(data.open_stream, *split, num_images, run.data_dir)
    with data.evaluation_batches(
        stream, run.stream, batch_size=BATCH_SIZE, resize=run.resize
    ) as batches:
        kept = [
            (images[weights > 0], labels[weights > 0])
            for images, labels, weights in batches
        ]
    images, labels = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    num_bad = len(stream.bad_images)
    left_out = stream.left_out + f", {num_bad} left out: bad" * (num_bad > 0)
    return data.Dataset(images, labels, stream.class_names, left_out)


def count_correct(
    run: TrainedRun, variables: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """How many images the network, in evaluation mode, gets right: int32 [].

    Args:
        run: whose network and normalisation.
        variables: the run's, an argument so that a jitted caller may pass them.
        images: uint8 [B, H, W, 3].
        labels: int32 [B]; a row labelled -1 counts for nothing.
    """
    floats = standard.normalize(images, run.spec.mean, run.spec.std)
    logits: Any = run.model.apply(variables, floats, train=False)
    return evaluate.batch_sums(logits, labels)["top1"]


def make_counter(run: TrainedRun) -> Callable[[np.ndarray, np.ndarray], int]:
    """A function of images uint8 [n, H, W, 3] and labels int [n]: how many are right.

    Each n is compiled once.
    """

    @jax.jit
    def count(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        of_batch = functools.partial(count_correct, run, variables)
        return jnp.sum(jax.lax.map(lambda batch: of_batch(*batch), (images, labels)))

    def counter(images: np.ndarray, labels: np.ndarray) -> int:
        batches = evaluate.evaluation_data(
            images, labels, batch_size=BATCH_SIZE, num_devices=1
        )
        return int(count(run.variables, *batches))

    return counter


def make_parser(
    command: str, text: str | None, *, nargs: str | None = None
) -> argparse.ArgumentParser:
    """The arguments that the commands of this room share.

    Args:
        command: its name, behind `aaa-jax`.
        text: its module's, of which --help shows the first line.
        nargs: "+" where it takes several runs.
    """
    parser = argparse.ArgumentParser(
        prog=f"aaa-jax {command}", description=(text or "").splitlines()[0]
    )
    parser.add_argument("run", nargs=nargs, help="a run directory")
    parser.add_argument("--data-dir", help="TFDS directory; default: the run's")
    return parser


def write_json(run: TrainedRun, name: str, record: dict[str, Any]) -> None:
    """Puts a file of one JSON object into the run directory; see `write`."""
    write(run.path / name, (json.dumps(record) + "\n").encode())


def write(path: epath.PathLike, content: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        TrainedError: it cannot be written there.
    """
    try:
        atomic_files.write_whole(path, content)
    except OSError as error:
        raise TrainedError(f"cannot write {path}: {error.strerror or error}") from error


def _read_config(path: epath.Path) -> ml_collections.ConfigDict:
    """The config of a run, in which all that is read here has been checked."""
    if not (path / "config.json").exists():
        raise TrainedError(
            f"{path} is no run directory: it has no config.json; give the --workdir of "
            "a run of launch.py"
        )
    recorded = run_directory.read_config(path)
    try:
        if wrong := wrong_values(recorded, KEYS_READ):
            raise ConfigError(*wrong.values())
        config = ml_collections.ConfigDict(_with_tuples(recorded))
        build_model(config, 2)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise TrainedError(
            f"{path}/config.json is not the config of a run of launch.py, or damaged: "
            f"{error}"
        ) from error
    return config


def _find_dataset(
    path: epath.Path,
    config: ml_collections.ConfigDict,
    facts: Mapping[str, Any],
    data_dir: str | None,
) -> tuple[data.DatasetSpec, tuple[str, ...]]:
    """The dataset and its classes: as the run recorded them, or as they are here."""
    if run_facts.DATASET in facts:
        recorded = {k: _with_tuples(v) for k, v in facts[run_facts.DATASET].items()}
        class_names = recorded.pop("class_names")
        for split in ("train_split", "test_split"):
            if not isinstance(recorded[split], str):
                recorded[split] = data.Part(*recorded[split])
        return data.DatasetSpec(**recorded), class_names
    name = config.data.name
    try:
        spec = data.describe(
            name,
            data_dir=data_dir,
            loader=config.data.loader,
            image_size=config.data.image_size,
        )
    except data.DatasetError as error:
        raise data.DatasetError(
            f"{path}/{run_facts.FACTS} says nothing of the dataset, as runs of earlier "
            f"versions, and without it the network cannot be used: {error}"
        ) from error
    return spec, data.class_names(name, data_dir)


def _with_tuples(value: Any) -> Any:
    """The tuples of a config, which JSON has as lists."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(v) for v in value) if isinstance(value, list) else value


def _find_variables(
    path: epath.Path, model: nn.Module, side: int, leaves: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The network's variables among a checkpoint's leaves."""
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, randomness.key_of_seed(0), images)
    variables = {}
    for name, leaf in traverse_util.flatten_dict(shapes, sep=".").items():
        saved = leaves.get(f"train.{name}")
        if saved is None or saved.shape != leaf.shape:
            there = "nothing" if saved is None else f"shape {saved.shape}"
            raise TrainedError(
                f"the checkpoint of {path} has {there} for train.{name}, where the "
                f"network of its config.json has shape {leaf.shape}: read it with the "
                "version that wrote it"
            )
        variables[name] = jnp.asarray(saved, leaf.dtype)
    return traverse_util.unflatten_dict(variables, sep=".")


def _find_ranges(path: epath.Path, configured: str) -> str:
    """The range table that the run's last policies were applied with.

    That of its policy source, if it has the ten magnitudes of the search space, or the
    config's.
    """
    lines = run_directory.read_lines(path, "policies")
    recorded = lines[-1].get("ranges", configured) if lines else configured
    table = magnitudes.RANGES[recorded]
    fits = table.num_magnitudes == magnitudes.NUM_MAGNITUDES
    return recorded if fits else configured
