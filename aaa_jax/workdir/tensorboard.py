"""TensorBoard events: the numbers of `metrics.jsonl` and `timing.jsonl` once more.

They go through tensorboardX's synchronous writer. The writer with a queue loses what is
in the queue when the process is killed, and waits for ever when the disk is full.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

from etils import epath
from flax import traverse_util


class Events:
    """The events that one start of a run writes. A class: it keeps a file open.

    Args:
        directory: of all starts; made with the first event.
    """

    def __init__(self, directory: epath.Path) -> None:
        self._directory = directory
        self._writer: Any = None
        self._hidden_from: int | None = None

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Writes the numbers of a record, and waits until they are in the file."""
        from tensorboardX.proto import event_pb2, summary_pb2

        if self._writer is None:
            self._writer = self._open()
        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in traverse_util.flatten_dict(record, sep="/").items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        summary = summary_pb2.Summary(value=values)
        self._writer.write_event(
            event_pb2.Event(wall_time=time.time(), step=int(step), summary=summary)
        )
        self._writer.flush()

    def hide_from(self, step: int) -> None:
        """Begins a file that lets TensorBoard hide what older ones say from a step."""
        self.close()
        self._hidden_from = step

    def close(self) -> None:
        """Closes the file. May be called again; the next event opens another."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._directory.mkdir(parents=True, exist_ok=True)
        number = len(list(self._directory.iterdir()))
        # Names carry the time in seconds only: the number keeps a quick restart apart.
        writer = EventsWriter(os.fspath(self._directory / "events"), f".{number}")
        if self._hidden_from is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            writer.write_event(
                event_pb2.Event(
                    wall_time=time.time(), step=self._hidden_from, session_log=start
                )
            )
        return writer
