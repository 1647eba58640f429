"""A trained network read back from a run directory, to be looked at, not trained on.

Read-only: the run may still be going. Its newest checkpoint is copied before it is
opened, so that nothing there is renamed, removed or locked. Only `config.json` and the
target network's leaves of the checkpoint are used, whatever the rest of it has become.
"""

import json
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from etils import epath

from aaa_jax import data
from aaa_jax.augment import magnitudes, standard
from aaa_jax.experiments.build import FILLS, build_model
from aaa_jax.experiments.config_rules import check_values
from aaa_jax.train import evaluate
from aaa_jax.workdir import atomic_files, checkpoints, run_directory

STREAM_BATCH = 64  # images that are decoded at a time
READ = (  # keys of the config
    *("data.name", "data.dir", "data.loader", "data.image_size", "data.resample"),
    *("data.on_bad_image", "data.num_threads", "evaluation.image_size"),
    *("evaluation.resize", "model.name", "model.options", "model.dtype", "batch_size"),
    *("batch_norm.group_size", "batch_norm.grouping", "policies.num_policies"),
    *("policies.ranges", "policies.fill"),
)
# Where `program.RunState` keeps the network.
_VARIABLES = {"params": "train.params", "batch_stats": "train.batch_stats"}


class TrainedError(RuntimeError):
    """A run directory that no network can be read from; the message says why."""


# What the commands of this room print as one line.
ERRORS = (TrainedError, data.DatasetError, run_directory.RunDirectoryError)


class Testing(NamedTuple):
    """How a run tests its network on a streamed split.

    Attributes:
        image_size: side of the centre crop in pixels.
        resize: short side before it.
        resample: see `data.StreamOptions`, as the next two.
        on_bad_image: as there.
        num_threads: as there.
    """

    image_size: int
    resize: int
    resample: str
    on_bad_image: str
    num_threads: int


class TrainedRun(NamedTuple):
    """The network of a run, and what it was trained on.

    Attributes:
        path: the run directory.
        step: steps done when the checkpoint was saved.
        model: the target network.
        variables: its params and batch_stats.
        spec: the dataset's facts.
        data_dir: where the dataset lives; None: where it is by default.
        ranges: the run's range table, of the search space's ten magnitudes.
        fill: colour of moved-in pixels.
        testing: how test images are made of a stream; None: they are as stored.
    """

    path: epath.Path
    step: int
    model: nn.Module
    variables: dict[str, Any]
    spec: data.DatasetSpec
    data_dir: str | None
    ranges: str
    fill: tuple[int, int, int]
    testing: Testing | None = None


def load(workdir: epath.PathLike, *, data_dir: str | None = None) -> TrainedRun:
    """The network of the newest sound checkpoint of a run.

    Args:
        workdir: a run directory; the run may be finished, stopped or going on.
        data_dir: folder of the datasets; None: as the run's config says.

    Raises:
        TrainedError: there is no run, or no sound checkpoint of this network in it.
        metrics.RunDirectoryError: its config cannot be read.
        data.DatasetError: the dataset is not in the table and cannot be read.
    """
    path = epath.Path(workdir).expanduser()
    if not (path / "config.json").exists():
        raise TrainedError(
            f"{path} is no run directory: it has no config.json; give the --workdir of "
            "a run of launch.py"
        )
    config = _read_config(path)
    where = data_dir or config.data.dir or None
    spec = data.describe(
        config.data.name,
        data_dir=where,
        loader=config.data.loader,
        image_size=config.data.image_size,
    )
    try:
        model = build_model(config, spec.num_classes)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise TrainedError(f"{path}/config.json: {error}") from error
    step, leaves = _newest_checkpoint(path)
    size = spec.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = _variables(path, model, images, leaves)
    return TrainedRun(
        path=path,
        step=step,
        model=model,
        variables=variables,
        spec=spec,
        data_dir=where,
        ranges=_ranges(path, config.policies.ranges),
        # With "alpha", moved-in pixels are the dataset's mean when the network sees
        # them, as with "dataset".
        fill=spec.fill
        if config.policies.fill == "alpha"
        else FILLS.get(config.policies.fill, spec.fill),
        testing=Testing(
            config.evaluation.image_size or spec.image_size,
            config.evaluation.resize,
            config.data.resample,
            config.data.on_bad_image,
            config.data.num_threads,
        )
        if spec.loader == "stream"
        else None,
    )


def load_images(run: TrainedRun, num_images: int | None) -> data.Dataset:
    """Test images as the run tests on them; the same ones at every call.

    A subset of a dataset that is loaded whole is stratified: each class has its share.
    A subset of a streamed dataset is not, because its labels are not known before its
    images are read; it lacks the images that the run leaves out as bad.

    Args:
        run: the run.
        num_images: how many, at least one a class if stratified; None: all.

    Raises:
        data.DatasetError: there are no such images.
    """
    if run.testing is not None:
        return _streamed_images(run, run.testing, num_images)
    split = data.load(run.spec.name, run.spec.test_split, data_dir=run.data_dir)
    if num_images is None or num_images >= len(split.labels):
        return split
    kept = data.stratified_subset(split.labels, num_images, seed=0)
    return split._replace(images=split.images[kept], labels=split.labels[kept])


