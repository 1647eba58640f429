"""A file that appears under its name when it is whole, or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which gets the name `path` if the block ends well.

    If the block raises, the file is deleted. If the process is killed,
    `NAME.PROCESS.part` stays; nothing reads it.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
