"""TensorBoard's events, read without TensorBoard."""

import pathlib
import struct

from tensorboardX.proto import event_pb2


def read_events(workdir: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Step and number of each tag: all files of a run, in the order of their names."""
    shown: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((workdir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[12 + length + 4 :]
            for value in event.summary.value if event.step else ():
                pair = event.step, value.simple_value
                shown.setdefault(value.tag, []).append(pair)
    return shown
