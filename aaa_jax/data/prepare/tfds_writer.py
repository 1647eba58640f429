"""Writes a dataset as TFDS would, shard by shard, so that it can be resumed.

Records, their order and the names of the files are those that TFDS's own writer makes:
sorted by the hash of (split, key), cut into even shards of array_record. A shard gets
its name when it is whole; a killed run goes on with those that are there. The folder
gets its name, `VERSION`, when everything is.
"""

import contextlib
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from aaa_jax.data.errors import DatasetError
from aaa_jax.data.prepare.whole_file import whole_file
from aaa_jax.data.tfds_folder import is_prepared

BYTES_AROUND_AN_IMAGE = 100  # of a record: names of features, label, name
READING_THREADS = 8
MOST_NAMED = 20  # bad files in one message


class Item(NamedTuple):
    """An image that is to become a record."""

    name: str  # unique in its split
    labels: tuple[int, ...]  # its class, one for each of the plan's `labels`
    source: Path  # which file it lies in
    offset: int  # where in it; what the number means is known to `read`
    size: int  # length of the encoded image in bytes, nearly


class Plan(NamedTuple):
    """A dataset that is to be written."""

    name: str  # as TFDS spells it
    version: str  # such as "1.0.0"
    description: str  # one line
    # features that hold a class -> their class names; "label" is one
    labels: Mapping[str, Sequence[str]]
    name_feature: str  # the feature that holds an image's name
    splits: Mapping[str, Sequence[Item]]  # split -> its images, in any order
    encoding: str = ""  # "jpeg", "png", or "" where images are encoded in several ways
    image_size: int = 0  # height and width of all images; 0 if they differ
    # name of an image -> what TFDS hashes to shuffle the images
    key: Callable[[str], str] = str
    # name of a file -> a text that lies beside the shards
    notes: Mapping[str, str] = {}


class BadImages(Exception):
    """A list of images that cannot be stored, each with what is wrong with it."""


def write_dataset(folder: Path, plan: Plan, read: Callable[[Item], bytes]) -> Path:
    """Writes what is missing of a dataset, with a progress bar, and returns its folder.

    Args:
        folder: of all datasets.
        plan: what to write.
        read: item -> the encoded image to store, or ValueError for a bad one; called by
            several threads.

    Raises:
        DatasetError: with the names of the bad images, after all have been read.
    """
    final = folder / plan.name / plan.version
    with _locked(folder / plan.name):
        if is_prepared(final):  # another process was faster
            return final
        if final.exists():
            raise DatasetError(
                f"{final} is in the way and not a whole dataset: delete it"
            )
        unfinished = _unfinished_folder(final, plan)
        bad: list[str] = []
        lengths = {
            split: _write_split(unfinished, plan, split, items, read, bad)
            for split, items in plan.splits.items()
        }
        if bad:
            raise DatasetError(_bad_images_message(bad))
        _write_metadata(unfinished, plan, lengths)
        for name, text in plan.notes.items():
            (unfinished / name).write_text(text)
        unfinished.rename(final)
        (final / "plan.txt").unlink()
    return final


def stored_order(
    split: str, items: Sequence[Item], key: Callable[[str], str] = str
) -> list[Item]:
    """The images of a split in the order in which they are stored."""
    from tensorflow_datasets.core import hashing

    hasher = hashing.Hasher(split)
    return sorted(items, key=lambda item: hasher.hash_key(key(item.name)))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits until no other process of this machine writes the dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that writes {folder}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield


def _unfinished_folder(final: Path, plan: Plan) -> Path:
    """Where the dataset grows; emptied if it holds parts of another plan."""
    digest = hashlib.sha256(repr((plan.labels, plan.name_feature)).encode())
    for split, items in plan.splits.items():
        for item in items:
            digest.update(f"{split} {item.name} {item.labels} {item.size}\n".encode())
    unfinished = final.with_name(f"{final.name}.unfinished")
    kept = unfinished / "plan.txt"
    is_same = kept.is_file() and kept.read_text() == digest.hexdigest()
    if unfinished.is_dir() and not is_same:
        print(f"{unfinished} is of other images: begun anew", file=sys.stderr)
        shutil.rmtree(unfinished)
    unfinished.mkdir(exist_ok=True)
    kept.write_text(digest.hexdigest())
    for partial in unfinished.glob("*.part"):  # of a process that was killed
        partial.unlink()
    return unfinished


