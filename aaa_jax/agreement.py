"""What must be equal in all processes of a run, checked before the first step.

How processes talk to each other is the business of `processes`.
"""

import os
import time
import zlib
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath

from aaa_jax import data, processes
from aaa_jax.data.errors import BadRecord
from aaa_jax.experiment import flat_values
from aaa_jax.feed import Splits

SECONDS = 20.0

_RECORDS = 16  # of a streamed split that are read for its fingerprint


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
    values |= _fingerprint("train", splits.train)
    values |= _fingerprint("test", splits.test)
    processes.require_equal(values)


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


def _fingerprint(name: str, split: Any) -> dict[str, Any]:
    """CRC-32 of what a split holds; of a streamed one, of some records."""
    if isinstance(split, data.Dataset):
        arrays = {"images": split.images, "labels": split.labels}
    else:
        chosen = np.linspace(0, len(split.kept) - 1, _RECORDS).astype(np.int64)
        content = b"".join(_read(split.records, int(split.kept[k])) for k in chosen)
        arrays = {
            "number of images": np.asarray(split.num_images),
            "choice of images": split.kept,
            "records": np.frombuffer(content, np.uint8),
        }
    return {
        f"the {what} of the {name} split": zlib.crc32(np.ascontiguousarray(array).data)
        for what, array in arrays.items()
    }


def _read(records: Any, index: int) -> bytes:
    try:
        return records.read(index)
    except BadRecord:
        return b""  # the loader's business
