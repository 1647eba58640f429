"""Files that survive a kill: each is whole or absent, and on disk when a call returns.

Local paths and buckets alike, through `etils.epath`. What the files say is decided in
`run_directory` and `snapshots`.
"""

import contextlib
import os
from typing import Any

from etils import epath


def write_whole(path: epath.PathLike, content: bytes) -> None:
    """Replaces a file in one step: at any moment it is the old or the new one.

    Several processes may write the same file: the last one wins.
    """
    path = epath.Path(path)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(content)
            flush(file)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def append(path: epath.Path, line: bytes) -> None:
    """Adds a line, whole or not at all, and waits until it is on disk."""
    size = path.stat().length if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(line)
            flush(file)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def set_aside(path: epath.Path, reason: str = "before") -> epath.Path:
    """Renames a file or folder to `NAME.REASON-N`, with the first N that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{reason}-{number}")).exists():
        number += 1
    return path.rename(aside)


def flush(file: Any) -> None:
    """Waits until what was written to an open file is on disk."""
    file.flush()
    try:
        descriptor = file.fileno()
    except (AttributeError, OSError):
        return  # a bucket has none
    os.fsync(descriptor)