def _streamed_images(
    run: TrainedRun, testing: Testing, num_images: int | None
) -> data.Dataset:
    """Test images resized and cut as `data.evaluation_batches` does for a run."""
    where = run.spec.name, run.spec.test_split
    stream = data.open_stream(*where, data_dir=run.data_dir)
    if num_images is not None and num_images < stream.num_images:
        stream = data.open_stream(*where, data_dir=run.data_dir, num_images=num_images)
    options = data.StreamOptions(
        image_size=testing.image_size,
        resample=testing.resample,
        on_bad_image=testing.on_bad_image,
        num_threads=testing.num_threads,
    )
    with data.evaluation_batches(
        stream, options, batch_size=STREAM_BATCH, resize=testing.resize
    ) as batches:
        kept = [
            (images[weights > 0], labels[weights > 0])
            for images, labels, weights in batches
        ]
    images, labels = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return data.Dataset(images, labels, stream.class_names)


def count_correct(
    run: TrainedRun, variables: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    """How many images the network in evaluation mode gets right: int32 [].

    Args:
        run: whose network and normalisation.
        variables: its variables, an argument so that a jitted caller may pass them.
        images: uint8 [B, H, W, 3].
        labels: int32 [B]; a row labelled -1 counts for nothing.
    """
    floats = standard.normalize(images, run.spec.mean, run.spec.std)
    logits: Any = run.model.apply(variables, floats, train=False)
    return evaluate.batch_sums(logits, labels)["top1"]


def _newest_checkpoint(path: epath.Path) -> tuple[int, dict[str, np.ndarray]]:
    """Step and leaves by name of the newest checkpoint that is sound."""
    directory = path / "checkpoints"
    names = [p.name for p in directory.iterdir()] if directory.exists() else []
    steps = sorted((int(name) for name in names if name.isdecimal()), reverse=True)
    damaged: list[int] = []
    for step in steps:
        leaves = _read_copy(directory / str(step), step)
        if leaves is not None:
            if damaged:
                warnings.warn(
                    f"{path}: the checkpoint of step {damaged[0]} is damaged; the one "
                    f"of step {step} is used",
                    stacklevel=3,
                )
            return step, leaves
        damaged.append(step)
    found = f"those of steps {damaged} are damaged" if damaged else "none is there"
    raise TrainedError(
        f"{path} has no sound checkpoint ({found}): let the run save one (launch.py "
        "saves at every epoch's end), or give another run"
    )


def _read_copy(saved: epath.Path, step: int) -> dict[str, np.ndarray] | None:
    """The leaves of one checkpoint, read from a copy; None when it is not sound."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is set aside is the copy
        try:
            _copy(saved, epath.Path(folder) / str(step))
            example = {
                name: np.empty(leaf["shape"], jnp.dtype(leaf["dtype"]))
                for name, leaf in checkpoints.read_manifest(
                    epath.Path(folder) / str(step)
                ).items()
            }
        except Exception:
            return None  # the run removed it meanwhile, or its manifest is damaged
        with checkpoints.Checkpoints(folder) as copies:
            try:
                restored = copies.restore_latest(example)
            except checkpoints.DamagedCheckpointError:
                return None
    return None if restored is None else restored[1]


def _copy(source: epath.Path, target: epath.Path) -> None:
    target.mkdir(parents=True)
    for item in source.iterdir():
        if item.is_dir():
            _copy(item, target / item.name)
        else:
            item.copy(target / item.name)


def _variables(
    path: epath.Path,
    model: nn.Module,
    images: jax.ShapeDtypeStruct,
    leaves: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """The network's variables out of a checkpoint's leaves."""
    shapes: Any = jax.eval_shape(
        lambda floats: model.init(jax.random.key(0), floats, train=False),
        images,
    )

    def take(place: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        inner = jax.tree_util.keystr(place, simple=True, separator=".")
        name = f"{_VARIABLES[kind]}.{inner}"
        saved = leaves.get(name)
        if saved is None or saved.shape != leaf.shape:
            there = "nothing" if saved is None else f"shape {saved.shape}"
            raise TrainedError(
                f"the checkpoint of {path} has {there} for {name}, where the network "
                f"of its config.json has shape {leaf.shape}: read it with the version "
                "that wrote it"
            )
        return jnp.asarray(saved, leaf.dtype)

    variables = {}
    for kind in _VARIABLES:
        tree = shapes.get(kind, {})
        variables[kind] = jax.tree_util.tree_map_with_path(take, tree)
    return variables


def _ranges(path: epath.Path, configured: str) -> str:
    """The range table that the run's policies are recorded with, else the config's."""
    lines = run_directory.read_lines(path, "policies")
    recorded = str(lines[-1].get("ranges", configured)) if lines else configured
    table = magnitudes.RANGES.get(recorded)
    if table is None:
        raise TrainedError(
            f"{path}/policies.jsonl has ranges {recorded[:40]!r} in its last line: one "
            f"of {', '.join(magnitudes.RANGES)} is needed"
        )
    is_search_space = table.num_magnitudes == magnitudes.NUM_MAGNITUDES
    return recorded if is_search_space else configured


def _read_config(path: epath.Path) -> ml_collections.ConfigDict:
    """The config of a run, of which what is read here has been checked."""
    recorded = run_directory.read_config(path)
    try:
        check_values(recorded, READ)
        return ml_collections.ConfigDict(_with_tuples(recorded))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrainedError(
            f"{path}/config.json is not the config of a run of launch.py, or damaged: "
            f"{error}"
        ) from error


def _with_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were in the config."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(v) for v in value) if isinstance(value, list) else value


def write_json(run: TrainedRun, name: str, record: dict[str, Any]) -> None:
    """Puts a file of one JSON object into the run directory, whole or not at all.

    Raises:
        TrainedError: it cannot be written there.
    """
    path = run.path / name
    try:
        atomic_files.write_whole(path, (json.dumps(record) + "\n").encode())
    except OSError as error:
        raise TrainedError(f"cannot write {path}: {error.strerror or error}") from error
