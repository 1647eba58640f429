"""The run directory: what a run writes for reports, for transfer and to go on itself.

    config.json      the configuration; a second run there must have the same
    run.json         what the run is: length, devices, versions, origin (`run_facts`)
    metrics.jsonl    results; nothing in it depends on time: equal runs, equal bytes
    timing.jsonl     seconds and images/s
    policies.jsonl   the policies of every round
    checkpoints/     a folder for each saved step (`checkpoints`)
    tensorboard/     the numbers of metrics.jsonl and timing.jsonl, the configuration,
                     and pictures of the policies (`tensorboard`)
    lock             held while a run writes here (local file systems only)

Every line of a `.jsonl` file is one JSON object with an integer `step`, the number of
steps done when it was written. Numbers are written as the shortest decimals that give
the same float64; NaN and infinities, which JSON lacks, become null. A line is on
disk when `write_*` returns. Lines of a step must be written before the checkpoint of
that step is saved: `truncate_after` relies on it.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import socket
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from etils import epath
from flax import traverse_util

from aaa_jax.runtime import paths, processes
from aaa_jax.workdir import atomic_files, tensorboard

FILES = ("metrics", "timing", "policies")
CHECKPOINTS = "checkpoints"
# Keys that the configurations of earlier versions lack: section, name, what was done.
ADDED = (
    ("controller", "reward", "loss"),
    ("controller", "credit", "policy"),
    ("controller", "steps_per_round", 1),
    ("model", "init_from", ""),
    ("data", "validation_fraction", 0.0),
    ("evaluation", "max_images", 0),
)
# How to go on from a run that was planned shorter.
LONGER = (
    " The learning rate falls over all epochs, so that more of them are another run. To"
    " begin one with these weights, give another --workdir and"
    " --config.model.init_from={}."
)

IsStale = Callable[[str, Mapping[str, Any]], bool]
_ABSENT = "(absent)"
# Orbax takes the first three for a pattern, TensorStore a backslash for a slash, and
# etils `gs:/` for a bucket.
_NOT_IN_PATHS = re.compile(r"[*?[\\]|\b(gs|s3|az|hf):/(?!/)")
_STEP = re.compile(r"0|[1-9][0-9]{0,17}")


class RunDirectoryError(RuntimeError):
    """The run directory cannot be used; the message names it and says what to do."""


class RunDirectory:
    """A run directory opened for writing. A class because it holds a lock and files.

    Use it as a context manager: leaving it closes the events and frees the lock. In a
    run of several processes only the first one writes; in the others every method does
    nothing.

    Args:
        workdir: created when missing.
        config: the configuration, nested mappings of plain values.
        may_change: dotted keys that may differ from the configuration found there, such
            as the place of the data; the new value is then recorded.
        stands_for: what values of dotted keys, such as a 0, stand for in this run: a
            configuration that has these instead is the same.

    Raises:
        RunDirectoryError: it holds a run with another configuration, another process
            writes here, it cannot be written, or its config.json cannot be read.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        config: Mapping[str, Any],
        *,
        may_change: Collection[str] = (),
        stands_for: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.path = resolve(workdir)
        self._writes = processes.is_first()
        self._lock: int | None = None
        self._config = config
        self._events = tensorboard.Events(self.path / "tensorboard")
        if not self._writes:
            return
        with clear_errors("use the run directory", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if "://" not in os.fspath(self.path):
                self._lock = _acquire_lock(self.path / "lock")
        try:
            with clear_errors("write", self.path / "config.json"):
                _settle_config(self.path, config, may_change, stands_for)
        except BaseException:
            self.close()
            raise

    def write_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes results that do not depend on time, and their TensorBoard events."""
        self._write("metrics", step, values)

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes durations and rates, and their TensorBoard events."""
        self._write("timing", step, values)

    def write_policies(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the policies of a round with whatever belongs to them."""
        self._write("policies", step, values)

    def write_pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes pictures, uint8 [height, width, 3], by tag, for TensorBoard."""
        if self._writes:
            with clear_errors("write events in", self.path / "tensorboard"):
                self._events.write_pictures(step, pictures)

    def truncate_after(
        self, step: int | None, *, is_stale: IsStale = lambda *_: False
    ) -> dict[str, int]:
        """Makes the files what they were when the checkpoint of `step` was saved.

        Drops the lines of later steps and a last line that was cut off, so that a run
        killed and resumed writes the bytes of one never stopped. Events go with the
        lines of `metrics.jsonl`.

        Args:
            step: the step resumed from; None for a start from the beginning: a file
                with lines is then set aside, as `NAME.jsonl.before-N`.
            is_stale: (name of the file, record) -> whether an earlier line goes too.

        Returns:
            The number of complete lines that each file lost, of those that lost some.
        """
        if not self._writes:
            return {}
        last = -1 if step is None else step
        # All are read first: a damaged line anywhere leaves all as it was.
        found = {name: _complete_lines(self.path / f"{name}.jsonl") for name in FILES}
        dropped = {}
        for name, lines in found.items():
            kept = [
                line
                for line, record in lines
                if record["step"] <= last and not is_stale(name, record)
            ]
            path, content = self.path / f"{name}.jsonl", b"".join(kept)
            with clear_errors("resume", path):
                if step is None and lines:
                    atomic_files.set_aside(path)
                elif path.exists() and path.stat().length != len(content):
                    atomic_files.write_whole(path, content)
            if len(kept) < len(lines):
                dropped[name] = len(lines) - len(kept)
        with clear_errors("resume", self.path / "tensorboard"):
            if step is None:
                self._events.keep(None)
                self._events.write_config(_plain(self._config))
            else:
                kept_lines = read_lines(self.path, "metrics")
                self._events.keep({line["step"] for line in kept_lines})
        return dropped

    def close(self) -> None:
        """Closes the events and frees the lock. May be called again."""
        self._events.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        if not self._writes:
            return
        path = self.path / f"{name}.jsonl"
        record = _plain(values)
        with clear_errors("write", path):
            line = json.dumps({"step": int(step), **record}, allow_nan=False) + "\n"
            atomic_files.append(path, line.encode())
        if name != "policies":
            with clear_errors("write events in", self.path / "tensorboard"):
                self._events.write(step, tensorboard.scalars(name, record))


def resolve(workdir: epath.PathLike) -> epath.Path:
    """The run directory that a person means, with `~` spelled out.

    Raises:
        RunDirectoryError: nothing can be written there, or not be read back.
    """
    try:
        path = paths.expand(workdir)
    except paths.PathError as error:
        raise RunDirectoryError(str(error)) from error
    is_bucket = "://" in path
    whole = path if is_bucket else os.path.abspath(path)
    wrong = ""
    try:
        os.fsencode(whole.encode().decode())
        if found := _NOT_IN_PATHS.search(whole):
            wrong = f"checkpoints below {found[0]!r} could not be read back"
        elif is_bucket:
            epath.Path(path).exists()
    except UnicodeEncodeError as error:
        wrong = f"{error.encoding} cannot spell it; PYTHONUTF8=1 in the environment can"
    except Exception as error:  # each kind of bucket has its own
        lines = str(error).splitlines() or [""]
        wrong = f"the bucket cannot be reached ({type(error).__name__}: {lines[0]})"
    if wrong:
        raise RunDirectoryError(
            f"{whole!a} cannot be a run directory: {wrong}. Choose another path"
        )
    return epath.Path(path)


def read_config(workdir: epath.PathLike) -> dict[str, Any]:
    """The configuration of the run in a directory, with the keys that came later."""
    path = epath.Path(workdir) / "config.json"
    settings = read_object(path, "restore it, or choose another run directory")
    for section, name, value in ADDED:
        if isinstance(settings.get(section), dict):
            settings[section].setdefault(name, value)
    if isinstance(policies := settings.get("policies"), dict):
        # It was 30; a source that does not read it has today's default.
        scale = 30 if policies.get("source") == "randaugment" else 10
        policies.setdefault("randaugment_scale", scale)
    return settings


def read_object(path: epath.Path, advice: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunDirectoryError: with the advice, where there is none.
    """
    with clear_errors("read", path):
        try:
            return dict(json.loads(path.read_bytes()).items())
        except (ValueError, AttributeError, RecursionError) as error:
            raise RunDirectoryError(
                f"{path} is not a JSON object ({error}): {advice}"
            ) from error


def read_lines(workdir: epath.PathLike, name: str) -> list[dict[str, Any]]:
    """The complete lines of one of `FILES`, also while a run is writing them.

    Where there is no such file there are none.
    """
    lines = _complete_lines(epath.Path(workdir) / f"{name}.jsonl")
    return [record for _, record in lines]


def config_differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys that differ between two configurations, with both values."""
    flat_old, flat_new = _by_dotted_key(old), _by_dotted_key(new)
    pairs = {
        key: (flat_old.get(key, _ABSENT), flat_new.get(key, _ABSENT))
        for key in sorted(flat_old.keys() | flat_new.keys())
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def steps_in(folder: epath.Path, suffix: str = "") -> list[int]:
    """The steps that name the entries of a folder, such as `checkpoints/120`, in order.

    Entries with other names, or without the suffix, are passed over.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if _STEP.fullmatch(stem))


@contextlib.contextmanager
def clear_errors(action: str, path: epath.Path) -> Iterator[None]:
    """Turns any OSError into one clear line, a RunDirectoryError."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot {action} {path}: {error.strerror or error}. Give it room and write"
            " permission, or choose another --workdir; what is there is kept."
        ) from error


def _settle_config(
    workdir: epath.Path,
    config: Mapping[str, Any],
    may_change: Collection[str],
    stands_for: Mapping[str, Any],
) -> None:
    """Writes config.json, or checks the one that is there."""
    path = workdir / "config.json"
    if path.exists():
        differences = config_differences(read_config(workdir), config)
        refused = [
            f"  {key}: {old} in the run directory, {new} now\n"
            for key, (old, new) in differences.items()
            if key not in may_change and (key, old) not in stands_for.items()
        ]
        if refused:
            raise RunDirectoryError(
                f"{workdir} holds a run with another configuration:\n{''.join(refused)}"
                "Choose another --workdir, or give the old values to resume that run."
                + (LONGER.format(workdir) if "epochs" in differences else "")
            )
        if not differences:
            return
    else:
        _refuse_without_config(workdir)
    text = json.dumps(_plain(config), indent=2, sort_keys=True, allow_nan=False)
    atomic_files.write_whole(path, text.encode() + b"\n")


def _refuse_without_config(workdir: epath.Path) -> None:
    """Refuses what a run left, where nothing says with which config."""
    left = [f"{name}.jsonl" for name in FILES if (workdir / f"{name}.jsonl").exists()]
    checkpoints = workdir / CHECKPOINTS
    if checkpoints.is_dir() and any(checkpoints.iterdir()):
        left.append(CHECKPOINTS)
    if left:
        raise RunDirectoryError(
            f"{workdir} has {', '.join(left)} of a run, but its config.json is missing:"
            " whether that run had this configuration cannot be told. Put its"
            " config.json back, or choose another --workdir"
        )


def _acquire_lock(path: epath.Path) -> int | None:
    """Locks a file for this process; returns its descriptor, None without locks.

    POSIX record locks: the kernel frees them when the process dies, children do not
    inherit them, and one process does not lock itself out.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 200).decode(errors="replace").strip()
        os.close(lock)
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise RunDirectoryError(
                f"{path.parent} is in use by {holder or 'another process'}: two runs"
                " would mix their results. Wait for it, or choose another --workdir."
            ) from None
        warnings.warn(
            f"{path.parent} cannot be locked ({error}): make sure that no other run"
            " writes there",
            stacklevel=4,
        )
        return None
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return lock


def _complete_lines(path: epath.Path) -> list[tuple[bytes, dict[str, Any]]]:
    """The lines of a file that end in a newline, with what they hold."""
    with clear_errors("read", path):
        content = path.read_bytes() if path.exists() else b""
    lines = []
    for number, text in enumerate(content.split(b"\n")[:-1], start=1):
        line = text + b"\n"
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError("its step is not an integer")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunDirectoryError(
                f"line {number} of {path} is damaged ({error}): {line[:80]!r}. Mend or"
                " remove it."
            ) from error
        lines.append((line, record))
    return lines


def _plain(value: Any) -> Any:
    """JSON values for nested mappings, sequences, arrays and numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"cannot write {value!r} as JSON: it is a {type(value).__name__}")


def _by_dotted_key(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one; an empty mapping stays a value."""
    flat = traverse_util.flatten_dict(_plain(config), sep=".", keep_empty_nodes=True)
    return {k: {} if v is traverse_util.empty_node else v for k, v in flat.items()}
