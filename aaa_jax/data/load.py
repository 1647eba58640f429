"""`load`: a split of a dataset as two arrays. `describe`: what the dataset is.

Every image is checked: it must be whole and decodable, of the same size as the others,
and its label in range. The first that is not is named, and nothing is loaded.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from aaa_jax.data.datasets import DATASETS, IMAGENET_MEAN, IMAGENET_STD, DatasetSpec
from aaa_jax.data.decode import decode_record
from aaa_jax.data.errors import BadRecord, DatasetError
from aaa_jax.data.examples import (
    Record,
    check_label,
    find_features,
    parse_record,
)
from aaa_jax.data.held_out import Part, choose, describe_use, hold_out, places, whole
from aaa_jax.data.record_files import open_records
from aaa_jax.data.tfds_folder import data_folder, find_prepared, open_prepared

TEST_SPLITS = ("test", "validation")  # the first that there is
AUTOMATIC_SIDE = -1
IMAGES_MEASURED = 32  # of a dataset, for its automatic side
SMALLEST_SIDE, LARGEST_SIDE = 64, 224  # in pixels
SIDES = ((1_000, 64), (10_000, 128))  # of fewer images -> the largest side
DECODE_CHUNK = 512  # images a thread decodes at a time


class Dataset(NamedTuple):
    """A decoded split, in its stored order.

    Attributes:
        images: uint8 [n, H, W, 3], RGB.
        labels: int32 [n], 0 to len(class_names) - 1.
        class_names: one name a class.
        left_out: what of the split is not here and why, in words.
        held_out: names of the images, or places, where they are held out for testing.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    left_out: str = ""
    held_out: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.labels)


def load(
    name: str,
    split: str | Part,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    num_images: int | None = None,
    seed: int = 0,
) -> Dataset:
    """A decoded split; a dataset that this package can prepare is prepared first.

    Args:
        name: as of `describe`; its images must have one size.
        split: a TFDS split, "train", "test", "train[:90%]", or a part of one.
        data_dir: folder of the datasets; see `tfds_folder.data_folder`.
        num_images: keep a stratified subset of this size; None keeps all.
        seed: of the subset.

    Returns:
        The split, or its subset, in the order in which it is stored.

    Raises:
        DatasetNotPrepared: it is not there and cannot be put there now.
        DatasetError: it is there, and cannot be used.
    """
    builder = open_dataset(name, data_dir)
    class_names, size, keys = find_features(name, builder)
    stored = open_records(builder, whole(split))
    records = [
        parse_record(stored.place(i), serialized, keys)
        for i, serialized in enumerate(stored.read_all())
    ]
    num_classes = len(class_names)
    labels = np.array([check_label(r, num_classes) for r in records], np.int32)
    part = np.arange(len(labels))
    if isinstance(split, Part):
        part = places(split, labels, class_names)
    kept = part
    if num_images is not None:
        kept = part[stratified_subset(labels[part], num_images, seed=seed)]
    use = describe_use(Path(builder.data_dir), split, len(labels), part, kept)
    images = _decode([records[i] for i in kept], size)
    return Dataset(images, labels[kept], class_names, *use)


