"""Mini-batches of a dataset that is too large, or too uneven, to live on the device.

    stream = data.open_stream("imagenet2012", "train")
    with data.train_batches(stream, options, image_of_row=..., rows=range(R),
                            batch_size=N, epoch=0) as batches:
        for images, labels in batches: ...       uint8 [R, S, S, 3], int32 [R]

Everything is a function of numbers, never of time, threads or hosts. The order of an
epoch depends on (seed, epoch), the crop and flip of a row on (seed, epoch, step, global
row). So an epoch can be entered at any step, and hosts that share the rows in any way
make the same ones.

An image is decoded once for all rows that show it, and its crops are written straight
into the batch, which is why this is a thread pool and not Grain. Grain's elements are
images, so that the M crops of each are copied once more into a batch: used as it is
meant (source, map, batch, threads), it made the same rows for a fifth more CPU time,
and with worker processes for two and a half times as much.
"""

import contextlib
import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from absl import logging

from aaa_jax.data import crops
from aaa_jax.data.datasets import Part
from aaa_jax.data.decode import decode_record
from aaa_jax.data.errors import BadRecord, DatasetError
from aaa_jax.data.examples import check_label, find_features, parse_record
from aaa_jax.data.held_out import describe_use, places, stored_names, whole
from aaa_jax.data.load import Dataset, open_dataset
from aaa_jax.data.record_files import Records, open_records

T = TypeVar("T")
Job = Callable[[], None]

# Streams of randomness: the second of a key's numbers.
_ORDER, _CROPS, _SUBSET = range(3)
MOST_BAD_IN_A_ROW = 100


class RowBatch(NamedTuple):
    """A host's rows of one large batch."""

    images: np.ndarray  # uint8 [R, S, S, 3], after the standard augmentation
    labels: np.ndarray  # int32 [R]


class EvaluationBatch(NamedTuple):
    """A host's share of one batch of an evaluation."""

    images: np.ndarray  # uint8 [b, S, S, 3]; zeros where the weight is 0
    labels: np.ndarray  # int32 [b]
    # float32 [b]; 1 for an image, 0 for padding and for a bad image
    weights: np.ndarray


class StreamOptions(NamedTuple):
    """How records become rows."""

    image_size: int = 224  # S, height and width of a row in pixels
    flip: bool = True  # rows are mirrored with probability 1/2
    # the rows of one image in a mini-batch share crop and flip
    shared_crops: bool = False
    resample: str = "area"  # one of `crops.RESAMPLINGS`, see `crops.resize`
    seed: int = 0  # of order, crops and flips
    # "stop", or "skip" to go on without it; skipped images are logged and counted in
    # `Stream.bad_images`
    on_bad_image: str = "stop"
    num_threads: int = 0  # that decode; 0 for one per core that the process may use
    prefetch: int = 2  # batches that are made ahead, at least 1


class Stream(NamedTuple):
    """An open split."""

    records: Records  # its records
    kept: np.ndarray  # int64 [n], the records of the subset in use
    class_names: tuple[str, ...]  # one name a class
    keys: tuple[str, str]  # the features that hold image and label
    # record -> what is wrong with it, for those skipped so far
    bad_images: dict[int, str]
    left_out: str = ""  # what of the split is not here and why, in words
    # names of the images, or places, where they are held out for testing
    held_out: tuple[str, ...] = ()

    @property
    def num_images(self) -> int:
        """How many images there are, bad ones included."""
        return len(self.kept)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)


def open_stream(
    name: str,
    split: str | Part,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    num_images: int | None = None,
    seed: int = 0,
) -> Stream:
    """Opens a split for streaming; a dataset that we can prepare is prepared first.

    Files are opened and their numbers of records checked. Labels and images are checked
    when they are read.

    Args:
        name: as of `describe`.
        split: a TFDS split, "train", "validation", "train[:10%]", or a part of one.
        data_dir: folder of the datasets; see `tfds_folder.data_folder`.
        num_images: size of a subset that is drawn uniformly (it is not stratified,
            since labels are not known before images are read); None keeps all.
        seed: of the subset.

    Raises:
        DatasetNotPrepared: it is not there and cannot be put there now.
        DatasetError: it is there, and cannot be used.
    """
    builder = open_dataset(name, data_dir)
    class_names, _, keys = find_features(name, builder)
    records = open_records(builder, whole(split))
    folder = Path(builder.data_dir)
    part = np.arange(records.num_records)
    if isinstance(split, Part):
        labels = _read_labels(records, keys, class_names, folder, split.of)
        part = places(split, labels, class_names)
    kept = part
    if num_images is not None:
        if not 1 <= num_images <= len(part):
            raise DatasetError(
                f"a subset of {num_images} images cannot be taken from the split "
                f"{str(split)!r} of {name}: it has {len(part)}"
            )
        kept = part[np.sort(_permutation((seed, _SUBSET), len(part))[:num_images])]
    use = describe_use(folder, split, records.num_records, part, kept)
    return Stream(records, kept, class_names, keys, {}, *use)


