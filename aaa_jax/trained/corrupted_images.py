"""Sets of corrupted test images: made from clean ones, or read as published by others.

Made images are always the same: the random numbers of an image depend only on the
corruption, the severity and the image's place in the split. The constants are meant for
images of 224 pixels. A corruption whose constants are lengths in pixels (`AT_224`) is
therefore applied to the image enlarged to 224 pixels, which is then reduced by area.
The others work per pixel or on a share of the image, at its own size.

Published images are read from the files of CIFAR-10-C and CIFAR-100-C: `NAME.npy`,
uint8 [5 n, H, W, 3] with the five severities one after another, and `labels.npy` [5 n].
"""

import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from etils import epath

from aaa_jax import data
from aaa_jax.runtime import paths
from aaa_jax.trained.corruption_functions import CORRUPTIONS, NAMES, SEVERITIES

SIDE = 224
AT_224 = {"defocus_blur", "motion_blur", "snow", "frost", "fog", "elastic_transform"}
# ImageNet-C's photographs of frost, in the order in which TFDS draws one.
FROST = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
NO_FROST = (
    "it lays one of five photographs over the image, which TFDS does not carry: "
    "--frost=FOLDER takes them from where you have them"
)
CHUNK = 25  # images of one task of a process


class CorruptionError(ValueError):
    """There are no such corrupted images; the message says why in one line."""


class CorruptedSets(NamedTuple):
    """The same test images under several corruptions."""

    labels: np.ndarray  # int [n], the same for every set
    sides: dict[str, int]  # corruption -> longer side, in pixels, of what it met
    left_out: dict[str, str]  # corruption -> why there is no set of it
    published: str  # the name of the published sets; empty: they are made here
    # Of each name given it yields the name and images uint8 [n, H, W, 3] five times,
    # from the mildest severity to the strongest.
    images: Callable[[Iterable[str]], Iterator[tuple[str, np.ndarray]]]


class Task(NamedTuple):
    """Some images to corrupt."""

    name: str  # of `NAMES`
    severity: int  # 1 to 5
    first: int  # place of the first image in the split, part of every image's seed
    images: np.ndarray  # uint8 [n, H, W, 3]
    frost: Sequence[str] = ()  # paths of the photographs, which only frost needs


def make_sets(split: data.Dataset, frost: str | None, processes: int) -> CorruptedSets:
    """Sets that are made of clean images when they are asked for.

    Args:
        split: the clean images.
        frost: the folder of the photographs `FROST`; None: frost is left out.
        processes: how many share the work; 1: this one alone.

    Raises:
        CorruptionError: a photograph is missing, not readable, or too small.
    """
    longer = max(split.images.shape[1:3])
    enlarged = max(SIDE, longer)
    folder = paths.expand(frost) if frost else ""
    pictures = tuple(os.path.join(folder, name) for name in FROST) if frost else ()
    read_frost(pictures, enlarged)
    names = [name for name in NAMES if pictures or name != "frost"]
    return CorruptedSets(
        labels=split.labels,
        sides={name: enlarged if name in AT_224 else longer for name in names},
        left_out={} if pictures else {"frost": NO_FROST},
        published="",
        images=functools.partial(
            _make_images, split.images, frost=pictures, processes=processes
        ),
    )


def read_frost(paths: Sequence[str], side: int) -> list[np.ndarray]:
    """The photographs of frost, uint8 RGB, each larger than `side` both ways."""
    pictures = []
    for path in paths:
        picture = cv2.imread(path) if os.path.isfile(path) else None
        if picture is None or min(picture.shape[:2]) <= side:
            what = "is not there" if picture is None else "is too small"
            raise CorruptionError(
                f"{path} {what}: --frost needs the pictures of ImageNet-C, "
                f"{', '.join(FROST)}, each larger than {side} x {side} pixels"
            )
        pictures.append(picture[..., ::-1])
    return pictures


def corrupt(task: Task) -> np.ndarray:
    """The task's images, corrupted: uint8 [n, H, W, 3]."""
    function = CORRUPTIONS[task.name]
    height, width = task.images.shape[1:3]
    is_enlarged = task.name in AT_224 and max(height, width) <= SIDE
    if task.name == "frost":
        pictures = read_frost(task.frost, max(SIDE, height, width))
        function = functools.partial(function, pictures=pictures)
    corrupted = []
    for place, image in enumerate(task.images, task.first):
        if is_enlarged:
            image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        seed = (NAMES.index(task.name), task.severity, place)
        result = function(image, task.severity, seed)
        if is_enlarged:
            size = (width, height)
            result = cv2.resize(result, size, interpolation=cv2.INTER_AREA)
        corrupted.append(result)
    return np.stack(corrupted)


