"""What must be equal in all processes of a run, checked before the first step.

How processes talk to each other is the business of `processes`.
"""

import zlib
from typing import Any

import jax
import ml_collections
import numpy as np

from aaa_jax import data, processes
from aaa_jax.data.errors import BadRecord
from aaa_jax.experiment import flat_values
from aaa_jax.feed import Splits

_RECORDS = 16  # of a streamed split that are read for its fingerprint


def require_alike(config: ml_collections.ConfigDict, splits: Splits) -> None:
    """Refuses processes of one run with other configs, data or versions.

    Raises:
        processes.ProcessError: with the names of what differs, and in which process.
    """
    if processes.count() == 1:
        return
    values = flat_values(config)
    del values["data.dir"]  # may be another path on each host
    values["the jax version"] = jax.__version__
    values |= _fingerprint("train", splits.train)
    values |= _fingerprint("test", splits.test)
    processes.require_equal(values)


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