def _read_labels(
    records: Records,
    keys: tuple[str, str],
    class_names: tuple[str, ...],
    folder: Path,
    split: str,
) -> np.ndarray:
    """The labels of a split, int32 [n]; of a folder of images they have been noted."""
    if names := stored_names(folder, split):
        label = {name: number for number, name in enumerate(class_names)}
        return np.array([label[name.partition("/")[0]] for name in names], np.int32)
    logging.info("reading the labels of %d images", records.num_records)
    parsed = (
        parse_record(records.place(i), records.read(i), keys)
        for i in range(records.num_records)
    )
    return np.array([check_label(each, len(class_names)) for each in parsed], np.int32)


def counted(images: Dataset | Stream, split: str | Part) -> str:
    """Such as "16 images of 2 classes (train), 4 left out: hidden (a/.b.png, ...)"."""
    there = f"{images.num_images} images of {len(images.class_names)} classes"
    return f"{there} ({split}){images.left_out}"


def epoch_order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The order of an epoch's images, int64 [num_images]."""
    return _permutation((seed, _ORDER, epoch), num_images)


def train_batches(
    stream: Stream,
    options: StreamOptions,
    *,
    image_of_row: np.ndarray,
    rows: Sequence[int] | np.ndarray,
    batch_size: int,
    epoch: int,
    first_step: int = 0,
    last_step: int | None = None,
) -> AbstractContextManager[Iterator[RowBatch]]:
    """A host's rows of the steps first_step to last_step - 1 of an epoch.

    The mini-batch of step t is images t N to (t + 1) N - 1 of the epoch's order; a last
    one that would not be full is left out. A bad image that is skipped is replaced by
    the next good one of that order, the same on every host.

    Args:
        stream: of `open_stream`.
        options: how records become rows.
        image_of_row: int [all rows of the large batch], the image 0 to N - 1 of the
            mini-batch that each row shows; see `batch_layout.image_of_row`.
        rows: int [R], the rows that this host makes, in the order wanted.
        batch_size: N.
        epoch: which one.
        first_step: within the epoch.
        last_step: None for the epoch's end.

    Returns:
        A context that gives the batches. Its threads stop when it is left.

    Raises:
        BadRecord: from `next`, on a bad image, naming it.
    """
    num_steps = stream.num_images // batch_size
    last_step = num_steps if last_step is None else last_step
    if not 0 <= first_step <= last_step <= num_steps:
        raise ValueError(
            f"steps {first_step} to {last_step} are asked for; {stream.num_images} "
            f"images make {num_steps} mini-batches of {batch_size}"
        )
    order = epoch_order(options.seed, epoch, stream.num_images)
    rows = np.asarray(rows, np.int64)
    images = np.asarray(image_of_row, np.int64)[rows]
    draws_of_row = images if options.shared_crops else rows
    num_draws = batch_size if options.shared_crops else len(image_of_row)
    shown = [(int(i), np.flatnonzero(images == i)) for i in np.unique(images)]

    def begin(step: int) -> tuple[RowBatch, list[Job]]:
        shape = (len(rows), options.image_size, options.image_size, 3)
        batch = RowBatch(np.empty(shape, np.uint8), np.empty(len(rows), np.int32))
        key = (options.seed, _CROPS, epoch, step)
        numbers = crops.uniforms(key, num_draws, crops.NUMBERS_PER_ROW)[draws_of_row]

        def make_rows(image: int, places: np.ndarray) -> None:
            pixels, label = _next_good_image(
                stream, order, step * batch_size + image, options.on_bad_image
            )
            cut_rows(pixels, numbers, places, batch.images, options)
            batch.labels[places] = label

        return batch, [functools.partial(make_rows, *each) for each in shown]

    return _made_in_background(begin, range(first_step, last_step), options)


