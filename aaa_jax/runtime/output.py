"""What is printed stops no program: output that fails is dropped.

A terminal that closes, `| head`, a full disk and `2>&-` are the reader's choice. A
command calls this before anything else: nothing slow is imported here.
"""

import io
import os
import sys
from typing import Any

_STREAMS = {"stdout": 1, "stderr": 2}


class _Dropping(io.FileIO):
    """A file whose writes all succeed."""

    def write(self, content: Any) -> int:
        """Writes what can be written."""
        try:
            return super().write(content) or len(content)
        except OSError:
            return len(content)


def drop_what_fails() -> None:
    """Makes every failing write to stdout and stderr of this process a dropped one.

    What the stream's encoding lacks is written with backslashes. A descriptor that is
    closed becomes /dev/null: else the next file that is opened would get its number,
    and with it all that C++ writes there.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= max(_STREAMS.values()):
        pass
    os.close(free)
    for name, number in _STREAMS.items():
        encoding = getattr(getattr(sys, name), "encoding", None)
        binary = io.BufferedWriter(_Dropping(number, "wb", closefd=False))
        stream = io.TextIOWrapper(
            binary, encoding, errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, stream)
