"""TensorBoard events: what a run writes, once more, and pictures of its policies.

Tags are grouped: `test/…`, `train/…`, `controller/…`, `speed/…`. The events follow the
lines: those of steps that `metrics.jsonl` lost on resume are taken out of the files.
They go through tensorboardX's synchronous writer. The writer with a queue loses what is
in the queue when the process is killed, and waits for ever when the disk is full.
"""

import contextlib
import json
import os
import re
import socket
import struct
import textwrap
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util

from aaa_jax.workdir import atomic_files

_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\.")
_VERSION = "brain.Event:2"  # of the format; the first event of a file
_NO_CURVES = ("epoch", "scale", "steps", "devices", "test_images", "max_test_images")
_OF_TRAINING = ("learning_rate", "skipped_steps")
_LAYOUT = {  # of the tab "Custom Scalars": charts in this order
    "Error and loss": {
        "test error, %": ["Multiline", ["test/error"]],
        "loss": ["Multiline", ["train/loss", "test/loss"]],
    },
    "Controller": {
        "entropy": ["Multiline", ["controller/(op|magnitude)_entropy"]],
        "share of each op": ["Multiline", ["controller/share/.*"]],
    },
}


def scalars(name: str, record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of a file, "metrics" or "timing", by their tags."""
    flat = traverse_util.flatten_dict(record, sep="/")
    return {
        _tag(name, key): value
        for key, value in flat.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and key not in _NO_CURVES
    }


def _tag(name: str, key: str) -> str:
    if name == "timing":
        return f"speed/{key}"
    if key.startswith("test_"):
        return f"test/{key.removeprefix('test_')}"
    if key in _OF_TRAINING or key.startswith("train_"):
        return f"train/{key.removeprefix('train_')}"
    return f"controller/{key.removeprefix('op_') if '/' in key else key}"


class Events:
    """The events that one start of a run writes, below the directory of all starts.

    A class: it keeps a file open, which is made with the first event.
    """

    def __init__(self, directory: epath.Path) -> None:
        self._directory = directory
        self._writer: Any = None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Writes numbers by tag, and waits until they are in the file."""
        from tensorboardX.proto import summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in numbers.items()
        ]
        self._write(step, summary_pb2.Summary(value=values))

    def write_pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes pictures, uint8 [height, width, 3], by tag."""
        from tensorboardX import summary

        for tag, pixels in pictures.items():
            self._write(step, summary.image(tag, pixels, dataformats="HWC"))

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes a run's configuration as text and as hyperparameters, at step 0."""
        from tensorboardX import summary

        flat = traverse_util.flatten_dict(config, sep=".")
        plain = {
            k: v for k, v in flat.items() if isinstance(v, bool | int | float | str)
        }
        experiment, start, _ = summary.hparams(plain, {"test/error": None})
        text = json.dumps(config, indent=2, sort_keys=True)
        told = summary.text("config", textwrap.indent(text, "    "))
        for written in (experiment, start, told, summary.custom_scalars(_LAYOUT)):
            self._write(0, written)

    def keep(self, steps: Collection[int] | None) -> None:
        """Keeps, of earlier starts, the events of these steps; None: of none."""
        self.close()
        files = list(self._directory.iterdir()) if self._directory.is_dir() else []
        for path in files:
            if steps is None:
                path.unlink()
                continue
            content = path.read_bytes()
            kept = b"".join(
                record
                for record, step in _records(content)
                if step == 0 or step in steps
            )
            if kept != content:
                atomic_files.write_whole(path, kept)

    def close(self) -> None:
        """Closes the file. May be called again; the next event opens another."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _write(self, step: int, summary: Any) -> None:
        from tensorboardX.proto import event_pb2

        if self._writer is None:
            self._writer = self._open()
        event = event_pb2.Event(wall_time=time.time(), step=int(step), summary=summary)
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _open(self) -> Any:
        """A new file, whose name comes behind all others, whatever the clock says."""
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import RecordWriter

        self._directory.mkdir(parents=True, exist_ok=True)
        names = [_NAME.match(path.name) for path in self._directory.iterdir()]
        stamp = max([int(time.time()), *(int(name[1]) + 1 for name in names if name)])
        name = f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}"
        writer = RecordWriter(os.fspath(self._directory / name))
        first = event_pb2.Event(wall_time=time.time(), file_version=_VERSION)
        writer.write(first.SerializeToString())
        return writer


def _records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """The whole records of a file, as they are, each with its event's step."""
    from tensorboardX.proto import event_pb2

    start = 0
    while len(head := content[start : start + 12]) == 12:
        end = start + 12 + struct.unpack_from("<Q", head)[0] + 4
        if end > len(content):
            return
        event = event_pb2.Event.FromString(content[start + 12 : end - 4])
        yield content[start:end], event.step
        start = end
