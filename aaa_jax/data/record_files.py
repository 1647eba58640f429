"""The serialized records of a split, read at any place and from any thread.

array_record files are made for this, and their own package reads them. In a TFRECORD
file one record follows another (TensorFlow, `tensorflow/core/lib/io/record_writer.h`),
little-endian:

    uint64 length, uint32 masked CRC of the 8 bytes of length,
    bytes[length], uint32 masked CRC of the bytes          CRC: CRC-32C (Castagnoli)

so all headers are read once, when the file is opened, to learn where the records lie.
In both formats the checksum of a record is verified whenever it is read. What the bytes
mean is said in `examples`.
"""

import os
import resource
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.data.errors import BadRecord, DatasetError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
SPARE_FILES = 256  # for everything else that the process opens
OPENING_THREADS = 32  # they wait for disks, they do not compute
WHAT_TO_DO = "Delete the dataset's folder and prepare it again, or copy it again"


class RecordFile(NamedTuple):
    """An open file: how many records it has, and a function from places to records."""

    num_records: int
    read: Callable[[Sequence[int]], list[bytes]]


class Records(NamedTuple):
    """The records of a split, by their place in it."""

    paths: tuple[Path, ...]  # the files
    files: tuple[RecordFile, ...]  # the same files, open
    # int64 [n, 2], of each record: which file, and which record of it
    where: np.ndarray

    @property
    def num_records(self) -> int:
        """How many there are."""
        return len(self.where)

    def place(self, index: int) -> str:
        """Which record this is, for messages."""
        file, record = self.where[index]
        return f"record {record} of {self.paths[file]}"

    def read(self, index: int) -> bytes:
        """The serialized record; safe to call from many threads at once.

        Raises:
            BadRecord: the file is damaged there.
        """
        file, record = self.where[index].tolist()
        try:
            return self.files[file].read([record])[0]
        except Exception as error:  # array_record's C++ statuses come as several types
            raise BadRecord(
                f"{self.place(index)} cannot be read: {error}. {WHAT_TO_DO}"
            ) from error

    def read_all(self) -> list[bytes]:
        """All records in stored order; many times as fast as one by one.

        Raises:
            BadRecord: a file is damaged.
        """
        found: list[bytes] = []
        for number, file in enumerate(self.files):
            indices = np.flatnonzero(self.where[:, 0] == number).tolist()
            try:
                found += file.read(self.where[indices, 1].tolist())
            except Exception:  # as above; one by one, the bad record is named
                found += [self.read(index) for index in indices]
        return found


def open_records(builder: Any, split: str) -> Records:
    """The records of a split, in stored order; all its files are opened and counted.

    Raises:
        DatasetError: no such split, a missing file, an unknown format.
        BadRecord: a damaged file, or one with fewer records than it should have.
    """
    dataset = f"{builder.info.full_name} in {builder.data_dir}"
    parts = _split_info(builder, split, dataset).file_instructions
    paths = [Path(part.filename) for part in parts]
    for path in paths:
        if not path.is_file():
            raise DatasetError(f"{path} is missing: prepare {dataset} again")
    file_format = builder.info.file_format.value
    if file_format not in FORMATS:
        raise DatasetError(
            f"{dataset} is stored as {file_format}; {' and '.join(FORMATS)} are read"
        )
    _allow_open_files(len(paths))
    with ThreadPoolExecutor(OPENING_THREADS) as pool:
        files = list(pool.map(FORMATS[file_format], paths))
    where = []
    for number, (path, file, part) in enumerate(zip(paths, files, parts, strict=True)):
        end = part.examples_in_shard if part.take < 0 else part.skip + part.take
        if file.num_records < end:
            raise BadRecord(
                f"{path} has {file.num_records} records, its dataset_info.json says at "
                f"least {end}: prepare the dataset again, or copy it again"
            )
        places = np.arange(part.skip, end)
        where.append(np.stack([np.full_like(places, number), places], axis=1))
    return Records(tuple(paths), tuple(files), np.concatenate(where))


def _split_info(builder: Any, split: str, dataset: str) -> Any:
    """TFDS's SplitInfo of a split with at least one record."""
    splits = builder.info.splits
    try:
        info = splits[split]
        count = info.num_examples
    except (ValueError, KeyError, AssertionError) as error:
        raise DatasetError(
            f"{dataset} has no split {split!r}: its splits are "
            f"{', '.join(splits) or 'none'}, or a slice such as train[:90%]"
        ) from error
    if count < 1:
        raise DatasetError(f"the split {split!r} of {dataset} is empty")
    return info


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


def open_array_record(path: Path) -> RecordFile:
    """An array_record file."""
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(
            os.fspath(path),
            options="readahead_buffer_size:0",  # single records, in any order
            file_reader_buffer_size=32768,
        )
    except Exception as error:  # as in Records.read
        raise BadRecord(f"{path} is damaged: {error}. {WHAT_TO_DO}") from error
    return RecordFile(reader.num_records(), reader.read)


def open_tfrecord(path: Path) -> RecordFile:
    """A TFRECORD file, of which all headers are read."""
    spans = _find_tfrecords(path)

    def read(places: Sequence[int]) -> list[bytes]:
        with path.open("rb", buffering=0) as file:
            return [_read_tfrecord(file.fileno(), *spans[place]) for place in places]

    return RecordFile(len(spans), read)


def _find_tfrecords(path: Path) -> np.ndarray:
    """Where the records of a TFRECORD file lie, int64 [n, 2]: start and length."""
    spans: list[tuple[int, int]] = []
    size = path.stat().st_size
    at = 0
    with path.open("rb", buffering=0) as file:
        while at < size:
            try:
                length = _read_header(file.fileno(), at, size)
            except ValueError as error:
                raise BadRecord(
                    f"record {len(spans)} of {path} is damaged: {error}. {WHAT_TO_DO}"
                ) from error
            spans.append((at + HEADER.size, length))
            at += HEADER.size + length + FOOTER.size
    return np.array(spans, np.int64).reshape(-1, 2)


def _read_header(descriptor: int, at: int, size: int) -> int:
    """The length of the record that begins at a place of a file of that size."""
    header = os.pread(descriptor, HEADER.size, at)
    if len(header) < HEADER.size:
        raise ValueError("the file ends within its header")
    length, stored = HEADER.unpack(header)
    if masked_crc32c(header[:8]) != stored:
        raise ValueError("the checksum of its length does not match")
    left = size - at - HEADER.size - FOOTER.size
    if length > left:
        raise ValueError(f"it claims {length} bytes, {max(left, 0)} are left")
    return int(length)


def _read_tfrecord(descriptor: int, start: int, length: int) -> bytes:
    content = os.pread(descriptor, length + FOOTER.size, start)
    if len(content) < length + FOOTER.size:
        raise ValueError("the file has become shorter")
    if masked_crc32c(content[:length]) != FOOTER.unpack_from(content, length)[0]:
        raise ValueError("its checksum does not match")
    return content[:length]


def masked_crc32c(content: bytes) -> int:
    """The checksum of TFRECORD files: a CRC-32C, rotated and shifted."""
    import google_crc32c

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


FORMATS: dict[str, Callable[[Path], RecordFile]] = {
    "array_record": open_array_record,
    "tfrecord": open_tfrecord,
}
