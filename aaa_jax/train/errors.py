"""How a run fails, and what its message says of going on."""

from collections.abc import Iterator
from contextlib import contextmanager

from aaa_jax import data
from aaa_jax.workdir import checkpoints, run_directory

GO_ON = "The same command goes on from there."


class NonFiniteLoss(RuntimeError):
    """The loss was NaN or infinite; the state before that step is saved."""


class RunFailed(RuntimeError):
    """A run that had begun cannot go on: files cannot be written, or read, any more."""


@contextmanager
def failing_in_mid_run() -> Iterator[None]:
    """Tells a failure after the beginning from a command that cannot work.

    Raises:
        RunFailed: for any error of the run directory, the checkpoints, the dataset or
            the operating system.
    """
    expected = (
        checkpoints.CheckpointError,
        run_directory.RunDirectoryError,
        data.DatasetError,
    )
    try:
        yield
    except expected as error:
        raise RunFailed(str(error)) from error
    except OSError as error:  # of a file that has no error of its own, of a pipe
        raise RunFailed(
            f"{error}. Saved steps are untouched: once it is mended, the same command "
            "goes on from the newest."
        ) from error
