"""The run directory: what a run writes for reports, transfer and its own resuming.

    config.json      the configuration; a second run there must have the same
    metrics.jsonl    results; nothing in it depends on time: equal runs, equal bytes
    timing.jsonl     seconds and images/s
    policies.jsonl   the policies of every round
    tensorboard/     events with the numbers of metrics.jsonl and timing.jsonl
    lock             held while a run writes here (local file systems only)

Every line of a `.jsonl` file is one JSON object with an integer `step`, the number of
steps done when it was written. Numbers are written as the shortest decimals that give
the same float64; NaN and infinities, which JSON lacks, become null. A line is on
disk when `write_*` returns. Lines of a step must be written before the checkpoint of
that step is saved: `truncate_after` relies on it.

In a multi-process run only process 0 opens the directory. Checkpoints are the business
of `checkpoint`; the meaning of the numbers is that of the caller.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Self

import numpy as np
from etils import epath

from aaa_jax.workdir import atomic_files

FILES = ("metrics", "timing", "policies")

IsStale = Callable[[str, Mapping[str, Any]], bool]
_ABSENT = "(absent)"


class RunDirectoryError(RuntimeError):
    """The run directory cannot be used; the message names it and says what to do."""


class RunInUseError(RunDirectoryError):
    """Another run writes into the directory at this moment."""


class ConfigChangedError(RunDirectoryError):
    """The directory holds a run with another configuration.

    Attributes:
        differences: dotted key -> (value in the directory, value now).
    """

    def __init__(self, workdir: epath.Path, differences: dict[str, tuple]) -> None:
        self.differences = differences
        lines = [
            f"  {key}: {old} in the run directory, {new} now"
            for key, (old, new) in differences.items()
        ]
        super().__init__(
            f"{workdir} holds a run with another configuration:\n"
            + "\n".join(lines)
            + "\nChoose another --workdir, or give the old values to resume that run."
        )


class RunDirectory:
    """A run directory opened for writing. A class because it holds a lock and files.

    Use it as a context manager: leaving it closes the events and frees the lock.

    Args:
        workdir: created when missing.
        config: the configuration, nested mappings of plain values.
        may_change: dotted keys that may differ from the configuration found there, such
            as the place of the data; the new value is then recorded.

    Raises:
        RunInUseError: another process writes here; a dead one does not count.
        ConfigChangedError: it holds another run.
        RunDirectoryError: it cannot be written, or its config.json cannot be read.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        config: Mapping[str, Any],
        *,
        may_change: Collection[str] = (),
    ) -> None:
        self.path = epath.Path(workdir).expanduser()
        self._lock: int | None = None
        self._events: Any = None
        self._purge_step: int | None = None
        with clear_errors("use the run directory", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if "://" not in os.fspath(self.path):
                self._lock = _acquire_lock(self.path / "lock")
        try:
            with clear_errors("write", self.path / "config.json"):
                _settle_config(self.path, config, may_change)
        except BaseException:
            self.close()
            raise

    def write_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes results that do not depend on time, and their TensorBoard events."""
        line = self._write("metrics", step, values)
        self._write_events(step, line)

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes durations and rates, and their TensorBoard events."""
        line = self._write("timing", step, values)
        self._write_events(step, {"timing": line})

    def write_policies(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the policies of a round with whatever belongs to them."""
        self._write("policies", step, values)

    def truncate_after(
        self, step: int | None, *, is_stale: IsStale = lambda *_: False
    ) -> dict[str, int]:
        """Makes the files what they were when the checkpoint of `step` was saved.

        Drops the lines of later steps and a last line that was cut off, so that a run
        killed and resumed writes the bytes of one never stopped. Events of later
        steps are marked for TensorBoard to hide.

        Args:
            step: the step resumed from; None for a start from the beginning: a file
                with lines is then set aside, as `NAME.jsonl.before-N`.
            is_stale: (name of the file, record) -> whether an earlier line goes too.

        Returns:
            The number of complete lines that each file lost, of those that lost some.
        """
        last = -1 if step is None else step
        found = {}
        for name in FILES:
            path = self.path / f"{name}.jsonl"
            with clear_errors("resume", path):
                if path.exists():
                    content = path.read_bytes()
                    found[name] = path, content, _complete_lines(path, content)
        dropped = {}  # only now: a damaged line anywhere leaves all as it was
        for name, (path, content, lines) in found.items():
            kept = [
                line
                for line, record in lines
                if record["step"] <= last and not is_stale(name, record)
            ]
            with clear_errors("resume", path):
                if step is None and lines:
                    atomic_files.set_aside(path)
                elif b"".join(kept) != content:
                    atomic_files.write_whole(path, b"".join(kept))
            if len(kept) < len(lines):
                dropped[name] = len(lines) - len(kept)
        self._close_events()
        self._purge_step = last + 1
        return dropped

    def close(self) -> None:
        """Closes the events and frees the lock. May be called again."""
        self._close_events()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, name: str, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
        if "step" in values:
            raise ValueError("'step' is the first argument, not one of the values")
        path = self.path / f"{name}.jsonl"
        record = _plain(values)
        line = json.dumps({"step": int(step), **record}, allow_nan=False) + "\n"
        with clear_errors("write", path):
            atomic_files.append(path, line.encode())
        return record

    def _write_events(self, step: int, record: Mapping[str, Any]) -> None:
        from tensorboardX.proto import event_pb2, summary_pb2

        directory = self.path / "tensorboard"
        with clear_errors("write events in", directory):
            if self._events is None:
                self._events = _open_events(directory, self._purge_step)
            values = [
                summary_pb2.Summary.Value(tag=tag, simple_value=value)
                for tag, value in _flat(record, "/").items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            ]
            event = event_pb2.Event(
                wall_time=time.time(),
                step=int(step),
                summary=summary_pb2.Summary(value=values),
            )
            self._events.write_event(event)
            self._events.flush()

    def _close_events(self) -> None:
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
            self._events = None


def read_config(workdir: epath.PathLike) -> dict[str, Any]:
    """The configuration of the run in a directory."""
    path = epath.Path(workdir) / "config.json"
    with clear_errors("read", path):
        try:
            return dict(json.loads(path.read_bytes()).items())
        except (ValueError, AttributeError, RecursionError) as error:
            raise RunDirectoryError(
                f"{path} is not a JSON object ({error}): restore it, or choose another"
                " run directory"
            ) from error


def read_lines(workdir: epath.PathLike, name: str) -> list[dict[str, Any]]:
    """The records of one of `FILES`, also while a run is writing them.

    Args:
        workdir: a run directory.
        name: "metrics", "timing" or "policies".

    Returns:
        One dictionary per complete line; none when the file does not exist.
    """
    if name not in FILES:
        raise ValueError(f"unknown file {name!r}; there are {', '.join(FILES)}")
    path = epath.Path(workdir) / f"{name}.jsonl"
    with clear_errors("read", path):
        content = path.read_bytes() if path.exists() else b""
        return [record for _, record in _complete_lines(path, content)]


def config_differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys that differ between two configurations, with both values."""
    flat_old, flat_new = _flat(_plain(old), "."), _flat(_plain(new), ".")
    pairs = {
        key: (flat_old.get(key, _ABSENT), flat_new.get(key, _ABSENT))
        for key in sorted(flat_old.keys() | flat_new.keys())
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _settle_config(
    workdir: epath.Path, config: Mapping[str, Any], may_change: Collection[str]
) -> None:
    """Writes config.json, or checks the one that is there."""
    path = workdir / "config.json"
    if path.exists():
        differences = config_differences(read_config(workdir), config)
        refused = {k: v for k, v in differences.items() if k not in may_change}
        if refused:
            raise ConfigChangedError(workdir, refused)
        if not differences:
            return
    else:
        _refuse_without_config(workdir)
    text = json.dumps(_plain(config), indent=2, sort_keys=True, allow_nan=False)
    atomic_files.write_whole(path, text.encode() + b"\n")


def _refuse_without_config(workdir: epath.Path) -> None:
    """Refuses what a run left, where nothing says with which config."""
    left = [f"{name}.jsonl" for name in FILES if _size(workdir / f"{name}.jsonl")]
    saved = workdir / "checkpoints"
    left += ["checkpoints"] if saved.is_dir() and any(saved.iterdir()) else []
    if left:
        raise RunDirectoryError(
            f"{workdir} has {', '.join(left)} of a run, but its config.json is missing:"
            " whether that run had this configuration cannot be told. Put its"
            " config.json back, or choose another --workdir"
        )


def _size(path: epath.Path) -> int:
    return path.stat().length if path.is_file() else 0


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
            raise RunInUseError(
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


def _complete_lines(
    path: epath.Path, content: bytes
) -> list[tuple[bytes, dict[str, Any]]]:
    """The lines that end in a newline, with what they hold."""
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


def _open_events(directory: epath.Path, purge_step: int | None) -> Any:
    """A new events file; TensorBoard hides what older ones say of `purge_step` on.

    Written through tensorboardX's synchronous writer: the one with a queue loses what
    is in it when the process is killed, and waits for ever when the disk is full.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2

    directory.mkdir(parents=True, exist_ok=True)
    number = len(list(directory.iterdir()))
    # Names carry the time in seconds only: the number keeps a quick restart apart.
    events = EventsWriter(os.fspath(directory / "events"), f".{number}")
    if purge_step is not None:
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        events.write_event(
            event_pb2.Event(wall_time=time.time(), step=purge_step, session_log=start)
        )
    return events


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


def _flat(record: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Nested mappings as one, with joined keys; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and value:
            inner = _flat(value, separator)
            flat |= {f"{key}{separator}{name}": item for name, item in inner.items()}
        else:
            flat[key] = value
    return flat


@contextlib.contextmanager
def clear_errors(action: str, path: epath.Path) -> Iterator[None]:
    """Turns an error of the file system into one clear line."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"cannot {action} {path}: {error.strerror or error}. Give it room and write"
            " permission, or choose another --workdir; what is there is kept."
        ) from error
