"""Images corrupted with the functions of TFDS, always the same; no network.

TFDS's `image_classification.corruptions` has the constants of ImageNet-C: D. Hendrycks,
T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019. They are meant for 224 px: corruptions that reach over a
length in pixels (`AT_224`) are applied to the image enlarged to that, which is then
reduced by area; the others, defined per pixel or as a share of the image, at its own
size. What networks make of the images does not belong here.
"""

import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import shutil
import stat
import subprocess
import tempfile
import types
import unittest.mock
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

SEVERITIES = (1, 2, 3, 4, 5)
NAMES = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
SIDE = 224
# Their constants are lengths in pixels of 224, or their code takes no other size.
AT_224 = (
    *("defocus_blur", "motion_blur", "snow", "frost", "fog", "elastic_transform"),
)
ONLY_224 = ("snow", "frost")
NEEDS_IMAGEMAGICK = ("motion_blur", "snow")
# Pictures of which TFDS lays one over an image, in the order in which it draws them.
FROST = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
CHUNK = 25  # images of one task of a process


class DamageError(ValueError):
    """Images cannot be corrupted as was asked; the message says why in one line."""


class Tools(NamedTuple):
    """What some corruptions need.

    Attributes:
        imagemagick: path of its program; None: there is none.
        frost: paths of the pictures `FROST`; empty: they are not there.
    """

    imagemagick: str | None = None
    frost: tuple[str, ...] = ()


class Task(NamedTuple):
    """Some images to corrupt.

    Attributes:
        name: of `NAMES`.
        severity: 1 to 5.
        first: place of the first image in the split, part of every image's seed.
        images: uint8 [n, H, W, 3].
        tools: what is here for it.
    """

    name: str
    severity: int
    first: int
    images: np.ndarray
    tools: Tools


def left_out(side: int, tools: Tools) -> dict[str, str]:
    """The corruptions that cannot be made here, and why.

    Args:
        side: the longer side of the images in pixels.
        tools: what is here.
    """
    why = {}
    if not tools.frost:
        why["frost"] = (
            "it lays one of five photographs over the image, which TFDS does not "
            "carry: --frost=FOLDER takes them from where you have them"
        )
    if tools.imagemagick is None:
        for name in NEEDS_IMAGEMAGICK:
            why[name] = "TFDS makes it with ImageMagick, which is not installed here"
    if side > SIDE:
        why |= {
            name: f"TFDS's code takes images of {SIDE} px only, these have {side} px"
            for name in ONLY_224
            if name not in why
        }
    return why


def find_imagemagick() -> str | None:
    """The path of ImageMagick's program; others named `convert` do not count."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for name, folder in itertools.product(("magick", "convert"), folders):
        found = shutil.which(name, path=folder)
        if found is None:
            continue
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(
                [found, "-version"], capture_output=True, text=True, timeout=20
            ).stdout
            if said.startswith("Version: ImageMagick"):
                return found
    return None


def find_frost(folder: str) -> tuple[str, ...]:
    """The paths of the pictures `FROST` in a folder.

    Raises:
        DamageError: one is missing, no picture, or too small to cut from.
    """
    paths = tuple(os.path.join(folder, name) for name in FROST)
    for path in paths:
        picture = cv2.imread(path) if os.path.isfile(path) else None
        if picture is None or min(picture.shape[:2]) <= SIDE:
            what = "is not there" if picture is None else "is too small"
            raise DamageError(
                f"{path} {what}: --frost needs the pictures of ImageNet-C, "
                f"{', '.join(FROST)}, each larger than {SIDE} x {SIDE} pixels"
            )
    return paths


def corrupt(task: Task) -> np.ndarray:
    """The task's images, corrupted: uint8 [n, H, W, 3].

    An image's random numbers depend on name, severity and its place in the split only,
    neither on the other images nor on the process.
    """
    from tensorflow_datasets.image_classification import corruptions

    function = getattr(corruptions, task.name)  # one of `NAMES`
    height, width = task.images.shape[1:3]
    is_enlarged = task.name in AT_224 and max(height, width) <= SIDE
    corrupted = []
    needed = task.tools.imagemagick if task.name in NEEDS_IMAGEMAGICK else None
    pictures = _pictures(corruptions, task.tools.frost)
    with _program(needed), pictures, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TFDS uses a name that SciPy will drop
        for place, image in enumerate(task.images, task.first):
            seed = (NAMES.index(task.name), task.severity, place)
            if is_enlarged:
                image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
            with _seeded(seed):
                result = np.asarray(function(image, task.severity))
            if is_enlarged:
                size = (width, height)
                result = cv2.resize(result, size, interpolation=cv2.INTER_AREA)
            corrupted.append(result)
    return np.stack(corrupted).astype(np.uint8)


def corrupted_splits(
    images: np.ndarray, names: Iterable[str], tools: Tools, processes: int
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Name, severity, corrupted images uint8 [n, H, W, 3], one set after another.

    Args:
        images: uint8 [n, H, W, 3].
        names: of `NAMES`.
        tools: what they need.
        processes: that share the work; 1: this one alone.
    """
    starts = range(0, len(images), CHUNK)
    pairs = list(itertools.product(names, SEVERITIES))
    tasks = [
        Task(name, severity, start, images[start : start + CHUNK], tools)
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
        for name, severity in pairs:
            parts = [next(results) for _ in starts]
            yield name, severity, np.concatenate(parts)


@contextlib.contextmanager
def _seeded(seed: tuple[int, ...]) -> Iterator[None]:
    """Fixes NumPy's global numbers, which TFDS draws from, and scikit-image's own."""
    import skimage.util

    numpy_state = np.random.get_state()
    np.random.seed(seed)
    noise = functools.partial(skimage.util.random_noise, rng=list(seed))
    try:
        with unittest.mock.patch.object(skimage.util, "random_noise", noise):
            yield
    finally:
        np.random.set_state(numpy_state)


@contextlib.contextmanager
def _pictures(corruptions: Any, paths: Sequence[str]) -> Iterator[None]:
    """Gives TFDS's module the pictures of frost; it copies one with TensorFlow's gfile.

    Args:
        corruptions: the module.
        paths: of the pictures; empty: frost is not asked for.
    """

    def copy(source: str, target: str, overwrite: bool) -> None:
        shutil.copyfile(source, target)

    files = types.SimpleNamespace(gfile=types.SimpleNamespace(copy=copy))
    with unittest.mock.patch.multiple(
        corruptions, FROST_FILENAMES=list(paths), tf=types.SimpleNamespace(io=files)
    ):
        yield


@contextlib.contextmanager
def _program(imagemagick: str | None) -> Iterator[None]:
    """Makes ImageMagick answer to `imagemagick`, the name by which TFDS calls it."""
    if imagemagick is None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "imagemagick")
        with open(path, "w") as script:
            # One thread: an image is small, and there is a process on every core.
            script.write("#!/bin/sh\nexport MAGICK_THREAD_LIMIT=1\n")
            script.write(f'exec "{imagemagick}" "$@"\n')
        os.chmod(path, stat.S_IRWXU)
        before = os.environ.get("PATH", os.defpath)
        os.environ["PATH"] = folder + os.pathsep + before
        try:
            yield
        finally:
            os.environ["PATH"] = before
