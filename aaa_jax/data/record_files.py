"""Random access to the serialized records of a split.

array_record files are made for it. A TFRECORD file is not: its records' offsets are
found once, by reading the headers alone, and kept beside the files where these may be
written to. What the bytes mean does not belong here.
"""

import bisect
import io
import os
import resource
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.data.errors import BadRecord, DatasetError
from aaa_jax.data.records import split_info
from aaa_jax.data.tfrecord import FOOTER, HEADER, index_tfrecords

SPARE_FILES = 256  # for everything else that the process opens
OPENING_THREADS = 32  # waiting for disks, not computing


class Records(NamedTuple):
    """The records of a split, by their place in it.

    Attributes:
        paths: the files.
        firsts: of each file, the place in the file of its first record in the split.
        ends: of each file, how many records of the split lie in it and those before.
        read_from: (number of a file, place in it) -> the serialized record.
    """

    paths: tuple[Path, ...]
    firsts: tuple[int, ...]
    ends: tuple[int, ...]
    read_from: Callable[[int, int], bytes]

    @property
    def num_records(self) -> int:
        """How many there are."""
        return self.ends[-1]

    def place(self, index: int) -> str:
        """Which record this is, for messages."""
        file, offset = self._locate(index)
        return f"record {offset} of {self.paths[file]}"

    def read(self, index: int) -> bytes:
        """The serialized record; safe to call from many threads at once.

        Raises:
            BadRecord: the file is damaged there.
        """
        file, offset = self._locate(index)
        try:
            return self.read_from(file, offset)
        except BadRecord:
            raise
        except Exception as error:  # the reader's C++ statuses come as several types
            raise BadRecord(f"{self.place(index)} cannot be read: {error}") from error

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < self.num_records:
            raise IndexError(f"record {index} of {self.num_records}")
        file = bisect.bisect_right(self.ends, index)
        before = self.ends[file - 1] if file else 0
        return file, self.firsts[file] + index - before


def open_records(builder: Any, split: str) -> Records:
    """The records of a split, every file opened and its count checked.

    Args:
        builder: of `prepared.open_prepared`.
        split: a TFDS split, slices such as "train[:90%]" included.

    Raises:
        DatasetError: no such split, a missing file, an unknown format.
        BadRecord: a damaged file, or one with fewer records than it should have.
    """
    info = split_info(builder, split)
    paths, firsts, takes = [], [], []
    for instruction in info.file_instructions:
        paths.append(Path(instruction.filename))
        firsts.append(instruction.skip)
        takes.append(
            instruction.take
            if instruction.take >= 0
            else instruction.examples_in_shard - instruction.skip
        )
    for path in paths:
        if not path.is_file():
            raise DatasetError(
                f"{path} is missing: prepare {builder.info.full_name} again"
            )
    file_format = builder.info.file_format.value
    if file_format not in READERS:
        raise DatasetError(
            f"{builder.info.full_name} in {builder.data_dir} is stored as "
            f"{file_format}; {' and '.join(READERS)} are read"
        )
    _allow_open_files(len(paths))
    needed = [first + take for first, take in zip(firsts, takes, strict=True)]
    read_from = READERS[file_format](paths, needed)
    ends = tuple(int(end) for end in np.cumsum(takes))
    return Records(tuple(paths), tuple(firsts), ends, read_from)


def _allow_open_files(more: int) -> None:
    """Raises this process's limit of open files where so many more would not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/dev/fd")) + more + SPARE_FILES
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise DatasetError(
            f"the dataset has {more} files, and this process may open {hard} at once: "
            f"allow {wanted} (ulimit -Hn, or LimitNOFILE of its service)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _array_record_reader(
    paths: list[Path], needed: list[int]
) -> Callable[[int, int], bytes]:
    from array_record.python import array_record_module

    def open_one(path: Path) -> Any:
        try:
            return array_record_module.ArrayRecordReader(
                os.fspath(path),
                options="readahead_buffer_size:0",  # single records, in any order
                file_reader_buffer_size=32768,
            )
        except Exception as error:  # as above
            raise BadRecord(
                f"{path} is damaged: {error}. Delete the dataset's folder and prepare "
                "it again, or copy it again"
            ) from error

    with ThreadPoolExecutor(OPENING_THREADS) as pool:
        readers = list(pool.map(open_one, paths))
    for path, reader, count in zip(paths, readers, needed, strict=True):
        _check_count(path, count, reader.num_records())
    return lambda file, offset: readers[file].read([offset])[0]


def _tfrecord_reader(
    paths: list[Path], needed: list[int]
) -> Callable[[int, int], bytes]:
    with ThreadPoolExecutor(OPENING_THREADS) as pool:
        spans = list(pool.map(_spans, paths))
    for path, found, count in zip(paths, spans, needed, strict=True):
        _check_count(path, count, len(found))
    files: dict[int, int] = {}
    lock = threading.Lock()

    def read(file: int, offset: int) -> bytes:
        with lock:
            if file not in files:
                files[file] = os.open(paths[file], os.O_RDONLY)
        start, length = (int(number) for number in spans[file][offset])
        content = os.pread(files[file], length, start)
        if len(content) != length:
            raise BadRecord(f"record {offset} of {paths[file]} is cut short")
        return content

    weakref.finalize(read, _close, files)
    return read


def _close(files: dict[int, int]) -> None:
    for file in files.values():
        os.close(file)


def _spans(path: Path) -> np.ndarray:
    """Where the records of a TFRECORD file lie, int64 [n, 2]: start and length.

    Kept in NAME.spans.npy beside the file, which counts while it is newer than the
    file and can be that file's; a damaged one is made anew.
    """
    kept = path.with_name(f"{path.name}.spans.npy")
    size = path.stat().st_size
    try:
        if kept.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            spans = np.load(io.BytesIO(kept.read_bytes()), allow_pickle=False)
            if _can_be_spans(spans, size):
                return spans[:-1]
    except Exception:  # NumPy raises many kinds on a damaged file
        pass
    spans = index_tfrecords(path)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.save(file, np.concatenate([spans, [[size, 0]]]))
        partial.replace(kept)
    except OSError:  # a folder that only others write to: found anew each time
        partial.unlink(missing_ok=True)
    return spans


def _can_be_spans(spans: np.ndarray, size: int) -> bool:
    """Whether kept spans cover a file of that size, record after record."""
    if spans.dtype != np.int64 or spans.shape[1:] != (2,) or len(spans) == 0:
        return False
    starts, lengths = spans[:-1].T
    ends = np.concatenate([[0], starts + lengths + FOOTER.size])
    return bool(
        spans[-1].tolist() == [size, 0]
        and (lengths >= 0).all()
        and (starts == ends[:-1] + HEADER.size).all()
        and ends[-1] == size
    )


def _check_count(path: Path, wanted: int, present: int) -> None:
    if present < wanted:
        raise BadRecord(
            f"{path} has {present} records, its dataset_info.json says at least "
            f"{wanted}: prepare the dataset again, or copy it again"
        )


READERS: dict[str, Callable[[list[Path], list[int]], Callable[[int, int], bytes]]] = {
    "array_record": _array_record_reader,
    "tfrecord": _tfrecord_reader,
}
