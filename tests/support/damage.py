"""What disks do to files: they are full, and bits of them flip."""

import contextlib
import pathlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def files_at_most(num_bytes: int) -> Iterator[None]:
    """Writing beyond that fails with an OSError, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def flip_a_bit(path: pathlib.Path) -> None:
    """In the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
