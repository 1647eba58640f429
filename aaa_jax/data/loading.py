"""`load`: a split of a dataset as two arrays. `describe`: what the dataset is.

Every image is checked on its way: whole, decodable, of the one size, with a label in
range; the first that is not stops the load with a message that names it.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from aaa_jax.data.datasets import DATASETS, DatasetSpec
from aaa_jax.data.decode import decode_rgb
from aaa_jax.data.errors import BadRecord, DatasetError
from aaa_jax.data.prepared import data_folder, find_prepared, open_prepared
from aaa_jax.data.records import Shard, read_shards

DECODE_CHUNK = 512  # images a thread decodes at a time


class Dataset(NamedTuple):
    """A decoded split, in its stored order.

    Attributes:
        images: uint8 [n, H, W, 3], RGB.
        labels: int32 [n], 0 to len(class_names) - 1.
        class_names: one name a class.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


def load(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    num_images: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A split, decoded; a dataset that this package can prepare is prepared first.

    Args:
        name: a key of DATASETS, or any TFDS image classification dataset that is
            prepared and has images of one size.
        split: a TFDS split: "train", "test", "train[:90%]", ...
        data_dir: folder of the datasets; see `prepared.data_folder`.
        num_images: keep a stratified subset of this size; None keeps all.
        seed: of the subset.

    Returns:
        The split, or its subset, in the order in which it is stored.

    Raises:
        DatasetNotPrepared: it is not there and cannot be put there now.
        DatasetError: it is there, and cannot be used.
    """
    builder = _open(name, data_dir)
    class_names, size = _check_features(name, builder)
    records = list(_parse(builder, split))
    labels = _checked_labels(records, len(class_names))
    if num_images is not None:
        kept = stratified_subset(labels, num_images, seed=seed)
        records, labels = [records[i] for i in kept], labels[kept]
    return Dataset(_decode(records, size), labels, class_names)


def describe(
    name: str, *, data_dir: str | os.PathLike[str] | None = None
) -> DatasetSpec:
    """The row of DATASETS, or one made up for another TFDS name.

    For a dataset outside the table the whole train split is read: mean and standard
    deviation are over all its pixels, the fill is the mean, images may be flipped (set
    `flip` to False where mirroring changes the class, as it does for characters), and
    the test split is "test", else "validation".
    """
    if name in DATASETS:
        return DATASETS[name]
    train = load(name, "train", data_dir=data_dir)
    height, width = train.images.shape[1:3]
    if height != width:
        raise DatasetError(
            f"images of {name} are {height}x{width}: they must be square"
        )
    splits = _open(name, data_dir).info.splits
    mean, std = channel_statistics(train.images)
    return DatasetSpec(
        name=name,
        num_classes=len(train.class_names),
        image_size=height,
        mean=mean,
        std=std,
        fill=(round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])),
        flip=True,
        test_split="test" if "test" in splits else "validation",
    )


def channel_statistics(
    images: np.ndarray,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel of uint8 [n, H, W, 3], in 0..1."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(3):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = np.average(values, weights=counts)
        means.append(float(mean))
        stds.append(float(np.average((values - mean) ** 2, weights=counts) ** 0.5))
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def stratified_subset(labels: np.ndarray, num_images: int, *, seed: int) -> np.ndarray:
    """Places of a subset in which every class keeps its share.

    Each class gives its exact share, rounded down; the places that are left go to the
    classes with the largest remainders (Hamilton's method), the smaller label first.

    Args:
        labels: int [n].
        num_images: size of the subset, from the number of classes present to n.
        seed: of the choice within each class. NumPy's RandomState is used, because its
            numbers are promised never to change.

    Returns:
        int64 [num_images], ascending.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes) <= num_images <= len(labels):
        raise DatasetError(
            f"a subset of {num_images} images cannot be taken: from {len(classes)} "
            f"(one a class) to {len(labels)} (all) are possible"
        )
    quotas = counts * num_images // len(labels)
    remainders = counts * num_images % len(labels)
    first = np.argsort(-remainders, kind="stable")[: num_images - quotas.sum()]
    quotas[first] += 1
    random = np.random.RandomState(seed)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


class _Record(NamedTuple):
    place: str  # for messages: which record this is
    encoded: bytes
    label: int


def _open(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    folder = data_folder(data_dir)
    path = find_prepared(name, folder)
    if path is None:
        from aaa_jax.data.prepare import prepare_dataset

        path = prepare_dataset(name, data_dir=folder)
    return open_prepared(path)


def _check_features(
    name: str, builder: Any
) -> tuple[tuple[str, ...], tuple[int | None, int | None]]:
    """Class names, and height and width where fixed, if they are what we need."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    features = (
        dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    )
    image_key, label_key = _keys(builder)
    image, label = features.get(image_key), features.get(label_key)
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise DatasetError(
            f"{name} in {builder.data_dir} is not an image classification dataset: its "
            f"features are {', '.join(features)}; an image and a class label are needed"
        )
    class_names = tuple(label.names)
    shape = image.shape
    if name in DATASETS:
        spec = DATASETS[name]
        wanted = (spec.num_classes, spec.image_size, spec.image_size)
        if (len(class_names), shape[0], shape[1]) != wanted:
            raise DatasetError(
                f"{builder.data_dir} has {len(class_names)} classes and images of "
                f"{shape[0]}x{shape[1]}, but {name} has {wanted[0]} classes and images "
                f"of {wanted[1]}x{wanted[2]}: it is another dataset of that name"
            )
    return class_names, (shape[0], shape[1])


def _keys(builder: Any) -> tuple[str, str]:
    supervised = builder.info.supervised_keys
    if supervised and len(supervised) == 2:
        return supervised[0], supervised[1]
    return "image", "label"


def _parse(builder: Any, split: str) -> Iterator[_Record]:
    keys = _keys(builder)
    for shard in read_shards(builder, split):
        for offset in range(len(shard.records)):
            yield _parse_record(shard, offset, keys)


def _parse_record(shard: Shard, offset: int, keys: tuple[str, str]) -> _Record:
    """The three features we need of a tf.train.Example.

    Read from the protocol buffer itself: TFDS's own parser takes six times as long.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    place = f"record {shard.first + offset} of {shard.path}"
    try:
        example = tf_example_pb2.Example.FromString(shard.records[offset])
    except Exception as error:  # protobuf's DecodeError, whose home has moved
        raise BadRecord(f"{place} is not a tf.train.Example ({error})") from error
    feature = example.features.feature
    identity = feature["id"].bytes_list.value
    if identity:
        place += f" (id {identity[0].decode(errors='replace')!r})"
    encoded = feature[keys[0]].bytes_list.value
    label = feature[keys[1]].int64_list.value
    if len(encoded) != 1 or len(label) != 1:
        raise BadRecord(
            f"{place} has {len(encoded)} values of {keys[0]!r} and {len(label)} of "
            f"{keys[1]!r}: one of each is needed"
        )
    return _Record(place, encoded[0], label[0])


def _checked_labels(records: list[_Record], num_classes: int) -> np.ndarray:
    labels = np.array([record.label for record in records], np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        record = records[wrong[0]]
        raise BadRecord(
            f"{record.place} has the label {record.label}: labels are 0 to "
            f"{num_classes - 1}"
        )
    return labels.astype(np.int32)


def _decode(records: list[_Record], size: tuple[int | None, int | None]) -> np.ndarray:
    """The pixels of all records, uint8 [n, H, W, 3], decoded on all cores.

    A height or width that the dataset does not fix is that of the first image.
    """
    cv2.setNumThreads(1)  # the threads are ours
    first = _decode_record(records[0]).shape
    height, width = size[0] or first[0], size[1] or first[1]
    images = np.empty((len(records), height, width, 3), np.uint8)

    def decode_chunk(start: int) -> None:
        for i in range(start, min(start + DECODE_CHUNK, len(records))):
            pixels = _decode_record(records[i])
            if pixels.shape != (height, width, 3):
                raise BadRecord(
                    f"{records[i].place} is an image of {pixels.shape[0]}x"
                    f"{pixels.shape[1]}, others are {height}x{width}: a dataset "
                    "that is kept in memory needs images of one size"
                )
            images[i] = pixels

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode_chunk, range(0, len(records), DECODE_CHUNK)))
    return images


def _decode_record(record: _Record) -> np.ndarray:
    try:
        return decode_rgb(record.encoded)
    except ValueError as error:
        raise BadRecord(f"{record.place}: {error}") from error
