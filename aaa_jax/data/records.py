"""The serialized records of a prepared split, file by file.

A record is a `tf.train.Example` as TFDS writes it. Files are array_record (read by its
own package, random access) or TFRECORD (read whole). Pixels do not belong here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aaa_jax.data.errors import BadRecord, DatasetError
from aaa_jax.data.tfrecord import read_tfrecords


class Shard(NamedTuple):
    """The records that a split takes from one file.

    Attributes:
        path: the file.
        first: place of the first record in the file, counted from 0.
        records: serialized examples.
    """

    path: Path
    first: int
    records: list[bytes]


def read_shards(builder: Any, split: str) -> Iterator[Shard]:
    """A split's records in their stored order, one file at a time.

    Args:
        builder: of `prepared.open_prepared`.
        split: a TFDS split, slices such as "train[:90%]" included.
    """
    for instruction in split_info(builder, split).file_instructions:
        path = Path(instruction.filename)
        first, count = instruction.skip, instruction.take
        if count < 0:
            count = instruction.examples_in_shard - first
        if not path.is_file():
            raise DatasetError(f"{path} is missing: prepare {_name(builder)} again")
        yield Shard(path, first, _read(builder, path, first, count))


def split_info(builder: Any, split: str) -> Any:
    """TFDS's SplitInfo of a split with at least one record."""
    splits = builder.info.splits
    if not splits:
        raise DatasetError(f"{_name(builder)} has no splits: prepare it again")
    try:
        info = splits[split]
        count = info.num_examples
    except (ValueError, KeyError, AssertionError) as error:
        raise DatasetError(
            f"{_name(builder)} has no split {split!r}: its splits are "
            f"{', '.join(splits)}, or a slice such as train[:90%]"
        ) from error
    if count < 1:
        raise DatasetError(f"the split {split!r} of {_name(builder)} is empty")
    return info


def _read(builder: Any, path: Path, first: int, count: int) -> list[bytes]:
    file_format = builder.info.file_format.value
    if file_format == "array_record":
        return _read_array_record(path, first, count)
    if file_format == "tfrecord":
        records = read_tfrecords(path)
        _check_count(path, first + count, len(records))
        return records[first : first + count]
    raise DatasetError(
        f"{_name(builder)} is stored as {file_format}; array_record and tfrecord are "
        "read"
    )


def _read_array_record(path: Path, first: int, count: int) -> list[bytes]:
    from array_record.python import array_record_data_source

    try:
        with array_record_data_source.ArrayRecordDataSource(path) as source:
            _check_count(path, first + count, len(source))
            return list(source.__getitems__(range(first, first + count)))
    except BadRecord:
        raise
    except Exception as error:  # the reader's C++ statuses come as several types
        raise BadRecord(
            f"{path} is damaged: {error}. Delete the dataset's folder and prepare it "
            "again, or copy it again"
        ) from error


def _check_count(path: Path, wanted: int, present: int) -> None:
    if present < wanted:
        raise BadRecord(
            f"{path} has {present} records, its dataset_info.json says at least "
            f"{wanted}: prepare the dataset again, or copy it again"
        )


def _name(builder: Any) -> str:
    return f"{builder.info.full_name} in {builder.data_dir}"
