"""Checkpoints: the arrays of a run are saved and restored, and damage is survived.

Orbax writes, commits and reads; no other module knows it. A state is any pytree of
arrays; the caller knows what they mean and when to save them.

On disk: `<directory>/<step>/` is one Orbax checkpoint of a flat dictionary
`leaf name -> array`. A name is the path of the leaf in the state
(`train.params.conv.kernel`). A step appears under its name only when it is complete.

Two things are ours, not Orbax's:

- A manifest with shape, dtype and CRC-32 of every leaf, and a CRC-32 of itself, in the
  checkpoint's custom metadata: Orbax restores a flipped bit and casts another dtype
  without a word. A step that does not pass is renamed `<step>.damaged-<n>` and kept.
- Which steps there are and which of them stay. Orbax's own `training.Checkpointer`
  (0.12.8) takes an empty folder for the newest step and never saves below it, forgets
  a step that it should delete when a save fails, makes a folder anew that was removed,
  and counts steps in JAX's preemption service, where `processes.Stop` counts.

In a run of several processes all call everything here, with the same state: Orbax
saves and restores together, process 0 alone lists, renames and deletes, and the
directory must be one that all of them see.
"""

import contextlib
import functools
import gc
import json
import logging
import os
import sys
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging as absl_logging
from etils import epath
from orbax.checkpoint import v1 as ocp

from aaa_jax.runtime import processes
from aaa_jax.workdir import atomic_files, run_directory

VERSION = 1  # of the manifest

_KEY = "aaa_jax"
# Directories made in the background that cannot be made block the exit for minutes.
_ASYNC = ocp.options.AsyncOptions(create_directories_asynchronously=False)
# What coroutines of Orbax say when they are collected after a read that failed.
_LEFT_BEHIND = ("Event loop is closed", "Encountered error while reading array index")
_UNFINISHED = ".orbax-checkpoint-tmp"
_DRIFTED = "the processes have drifted apart, and what they would save is not equal"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names the directory."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint is not what was saved, or none of a run is."""


class StateMismatchError(CheckpointError):
    """A sound checkpoint holds other leaves, shapes or dtypes than the run needs."""


