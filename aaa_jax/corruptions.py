"""Error under corruption: 15 kinds of damage in 5 severities, since clean error hides.

    python -m aaa_jax.corruptions RUN [RUN …] [--images=500] [--data-dir=DIR]

Test images, corrupted with the functions of TFDS (`image_classification.corruptions`,
the constants of ImageNet-C: D. Hendrycks, T. Dietterich, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations, ICLR 2019), go through the network
of a run's newest checkpoint. Writes RUN/corruption.json; errors are in percent:

    {"version": 1, "step": int, "num_images": int, "clean_error": float,
     "mean_error": float, "errors": {name: [5]}, "left_out": {name: why},
     "side": {name: pixels at which it was applied}}

The constants are meant for 224 px. TFDS has none for small images (its
cifar10_corrupted downloads finished pictures). Corruptions that reach over a length in
pixels (`AT_224`) are therefore applied to the image enlarged to 224 px, which is then
reduced by area; the others, defined per pixel or as a share of the image, at the
image's own size. Hence this is not CIFAR-10-C, and comparable between networks on one
dataset only. The mean is over what was measured; it is not divided by another network's
errors.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest.mock
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data, metrics, trained

VERSION = 1
FILE = "corruption.json"
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
BATCH_SIZE = 100  # rows that the network sees at once
CHUNK = 25  # images of one task of a process

Counter = Callable[[np.ndarray], int]


class Task(NamedTuple):
    """Some images to corrupt.

    Attributes:
        name: of `NAMES`.
        severity: 1 to 5.
        first: place of the first image in the split, part of every image's seed.
        images: uint8 [n, H, W, 3].
        imagemagick: path of its program; None where it is not needed.
    """

    name: str
    severity: int
    first: int
    images: np.ndarray
    imagemagick: str | None


def left_out(side: int, imagemagick: str | None) -> dict[str, str]:
    """The corruptions that cannot be made here, and why.

    Args:
        side: the longer side of the images in pixels.
        imagemagick: path of its program, None if there is none.
    """
    why = {
        "frost": "it lays one of five photographs over the image, which TFDS neither "
        "carries nor says where to get, and opens them with TensorFlow"
    }
    if imagemagick is None:
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
    with _program(task.imagemagick), warnings.catch_warnings():
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
    images: np.ndarray, names: Iterable[str], imagemagick: str | None, processes: int
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Name, severity, corrupted images uint8 [n, H, W, 3], one set after another.

    Args:
        images: uint8 [n, H, W, 3].
        names: of `NAMES`.
        imagemagick: path of its program.
        processes: that share the work; 1: this one alone.
    """
    starts = range(0, len(images), CHUNK)
    pairs = list(itertools.product(names, SEVERITIES))
    tasks = [
        Task(
            name,
            severity,
            start,
            images[start : start + CHUNK],
            imagemagick if name in NEEDS_IMAGEMAGICK else None,
        )
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


def evaluate_runs(
    runs: Sequence[trained.TrainedRun],
    split: data.Dataset,
    *,
    imagemagick: str | None,
    processes: int,
    names: Sequence[str] = NAMES,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """The content of each run's ``corruption.json``; the images are corrupted once.

    Args:
        runs: networks of one dataset.
        split: its test images.
        imagemagick: see `find_imagemagick`.
        processes: that corrupt.
        names: what to measure, of `NAMES`.
        say: is given a line for each corruption.
    """
    height, width = split.images.shape[1:3]
    longer = max(height, width)
    why = left_out(longer, imagemagick)
    measured = [name for name in names if name not in why]
    counters = [_counter(run, split.labels) for run in runs]
    errors: list[dict[str, list[float]]] = [{} for _ in runs]
    count = len(split.labels)

    def error(counter: Counter, images: np.ndarray) -> float:
        return 100 * (1 - counter(images) / count)

    for name, severity, images in corrupted_splits(
        split.images, measured, imagemagick, processes
    ):
        for counter, of_run in zip(counters, errors, strict=True):
            of_run.setdefault(name, []).append(error(counter, images))
        if severity == SEVERITIES[-1]:
            shown = " ".join(f"{value:.1f}" for value in errors[0][name])
            say(f"{name}: {shown} %{' (first run)' if len(runs) > 1 else ''}")
    enlarged = SIDE if longer <= SIDE else longer
    return [
        {
            "version": VERSION,
            "step": run.step,
            "num_images": count,
            "clean_error": error(counter, split.images),
            "mean_error": float(np.mean(list(of_run.values()))),
            "errors": of_run,
            "left_out": why,
            "side": {name: enlarged if name in AT_224 else longer for name in measured},
        }
        for run, counter, of_run in zip(runs, counters, errors, strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates runs; exit code 2 and one line if it cannot."""
    options = _parser().parse_args(argv)
    imagemagick = find_imagemagick()
    try:
        groups: dict[Any, list[trained.TrainedRun]] = {}
        for path in options.run:
            run = trained.load(path, data_dir=options.data_dir)
            groups.setdefault((run.spec, run.data_dir), []).append(run)
        for runs in groups.values():
            split = trained.load_images(runs[0], options.images)
            results = evaluate_runs(
                runs, split, imagemagick=imagemagick, processes=options.processes
            )
            for run, result in zip(runs, results, strict=True):
                trained.write_json(run.path / FILE, json.dumps(result) + "\n")
                print(f"{run.path}: {summary(result)}")
    except (trained.TrainedError, data.DatasetError, metrics.RunDirectoryError) as err:
        print(f"aaa_jax.corruptions: {err}", file=sys.stderr)
        return 2
    for name, why in results[0]["left_out"].items():
        print(f"left out: {name} ({why})")
    return 0


def summary(result: dict[str, Any]) -> str:
    """What was found, in a line."""
    worst = max(result["errors"], key=lambda name: np.mean(result["errors"][name]))
    return (
        f"error {result['clean_error']:.2f} % clean, {result['mean_error']:.2f} % mean "
        f"over {len(result['errors'])} corruptions x {len(SEVERITIES)} severities "
        f"({result['num_images']} images); the worst is {worst}, "
        f"{np.mean(result['errors'][worst]):.1f} %"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aaa_jax.corruptions",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("run", nargs="+", help="a run directory")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--data-dir", help="TFDS directory; default: the run's")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="that corrupt images; default: one a core",
    )
    return parser


def _counter(run: trained.TrainedRun, labels: np.ndarray) -> Counter:
    """A function images uint8 [n, H, W, 3] -> how many the run's network gets right."""
    size = min(BATCH_SIZE, len(labels))
    missing = -len(labels) % size
    rows = np.concatenate([labels.astype(np.int32), np.full(missing, -1, np.int32)])

    @jax.jit
    def count(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        of_batch = functools.partial(trained.count_correct, run, variables)
        return jnp.sum(jax.lax.map(lambda batch: of_batch(*batch), (images, labels)))

    def counter(images: np.ndarray) -> int:
        filled = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        batches = filled.reshape(-1, size, *images.shape[1:])
        return int(count(run.variables, batches, rows.reshape(-1, size)))

    return counter


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


if __name__ == "__main__":
    sys.exit(main())