def describe(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    loader: str = "auto",
    image_size: int = 0,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> DatasetSpec:
    """The row of DATASETS, or one made up for another TFDS name.

    Images of a dataset outside the table may be flipped (set `flip` to False where
    mirroring changes the class, as with characters). Its test split is "test", or
    "validation" if there is no "test". If its images have one size, the whole train
    split is read: mean and standard deviation are over all its pixels, and the fill is
    the mean. If not, it is streamed at 224 pixels.
    Silent: a streamed dataset outside the table is normalised as ImageNet is, since its
    statistics would cost a pass over all its images.

    Args:
        name: a key of DATASETS, any prepared TFDS dataset, or "folder:PATH".
        data_dir: folder of the datasets; see `tfds_folder.data_folder`.
        loader: "resident" or "stream", or "auto" for what the row says; outside the
            table "auto" goes by the sizes of the images.
        image_size: what the network sees if images are streamed; 0 for the row's; -1
            for `choose_side`.
        validation_fraction: of each class of the train split that is tested on instead
            of the test split; 0 for the test split, or a fifth where there is none.
        seed: of the choice of these.
    """
    is_listed = name in DATASETS
    spec = DATASETS[name] if is_listed else _unlisted(name, data_dir)
    if loader != "auto":
        spec = spec._replace(loader=loader)
    spec = hold_out(spec, validation_fraction, seed)
    if not is_listed and spec.loader == "resident":
        spec = _measured(spec, load(name, spec.train_split, data_dir=data_dir).images)
    if image_size == AUTOMATIC_SIDE and spec.loader == "stream":
        image_size = _automatic_side(name, open_dataset(name, data_dir), spec)
    if image_size > 0 and spec.loader == "stream":
        spec = spec._replace(image_size=image_size)
    return spec


def class_names(
    name: str, data_dir: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """The names of a dataset's classes; none where it is not prepared."""
    path = find_prepared(name, data_folder(data_dir))
    return find_features(name, open_prepared(path)).class_names if path else ()


def _unlisted(name: str, data_dir: str | os.PathLike[str] | None) -> DatasetSpec:
    """A row for a dataset outside the table, as if it were streamed."""
    builder = open_dataset(name, data_dir)
    features = find_features(name, builder)
    return DatasetSpec(
        name=name,
        num_classes=len(features.class_names),
        image_size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        fill=_mean_colour(IMAGENET_MEAN),
        flip=True,
        padding=0,
        test_split=next((s for s in TEST_SPLITS if s in builder.info.splits), ""),
        loader="stream" if None in features.size else "resident",
    )


def _measured(spec: DatasetSpec, images: np.ndarray) -> DatasetSpec:
    """The row with the size and the statistics of the training images."""
    height, width = images.shape[1:3]
    if height != width:
        raise DatasetError(
            f"images of {spec.name} are {height}x{width}: they must be square, or "
            "streamed (--config.data.loader=stream)"
        )
    if (images == images[0, 0, 0]).all():
        raise DatasetError(
            f"all training images of {spec.name} have one colour, RGB "
            f"{tuple(images[0, 0, 0].tolist())}: there is nothing to learn"
        )
    mean, std = channel_statistics(images)
    fill = _mean_colour(mean)
    return spec._replace(image_size=height, mean=mean, std=std, fill=fill, padding=4)


def choose_side(short_side: float, num_images: int) -> int:
    """A side in pixels that images can fill, and their number teach.

    Silent: the shorter side in steps of 32, from 64 to 224; at most 64 for fewer than
    1,000 images, and 128 for fewer than 10,000: a network that starts from nothing
    learns little from finer pixels of so few, and takes 12 times as long.
    """
    most = next((side for limit, side in SIDES if num_images < limit), LARGEST_SIDE)
    return int(np.clip(short_side // 32 * 32, SMALLEST_SIDE, most))


def _automatic_side(name: str, builder: Any, spec: DatasetSpec) -> int:
    """The side for training images, of some of which the middle size counts."""
    stored = open_records(builder, whole(spec.train_split))
    keys = find_features(name, builder).keys
    some = np.linspace(0, stored.num_records - 1, IMAGES_MEASURED).astype(int)
    records = (
        parse_record(stored.place(i), stored.read(i), keys)
        for i in np.unique(some).tolist()
    )
    sides = [min(decode_record(record).shape[:2]) for record in records]
    return choose_side(float(np.median(sides)), stored.num_records)


def _mean_colour(mean: tuple[float, float, float]) -> tuple[int, int, int]:
    return (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))


def channel_statistics(
    images: np.ndarray,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel of uint8 [n, H, W, 3], in 0..1.

    Silent: the deviation of a channel that is constant is 1, so that it becomes 0.
    """
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(3):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = np.average(values, weights=counts)
        means.append(float(mean))
        std = float(np.average((values - mean) ** 2, weights=counts) ** 0.5)
        stds.append(std if np.count_nonzero(counts) > 1 else 1.0)
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def stratified_subset(labels: np.ndarray, num_images: int, *, seed: int) -> np.ndarray:
    """Places of a subset in which every class keeps its share.

    Each class gives its exact share, rounded down. The places that are left go to the
    classes with the largest remainders (Hamilton's method); among equal ones the
    smaller label comes first.

    Args:
        labels: int [n].
        num_images: size of the subset, from the number of classes present to n.
        seed: of the choice within each class.

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
    return choose(labels, classes, quotas, seed)


def open_dataset(name: str, data_dir: str | os.PathLike[str] | None = None) -> Any:
    """The read-only TFDS builder of a dataset, which is prepared first if need be."""
    from aaa_jax.data.prepare.preparers import prepare_dataset

    return open_prepared(prepare_dataset(name, data_dir=data_dir))


def _decode(records: list[Record], size: tuple[int | None, int | None]) -> np.ndarray:
    """The pixels of all records, uint8 [n, H, W, 3], decoded on all cores.

    If the dataset does not state a height or width, the first image gives it.
    """
    cv2.setNumThreads(1)  # the threads are ours
    first = decode_record(records[0]).shape
    height, width = size[0] or first[0], size[1] or first[1]
    images = np.empty((len(records), height, width, 3), np.uint8)

    def decode_chunk(start: int) -> None:
        for i in range(start, min(start + DECODE_CHUNK, len(records))):
            pixels = decode_record(records[i])
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