class Checkpoints:
    """The checkpoints of one run. A class because a save goes on in the background.

    Use it as a context manager: leaving it waits for the last save.

    Args:
        directory: where the steps live; created when missing.
        keep: how many of the newest steps to keep. With 2 there is one to fall back on.
    """

    def __init__(self, directory: epath.PathLike, *, keep: int = 2) -> None:
        _silence_orbax()
        self._directory = _absolute(run_directory.resolve(directory))
        self._keep = keep
        self._is_proven = False  # whether what is saved here was ever read
        self._saving: tuple[int, Any] | None = None
        with self._clear_errors("open the checkpoints"):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()

    def steps(self) -> list[int]:
        """The steps that are on disk, sound or not yet known, in increasing order."""
        with self._clear_errors("list the checkpoints"):
            self._require_directory()
            return run_directory.steps_in(self._directory)

    def save(self, step: int, state: Any) -> None:
        """Starts to save a state, after the save before it has ended.

        The arrays are copied before this returns: they may be donated at once. Where
        nothing was read yet, the first save is waited for and read back.

        Args:
            step: the name of the checkpoint; a step that is there with the same
                content is left alone, one with other content is set aside.
            state: a pytree of `jax.Array` and `np.ndarray`, each with an element.

        Raises:
            CheckpointError: this save could not begin, or the one before it failed.
        """
        self.wait()
        leaves = _named_leaves(state)
        manifest = _manifest(leaves)
        path = self._directory / str(step)
        with self._clear_errors(f"save step {step}"), ocp.Context(async_options=_ASYNC):
            processes.require_equal(manifest["leaves"], _DRIFTED)
            if processes.from_first(lambda: self._is_there(step, manifest)):
                return
            response = ocp.save_async(path, leaves, custom_metadata={_KEY: manifest})
        self._saving = step, response
        if not self._is_proven:
            self.wait()

    def wait(self) -> None:
        """Waits for the save under way, then deletes the oldest steps.

        Raises:
            CheckpointError: the save failed, for instance because the disk is full. The
                steps before it are untouched, and a later save may succeed.
        """
        if self._saving is None:
            return
        (step, response), self._saving = self._saving, None
        with self._clear_errors(f"save step {step}"):
            try:
                response.result()
            except Exception:
                with contextlib.suppress(OSError):
                    self._remove_unfinished()
                raise
            if not self._is_proven:
                self._prove(step)
            processes.from_first(self._remove_old)

    def restore_latest(self, example: Any) -> tuple[int, Any] | None:
        """Restores the newest sound checkpoint; sets aside the damaged ones it meets.

        Args:
            example: a pytree like the one saved, of arrays or `jax.ShapeDtypeStruct`.
                The result has its structure, shapes, dtypes and shardings; where it has
                NumPy arrays, so has the result.

        Returns:
            The step and the state, or None when nothing was ever saved here.

        Raises:
            StateMismatchError: the newest sound checkpoint is of another kind of state.
            DamagedCheckpointError: there were checkpoints, but none can be read.
            CheckpointError: the directory or the files cannot be read.
        """
        self.wait()
        expected = _named_leaves(example)
        for step in reversed(self.steps()):
            with self._clear_errors(f"read step {step}"):
                path = self._directory / str(step)
                leaves, damage = _read_everywhere(path, expected)
                if damage:
                    processes.from_first(
                        functools.partial(self._set_aside, path, "damaged", damage)
                    )
                    continue
            self._is_proven = True
            return step, jax.tree.unflatten(
                jax.tree.structure(example), [leaves[name] for name in expected]
            )
        left = processes.from_first(self._names_of_set_aside)
        if left:
            raise DamagedCheckpointError(
                f"no sound checkpoint is left in {self._directory}; there are:"
                f" {', '.join(left)}. To start again from the beginning, remove them"
                " or choose another run directory."
            )
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            self.wait()
        except CheckpointError as failure:
            if error is None:
                raise
            error.add_note(str(failure))

    def _require_directory(self) -> None:
        """A directory that was removed shall not be made again by a save."""
        if not self._directory.exists():
            raise FileNotFoundError("the directory is gone")

    def _is_there(self, step: int, manifest: Mapping[str, Any]) -> bool:
        """Whether a step is saved with this content; sets one with other aside."""
        self._require_directory()
        path = self._directory / str(step)
        if not path.exists():
            return False
        with contextlib.suppress(Exception):
            if _read_manifest(path) == manifest["leaves"]:
                return True
        self._set_aside(path, "replaced", f"{path} held another state")
        return False

    def _remove_old(self) -> None:
        for old in self.steps()[: -self._keep]:
            (self._directory / str(old)).rmtree()

    def _names_of_set_aside(self) -> list[str]:
        """The names of steps that are there, and no step any more."""
        names = sorted(path.name for path in self._directory.iterdir())
        return [name for name in names if name.partition(".")[0].isdecimal()]

    def _remove_unfinished(self) -> None:
        for path in list(self._directory.iterdir()):
            if _UNFINISHED in path.name:
                path.rmtree()

    def _prove(self, step: int) -> None:
        """Reads a step back, verified; one that cannot be read is no checkpoint."""
        _, damage = _read_everywhere(self._directory / str(step), None)
        if damage:
            raise DamagedCheckpointError(
                "the first checkpoint cannot be read back, though it was just saved"
                f" ({damage}): a run could not go on from such ones. Look at the disk,"
                " or choose another --workdir"
            )
        self._is_proven = True

    def _set_aside(self, path: epath.Path, reason: str, why: str) -> None:
        aside = atomic_files.set_aside(path, reason)
        warnings.warn(f"checkpoint {why}. Set aside as {aside.name}.", stacklevel=3)

    @contextlib.contextmanager
    def _clear_errors(self, action: str) -> Iterator[None]:
        """Turns whatever Orbax or the file system raises into one clear line."""
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"cannot {action} in {self._directory}: {error}. Complete checkpoints"
                " are untouched: once this is mended, the same command goes on from the"
                " newest."
            ) from error


def read(path: epath.PathLike) -> dict[str, np.ndarray]:
    """The leaves of one step, a path, by name, verified. Nothing on disk is touched.

    Raises:
        DamagedCheckpointError: it is not as it was saved, or it is gone.
        CheckpointError: it cannot be read by this version, or not at all.
    """
    try:
        return _read_leaves(_absolute(epath.Path(path)), None)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def read_newest(workdir: epath.PathLike) -> tuple[int, dict[str, np.ndarray]]:
    """Step and leaves of a run's newest sound checkpoint. Nothing is touched.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    directory = epath.Path(workdir) / run_directory.CHECKPOINTS
    damaged: list[int] = []
    for step in reversed(run_directory.steps_in(directory)):
        try:
            leaves = read(directory / str(step))
        except DamagedCheckpointError:
            damaged.append(step)  # or the run has removed it meanwhile
            continue
        if damaged:
            warnings.warn(
                f"{workdir}: the checkpoint of step {damaged[0]} is damaged; the one of"
                f" step {step} is used",
                stacklevel=3,
            )
        return step, leaves
    found = f"those of steps {damaged} are damaged" if damaged else "none is there"
    raise CheckpointError(
        f"{workdir} has no sound checkpoint ({found}): let the run save one (it does at"
        " every epoch's end), or give another run"
    )


def _absolute(path: epath.Path) -> epath.Path:
    """The same place with the path from the root, as Orbax wants it."""
    return path if "://" in os.fspath(path) else epath.Path(os.path.abspath(path))


def _read_everywhere(
    path: epath.Path, expected: Mapping[str, Any] | None
) -> tuple[dict[str, Any], str]:
    """A step's leaves, and why they are damaged, if any process finds them so."""
    leaves, damage = {}, ""
    try:
        leaves = _read_leaves(path, expected)
    except DamagedCheckpointError as error:
        damage = str(error)
    if processes.anywhere(bool(damage)):
        damage = damage or f"{path} is damaged: another process says so"
    return leaves, damage