def evaluation_batches(
    stream: Stream,
    options: StreamOptions,
    *,
    batch_size: int,
    resize: int,
    start: int = 0,
    stop: int | None = None,
) -> AbstractContextManager[Iterator[EvaluationBatch]]:
    """Every image once, in stored order, resized and cut out of the middle.

    Args:
        stream: of `open_stream`.
        options: `image_size` is the side of the cut; no flips, no seed.
        batch_size: B, of all hosts together.
        resize: length of the shorter side before the cut, at least `image_size`.
        start: this host makes the positions start to stop - 1 of every batch.
        stop: None for the batch's end.

    Returns:
        A context that gives the batches. Its threads stop when it is left.

    Raises:
        BadRecord: from `next`, on a bad image, naming it. Where bad images are skipped,
            its weight is 0 instead.
    """
    share = (batch_size if stop is None else stop) - start
    side = options.image_size

    def begin(number: int) -> tuple[EvaluationBatch, list[Job]]:
        batch = EvaluationBatch(
            np.zeros((share, side, side, 3), np.uint8),
            np.zeros(share, np.int32),
            np.zeros(share, np.float32),
        )

        def make_row(place: int, image: int) -> None:
            found = _decode(stream, int(stream.kept[image]), options.on_bad_image)
            if found is not None:
                pixels, batch.labels[place] = found
                view = batch.images[place]
                resample = options.resample
                crops.resize_and_crop(
                    pixels, view, short_side=resize, resample=resample
                )
                batch.weights[place] = 1

        first = number * batch_size + start
        images = range(first, min(first + share, stream.num_images))
        return batch, [functools.partial(make_row, *each) for each in enumerate(images)]

    numbers = range(-(-stream.num_images // batch_size))
    return _made_in_background(begin, numbers, options)


@contextlib.contextmanager
def _made_in_background(
    begin: Callable[[int], tuple[T, list[Job]]],
    numbers: Sequence[int],
    options: StreamOptions,
) -> Iterator[Iterator[T]]:
    """Batches in order, of which the next `options.prefetch` are in the making.

    `begin` gives the batch of a number, still empty, and the jobs that fill it.
    """
    cv2.setNumThreads(1)  # the threads are ours
    threads = options.num_threads or len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def submit(number: int) -> tuple[T, list[Future[None]]]:
        batch, jobs = begin(number)
        return batch, [pool.submit(job) for job in jobs]

    def batches() -> Iterator[T]:
        submitted = map(submit, numbers)
        ahead = deque(itertools.islice(submitted, options.prefetch))
        while ahead:
            batch, running = ahead.popleft()
            for job in running:
                job.result()
            ahead.extend(itertools.islice(submitted, 1))
            yield batch

    try:
        yield batches()
    finally:
        pool.shutdown(cancel_futures=True)


def _next_good_image(
    stream: Stream, order: np.ndarray, position: int, on_bad_image: str
) -> tuple[np.ndarray, int]:
    """Pixels and label at a position of the order, or of the next good image."""
    for further in range(MOST_BAD_IN_A_ROW):
        image = order[(position + further) % len(order)]
        found = _decode(stream, int(stream.kept[image]), on_bad_image)
        if found is not None:
            return found
    raise DatasetError(
        f"{MOST_BAD_IN_A_ROW} images in a row are bad, the last of them "
        f"{next(reversed(stream.bad_images.values()))}: prepare the dataset again"
    )


def _decode(
    stream: Stream, record: int, on_bad_image: str
) -> tuple[np.ndarray, int] | None:
    """The pixels and the label of a record; None where it is bad and to be skipped."""
    if record in stream.bad_images and on_bad_image == "skip":
        return None
    try:
        place = stream.records.place(record)
        parsed = parse_record(place, stream.records.read(record), stream.keys)
        return decode_record(parsed), check_label(parsed, stream.num_classes)
    except BadRecord as error:
        if on_bad_image != "skip":
            raise BadRecord(
                f"{error}. Mend the dataset, or leave such images out with "
                "--config.data.on_bad_image=skip"
            ) from error
        stream.bad_images[record] = str(error)
        count = len(stream.bad_images)
        logging.warning("left out a bad image (%d so far): %s", count, error)
        return None


def cut_rows(
    pixels: np.ndarray,
    numbers: np.ndarray,
    places: Iterable[int],
    out: np.ndarray,
    options: StreamOptions,
) -> None:
    """Cuts the rows at some places of a batch, all from one image.

    Args:
        pixels: uint8 [H, W, 3], the image.
        numbers: float64 [R, NUMBERS_PER_ROW], those that each row is drawn with.
        places: of the rows.
        out: uint8 [R, S, S, 3], in which they are written.
        options: how they are cut.
    """
    height, width = pixels.shape[:2]
    for place in places:
        row = numbers[place].tolist()
        box = crops.crop_box(row, height, width)
        flip = options.flip and crops.is_flipped(row)
        crops.cut(pixels, box, out[place], flip=flip, resample=options.resample)


def _permutation(key: Sequence[int], size: int) -> np.ndarray:
    """A random order, int64 [size], the same on every machine."""
    return np.argsort(crops.uniforms(key, size, 1)[:, 0], kind="stable")
