"""What must be equal in all processes of a run, and in all starts of it.

Checked before the first step. How processes talk to each other is the business of
`processes`.
"""

import os
import time

import jax
import ml_collections
from etils import epath

from aaa_jax.experiments.build import flat_values
from aaa_jax.runtime import processes
from aaa_jax.train.batches import Splits, fingerprint
from aaa_jax.train.resume import require_data

SECONDS = 20.0


def require_alike(
    config: ml_collections.ConfigDict, splits: Splits, workdir: epath.PathLike
) -> None:
    """Refuses processes of one run with other configs, data or versions.

    Raises:
        processes.ProcessError: with the names of what differs, and in which process.
    """
    if processes.count() == 1:
        return
    values = flat_values(config)
    del values["data.dir"]  # may be another path on each host
    values["--workdir"] = os.fspath(workdir)
    values["the jax version"] = jax.__version__
    values |= fingerprint(splits)
    processes.require_equal(values)


def require_same_data(workdir: epath.PathLike, splits: Splits) -> dict[str, int]:
    """Refuses other data than those that the run in a directory began with.

    Returns:
        Their fingerprint, for `traces.write_facts`; nothing but in process 0.

    Raises:
        metrics.RunDirectoryError: naming what differs.
        processes.ProcessError: in the other processes.
    """
    found = fingerprint(splits) if processes.is_first() else {}
    processes.from_first(lambda: require_data(epath.Path(workdir), found))
    return found


def require_shared(workdir: epath.PathLike, seconds: float = SECONDS) -> None:
    """Refuses a run directory that only some processes see, once process 0 has made it.

    Args:
        workdir: with the config that process 0 has written.
        seconds: that a network's file system may take to show it.

    Raises:
        processes.ProcessError: in every process.
    """
    if processes.count() == 1:
        return
    written = epath.Path(workdir).expanduser() / "config.json"
    deadline = time.monotonic() + seconds
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if processes.anywhere(not written.exists()):
        raise processes.ProcessError(
            f"--workdir={workdir} must be a directory that all processes see, on a "
            "shared file system or in a bucket; process 0 has written its config.json, "
            f"and process {jax.process_index()} "
            + ("sees it, another does not" if written.exists() else "does not see it")
        )
