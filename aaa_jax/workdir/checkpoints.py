"""Checkpoints: save and restore the arrays of a run, and survive damaged ones.

The only module that knows Orbax. A state is any pytree of arrays; what the
arrays mean, and when to save them, is the caller's business.

On disk: `<directory>/<step>/` is one Orbax checkpoint of a flat dictionary
`leaf name -> array`, where a name is the path of the leaf in the state
(`train.params.conv.kernel`). Its custom metadata hold a manifest: shape, dtype and
CRC-32 of every leaf, and a CRC-32 of the manifest itself, because Orbax restores a
flipped bit and casts another dtype without a word. A step appears under its name only
when it is complete. One that does not pass is renamed `<step>.damaged-<n>` and kept.

In a run of several processes all call everything here, with the same state: Orbax
saves and restores together, process 0 alone lists, renames and deletes, and the
directory must be one that all of them see.
"""

import contextlib
import functools
import gc
import logging
import os
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import numpy as np
from absl import logging as absl_logging
from etils import epath
from orbax.checkpoint import v1 as ocp

from aaa_jax.runtime import processes
from aaa_jax.workdir import manifests

_KEY = "aaa_jax"
# Directories made in the background that cannot be made block the exit for minutes.
_ASYNC = ocp.options.AsyncOptions(create_directories_asynchronously=False)
_UNFINISHED = "*.orbax-checkpoint-tmp*"
_DRIFTED = "the processes have drifted apart, and what they would save is not equal"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names the directory."""


class DamagedCheckpointError(CheckpointError):
    """There were checkpoints, and none of them is sound."""


class StateMismatchError(CheckpointError):
    """A sound checkpoint holds other leaves, shapes or dtypes than the run needs."""


class Checkpoints:
    """The checkpoints of one run. A class because a save goes on in the background.

    Use it as a context manager: leaving it waits for the last save.

    Args:
        directory: where the steps live; created when missing.
        keep: how many of the newest steps to keep; at least 1. With 2 there is one to
            fall back on.
    """

    def __init__(self, directory: epath.PathLike, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        for logger in (absl_logging.get_absl_logger(), logging.getLogger("asyncio")):
            logger.addFilter(_is_not_from_orbax)
        path = epath.Path(directory).expanduser()
        is_bucket = "://" in os.fspath(path)
        self._directory = path if is_bucket else epath.Path(os.path.abspath(path))
        self._keep = keep
        self._saving: tuple[int, Any] | None = None
        with self._clear_errors("open the checkpoints"):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()

    def steps(self) -> list[int]:
        """The steps that are on disk, sound or not yet known, in increasing order."""
        with self._clear_errors("list the checkpoints"):
            names = [path.name for path in self._directory.iterdir()]
        return sorted(int(n) for n in names if n.isdecimal() and n == str(int(n)))

    def save(self, step: int, state: Any, *, wait: bool = False) -> bool:
        """Starts to save a state, after the save before it has ended.

        The arrays are copied before this returns: they may be donated at once.

        Args:
            step: the name of the checkpoint; a step that is there with the same
                content is left alone, one with other content is set aside.
            state: a pytree of `jax.Array` and `np.ndarray`, each with an element.
            wait: whether to return only when the checkpoint is complete on disk.

        Returns:
            False when the step was there already.

        Raises:
            CheckpointError: this save could not begin, or the one before it failed.
        """
        self.wait()
        leaves = manifests.named_leaves(state)
        manifest = manifests.describe(leaves)
        path = self._directory / str(step)
        with self._clear_errors(f"save step {step}"), ocp.Context(async_options=_ASYNC):
            processes.require_equal(manifest["leaves"], _DRIFTED)
            if processes.from_first(lambda: self._is_there(step, manifest)):
                return False
            response = ocp.save_async(path, leaves, custom_metadata={_KEY: manifest})
        self._saving = step, response
        if wait:
            self.wait()
        return True

    def wait(self) -> None:
        """Waits for the save under way, then deletes the oldest steps.

        Raises:
            CheckpointError: the save failed, for instance because the disk is full. The
                steps before it are untouched, and a later save may succeed.
        """
        if self._saving is None:
            return
        step, response = self._saving
        with self._clear_errors(f"save step {step}"):
            try:
                response.result()
            except Exception:
                self._saving = None
                with contextlib.suppress(OSError):
                    self._remove_unfinished()
                raise
            self._saving = None
            processes.from_first(lambda: self._remove_old(step))

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
            DamagedCheckpointError: there were checkpoints, but none is sound.
            CheckpointError: the directory or the files cannot be read.
        """
        self.wait()
        expected = manifests.named_leaves(example, abstract=True)
        for step in reversed(self.steps()):
            with self._clear_errors(f"read step {step}"):
                leaves, damage = self._read_if_sound(step, expected)
                if processes.anywhere(leaves is None) or leaves is None:
                    why = damage or "so another process found"
                    processes.from_first(
                        functools.partial(self._set_aside, step, "damaged", why)
                    )
                    continue
            return step, jax.tree.unflatten(
                jax.tree.structure(example), [leaves[name] for name in expected]
            )
        damaged = processes.from_first(
            lambda: sorted(path.name for path in self._directory.glob("*.damaged-*"))
        )
        if damaged:
            raise DamagedCheckpointError(
                f"no sound checkpoint is left in {self._directory}; damaged:"
                f" {', '.join(damaged)}. To start again from the beginning, remove them"
                " or choose another run directory."
            )
        return None

    close = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            self.close()
        except CheckpointError as failure:
            if error is None:
                raise
            error.add_note(str(failure))

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()

    def _list(self) -> list[int]:
        names = [path.name for path in self._directory.iterdir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def _is_there(self, step: int, manifest: Mapping[str, Any]) -> bool:
        """Whether a step is saved with this content; sets one with other aside."""
        if not self._directory.exists():
            raise FileNotFoundError("the directory is gone")
        path = self._directory / str(step)
        if not path.exists():
            return False
        if _is_saved(path, manifest):
            return True
        self._set_aside(step, "replaced", "it held another state")
        return False

    def _remove_old(self, newest: int) -> None:
        if not (self._directory / str(newest)).exists():
            raise FileNotFoundError("the directory is gone")
        for old in self._list()[: -self._keep]:
            (self._directory / str(old)).rmtree()

    def _read_if_sound(
        self, step: int, expected: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, str]:
        with _quiet():
            try:
                return self._read(step, expected), ""
            except _Damage as error:
                damage = str(error)
            gc.collect()
        return None, damage

    def _read(self, step: int, expected: Mapping[str, Any]) -> dict[str, Any]:
        """Reads and verifies one step; raises `_Damage` when it is not as saved."""
        path = self._directory / str(step)
        try:
            saved = read_manifest(path)
        except Exception as error:
            raise _damage_or_reraise(error, "its manifest cannot be read") from error
        differences = manifests.differences(saved, expected)
        if differences:
            raise StateMismatchError(
                f"checkpoint {path} does not fit this run:"
                f" {textwrap.shorten('; '.join(differences), 600)}. Resume with the"
                " configuration and version that wrote it, or choose another run"
                " directory."
            )
        try:
            leaves = ocp.load(path, {k: _abstract(v) for k, v in expected.items()})
        except Exception as error:
            raise _damage_or_reraise(error, "its data cannot be read") from error
        for name, checksum in manifests.checksums(leaves).items():
            if checksum != saved[name]["crc32"]:
                raise _Damage(f"the checksum of leaf {name} is wrong")
        return leaves

    def _set_aside(self, step: int, reason: str, why: str) -> None:
        path = self._directory / str(step)
        number = 1
        while (self._directory / f"{step}.{reason}-{number}").exists():
            number += 1
        aside = path.rename(self._directory / f"{step}.{reason}-{number}")
        warnings.warn(
            f"checkpoint {path} is {reason}: {why}. Set aside as {aside.name}.",
            stacklevel=3,
        )

    def _remove_unfinished(self) -> None:
        for path in self._directory.glob(_UNFINISHED):
            path.rmtree()

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


class _Damage(Exception):
    """A step on disk is not what was saved."""


# What a failure to read can be that is no fault of the checkpoint.
_NOT_DAMAGE = (CheckpointError, PermissionError, jax.errors.JaxRuntimeError)
_NOT_DAMAGE_TEXT = ("PERMISSION_DENIED", "Too many open files")


def _damage_or_reraise(error: Exception, what: str) -> _Damage:
    text = str(error)
    if isinstance(error, _NOT_DAMAGE) or any(t in text for t in _NOT_DAMAGE_TEXT):
        raise error
    return _Damage(f"{what} ({type(error).__name__}: {textwrap.shorten(text, 160)})")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what a failed load says of the tasks and reads it leaves unfinished."""
    _ignore_closed_event_loops()
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


@functools.cache
def _ignore_closed_event_loops() -> None:
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others


def _abstract(leaf: Any) -> Any:
    """What Orbax needs to restore a leaf as it is in the example."""
    if isinstance(leaf, np.ndarray):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def read_manifest(path: epath.Path) -> dict[str, dict[str, Any]]:
    """The leaves' descriptions of a step on disk, verified."""
    manifest = ocp.metadata(path).custom_metadata[_KEY]
    version = manifest["version"]
    if manifest["crc32"] != manifests.text_checksum(version, manifest["leaves"]):
        raise ValueError("the checksum of the manifest is wrong")
    if version != manifests.VERSION:
        raise StateMismatchError(
            f"checkpoint {path} has format {version}, this version of aaa_jax reads"
            f" format {manifests.VERSION}"
        )
    return manifest["leaves"]


def _is_saved(path: epath.Path, manifest: Mapping[str, Any]) -> bool:
    try:
        return read_manifest(path) == manifest["leaves"]
    except Exception:
        return False


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    """Silences Orbax's threads: what they have to say of an error is also raised."""
    origin = record.pathname + record.getMessage()
    return "orbax" not in origin and "tensorstore" not in origin