def _read_leaves(
    path: epath.Path, expected: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Reads and verifies a step; expected None: NumPy arrays, whatever was saved."""
    _silence_orbax()
    jax.devices()  # where there are none, reading fails, and nothing is damaged
    damage = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            saved = _read_manifest(path)
            if expected is None:
                expected = {
                    name: np.empty(leaf["shape"], jnp.dtype(leaf["dtype"]))
                    for name, leaf in saved.items()
                }
            _require_fit(path, saved, expected)
            leaves = ocp.load(path, {k: _abstract(v) for k, v in expected.items()})
            found = _checksums(leaves)
            wrong = [name for name in leaves if found[name] != saved[name]["crc32"]]
            if wrong:
                damage = f"the checksum of leaf {wrong[0]} is wrong"
        except Exception as error:
            if _is_no_damage(error):
                raise
            why = textwrap.shorten(str(error), 160)
            damage = f"it cannot be read ({type(error).__name__}: {why})"
        if damage:
            gc.collect()  # here, where the coroutines that Orbax left may warn
    if damage:
        raise DamagedCheckpointError(f"{path} is damaged: {damage}")
    return leaves


def _read_manifest(path: epath.Path) -> dict[str, dict[str, Any]]:
    """The leaves' descriptions of a step on disk, verified."""
    manifest = ocp.metadata(path).custom_metadata[_KEY]
    version = manifest["version"]
    if manifest["crc32"] != _text_checksum(version, manifest["leaves"]):
        raise ValueError("the checksum of the manifest is wrong")
    if version != VERSION:
        raise StateMismatchError(
            f"checkpoint {path} has format {version}, this version of aaa_jax reads"
            f" format {VERSION}"
        )
    return manifest["leaves"]


def _require_fit(
    path: epath.Path, saved: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """Refuses a checkpoint whose leaves differ in presence, shape or dtype."""
    found = [f"leaf {k} is missing from it" for k in expected if k not in saved]
    found += [f"leaf {k} is unknown to the run" for k in saved if k not in expected]
    found += [
        f"leaf {name} has {key} {saved[name][key]}, the run needs {value}"
        for name, leaf in expected.items()
        for key, value in _description(leaf).items()
        if name in saved and saved[name][key] != value
    ]
    if found:
        raise StateMismatchError(
            f"checkpoint {path} does not fit this run:"
            f" {textwrap.shorten('; '.join(found), 600)}. Resume with the configuration"
            " and version that wrote it, or choose another run directory."
        )


def _is_no_damage(error: Exception) -> bool:
    """Whether a failure to read is no fault of the checkpoint."""
    others = (CheckpointError, PermissionError, jax.errors.JaxRuntimeError)
    texts = ("PERMISSION_DENIED", "Too many open files")
    return isinstance(error, others) or any(text in str(error) for text in texts)


def _named_leaves(state: Any) -> dict[str, Any]:
    """The leaves of a state by path, in the order of `jax.tree.leaves`."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        is_array = isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
        is_key = is_array and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended)
        if not is_array or is_key or leaf.size == 0:
            raise TypeError(
                f"leaf {name} of the state is {leaf!r:.80}: arrays with elements can be"
                " saved; of a random key, jax.random.key_data(key)"
            )
        leaves[name] = leaf
    return leaves


def _manifest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds, leaf by leaf, as JSON with a checksum of its own."""
    found = _checksums(leaves)
    content = {k: _description(v) | {"crc32": found[k]} for k, v in leaves.items()}
    checksum = _text_checksum(VERSION, content)
    return {"version": VERSION, "leaves": content, "crc32": checksum}


def _description(leaf: Any) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def _checksums(leaves: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of the bytes of every leaf; all copies from the device start at once."""
    values: list[np.ndarray] = jax.device_get(list(leaves.values()))
    return {
        name: zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        for name, value in zip(leaves, values, strict=True)
    }


def _text_checksum(*content: Any) -> int:
    """CRC-32 of JSON values."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _abstract(leaf: Any) -> Any:
    """What Orbax needs to restore a leaf as it is in the example."""
    if isinstance(leaf, np.ndarray):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


@functools.cache
def _silence_orbax() -> None:
    """Keeps tracebacks of its threads off the screen: the errors are raised as well."""
    for logger in (absl_logging.get_absl_logger(), logging.getLogger("asyncio")):
        logger.addFilter(_is_not_from_orbax)
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if not str(unraisable.exc_value).startswith(_LEFT_BEHIND):
            report(unraisable)

    sys.unraisablehook = report_others


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    origin = record.pathname + record.getMessage()
    return "orbax" not in origin and "tensorstore" not in origin