def _write_split(
    folder: Path,
    plan: Plan,
    split: str,
    items: Sequence[Item],
    read: Callable[[Item], bytes],
    bad: list[str],
) -> list[int]:
    """Writes the shards that are missing; returns how many records each has."""
    from tensorflow_datasets.core.utils import shard_utils

    order = stored_order(split, items, plan.key)
    total = sum(item.size + BYTES_AROUND_AN_IMAGE for item in items)
    num_shards = shard_utils.ShardConfig().get_number_shards(total, len(items))
    ends = shard_utils.get_shard_boundaries(len(items), num_shards)
    starts = [0, *ends[:-1]]
    paths = [
        folder / f"{plan.name}-{split}.array_record-{i:05d}-of-{num_shards:05d}"
        for i in range(num_shards)
    ]
    what = f"{plan.name} {split}"
    bar = tqdm(total=len(items), desc=what, unit="image", disable=None)
    with bar, ThreadPoolExecutor(READING_THREADS) as pool:
        for path, start, end in zip(paths, starts, ends, strict=True):
            if path.is_file():
                bar.update(end - start)
                continue
            try:
                _write_shard(path, plan, order[start:end], read, pool, bar)
            except BadImages as error:
                bad += error.args[0]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def _write_shard(
    path: Path,
    plan: Plan,
    items: Sequence[Item],
    read: Callable[[Item], bytes],
    pool: ThreadPoolExecutor,
    bar: Any,
) -> None:
    """Writes a shard, or raises BadImages after all have been read."""
    from array_record.python import array_record_module

    def record(item: Item) -> bytes | str:
        try:
            return _serialize(plan, item, read(item))
        except ValueError as error:
            return f"{item.name} of {item.source}: {error}"

    bad = []
    with whole_file(path) as partial, _disk_errors():
        writer = array_record_module.ArrayRecordWriter(str(partial), "group_size:1")
        for result in pool.map(record, items):
            if isinstance(result, str):
                bad.append(result)
            else:
                writer.write(result)
            bar.update()
        writer.close()
        if bad:
            raise BadImages(bad)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """What array_record's C++ says of a full disk, as the OSError that it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _serialize(plan: Plan, item: Item, encoded: bytes) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    feature = example.features.feature
    feature[plan.name_feature].bytes_list.value.append(item.name.encode())
    feature["image"].bytes_list.value.append(encoded)
    for name, label in zip(plan.labels, item.labels, strict=True):
        feature[name].int64_list.value.append(label)
    return example.SerializeToString(deterministic=True)


def _write_metadata(folder: Path, plan: Plan, lengths: dict[str, list[int]]) -> None:
    """TFDS's JSON files, by TFDS itself; `lengths` are the records of each shard."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import naming

    side = plan.image_size or None
    encoding = plan.encoding or None
    image = tfds.features.Image(shape=(side, side, 3), encoding_format=encoding)
    features = {plan.name_feature: tfds.features.Text(), "image": image}
    for name, class_names in plan.labels.items():
        features[name] = tfds.features.ClassLabel(names=class_names)
    template = naming.ShardedFileTemplate(
        data_dir=folder, dataset_name=plan.name, filetype_suffix="array_record"
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths[split],
            num_bytes=sum(f.stat().st_size for f in folder.glob(f"*-{split}.*")),
            filename_template=template,
        )
        for split in plan.splits
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=splits,
        version=plan.version,
        filename_template=template,
        description=plan.description,
        supervised_keys=("image", "label"),
        check_data=False,
    )


def _bad_images_message(bad: list[str]) -> str:
    named = "\n    ".join(bad[:MOST_NAMED])
    more = f"\n    and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    return f"{len(bad)} images cannot be read; mend or delete them:\n    {named}{more}"