def _make_images(
    images: np.ndarray, names: Iterable[str], *, frost: Sequence[str], processes: int
) -> Iterator[tuple[str, np.ndarray]]:
    """`CorruptedSets.images` of clean images uint8 [n, H, W, 3]."""
    starts = range(0, len(images), CHUNK)
    pairs = list(itertools.product(names, SEVERITIES))
    tasks = [
        Task(name, severity, start, images[start : start + CHUNK], frost)
        for name, severity in pairs
        for start in starts
    ]
    with contextlib.ExitStack() as stack:
        results: Iterator[np.ndarray] = map(corrupt, tasks)
        if processes > 1:
            # One thread of OpenCV in each, or they would fight for the cores.
            pool = concurrent.futures.ProcessPoolExecutor(
                processes,
                multiprocessing.get_context("spawn"),
                initializer=cv2.setNumThreads,
                initargs=(1,),
            )
            results = stack.enter_context(pool).map(corrupt, tasks)
        for name, _ in pairs:
            yield name, np.concatenate([next(results) for _ in starts])


def read_sets(
    split: data.Dataset, folder: str, num_images: int | None
) -> CorruptedSets:
    """Published sets of all `NAMES`; other corruptions in the folder are not read.

    Args:
        split: the clean images, of the same size and classes.
        folder: of `labels.npy` and the files `NAME.npy`.
        num_images: how many of each set, stratified by class; None: all.

    Raises:
        CorruptionError: a file is missing or has another content.
        data.DatasetError: a stratified subset of this size cannot be taken.
    """
    path = epath.Path(paths.expand(folder))
    files = {name: path / f"{name}.npy" for name in ("labels", *NAMES)}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise CorruptionError(
            f"{path} has no {', '.join(missing)}: --corrupted needs the files of "
            "CIFAR-10-C or CIFAR-100-C, labels.npy and one of each corruption"
        )
    arrays = {name: _open_array(file) for name, file in files.items()}
    labels = _first_labels(files["labels"], arrays.pop("labels"))
    count, num_classes = len(labels), len(split.class_names)
    if set(labels.tolist()) != set(range(num_classes)):
        raise CorruptionError(
            f"{files['labels']} has labels {labels.min()} to {labels.max()}: each of "
            f"the network's {num_classes} classes is needed, 0 to {num_classes - 1}"
        )
    shape = (len(SEVERITIES) * count, *split.images.shape[1:])
    for name, array in arrays.items():
        if array.shape != shape or array.dtype != np.uint8:
            raise CorruptionError(
                f"{files[name]} has shape {array.shape} and dtype {array.dtype}: for "
                f"these labels and the network's test images, {shape} and uint8 are "
                "needed"
            )
    rows = np.arange(count)
    if num_images is not None and num_images < count:
        rows = data.stratified_subset(labels, num_images, seed=0)

    def images(names: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
        for name, severity in itertools.product(names, SEVERITIES):
            yield name, arrays[name][rows + (severity - 1) * count]

    return CorruptedSets(
        labels=labels[rows],
        sides=dict.fromkeys(NAMES, max(shape[1:3])),
        left_out={},
        published=path.resolve().name,
        images=images,
    )


def _first_labels(path: epath.Path, labels: np.ndarray) -> np.ndarray:
    """The labels of one severity, which a file has five times over."""
    first = labels.reshape(-1)[: labels.size // len(SEVERITIES)]
    is_repeated = np.array_equal(labels, np.tile(first, len(SEVERITIES)))
    if labels.dtype.kind not in "iu" or not first.size or not is_repeated:
        raise CorruptionError(
            f"{path} has shape {labels.shape} and dtype {labels.dtype}: the whole "
            f"numbers that label n images are needed, {len(SEVERITIES)} times over"
        )
    return first


def _open_array(path: epath.Path) -> np.ndarray:
    """The array of a file, which stays on disk until it is used."""
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise CorruptionError(f"{path} is no array of NumPy: {error}") from error
