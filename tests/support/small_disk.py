"""A disk that is full, without filling one."""

import contextlib
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
