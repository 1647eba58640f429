"""A share of each class is tested on, not trained on, where there is no test split.

Which images these are is a function of the labels, the fraction and the seed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aaa_jax.data.datasets import DatasetSpec, Part
from aaa_jax.data.errors import DatasetError
from aaa_jax.data.tfds_folder import SOURCE

FRACTION = 0.2  # where it is left open


def hold_out(spec: DatasetSpec, fraction: float, seed: int) -> DatasetSpec:
    """The same dataset, a part of whose train split is tested on instead.

    The fraction is that of each class; 0 for none, or `FRACTION` where there is no test
    split ("").
    """
    fraction = fraction or (0 if spec.test_split else FRACTION)
    if not fraction:
        return spec
    rest = Part(str(spec.train_split), fraction, seed, is_held_out=False)
    return spec._replace(train_split=rest, test_split=rest._replace(is_held_out=True))


def whole(split: str | Part) -> str:
    """The TFDS split that a split is, or is a part of."""
    return split.of if isinstance(split, Part) else split


def places(part: Part, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Places of a part's images in a split of labels int [n]: int64, ascending.

    Raises:
        DatasetError: a class has a single image.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        single = class_names[classes[counts.argmin()]]
        raise DatasetError(
            f"the class {single!r} has one image: two are needed, one to train on and "
            "one to test on; add some, or make a folder for testing"
        )
    quotas = np.clip(np.rint(counts * part.fraction).astype(np.int64), 1, counts - 1)
    held_out = choose(labels, classes, quotas, part.seed)
    if part.is_held_out:
        return held_out
    return np.setdiff1d(np.arange(len(labels)), held_out)


def choose(
    labels: np.ndarray, classes: np.ndarray, quotas: np.ndarray, seed: int
) -> np.ndarray:
    """Places of so many images of each class, int64, ascending.

    NumPy's RandomState is used, because its numbers are promised never to change.
    """
    random = np.random.RandomState(seed)
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def stored_names(folder: Path, split: str) -> list[str]:
    """Names "CLASS/..." of a split of a folder of images, as stored; [] of another."""
    return list(_note(folder, "images").get(split, ()))


def describe_use(
    folder: Path, split: str | Part, num_stored: int, part: np.ndarray, kept: np.ndarray
) -> tuple[str, tuple[str, ...]]:
    """What of a split is not used and why; names of the images that are held out.

    The first is such as ", 4 left out: hidden (a/.b, ...)". Images without a name are
    named by their place.

    Args:
        folder: of the prepared dataset.
        split: that was asked for, or the part of one.
        num_stored: images of the whole split.
        part: places of the part.
        kept: those of the subset that was asked for.
    """
    said = ""
    held_out: tuple[str, ...] = ()
    if isinstance(split, Part) and split.is_held_out:
        names = stored_names(folder, split.of)
        held_out = tuple(names[i] if names else str(i) for i in kept)
    else:
        said = _note(folder, "left_out").get(str(split), "")
        if len(part) < num_stored:
            said += f", {num_stored - len(part)} left out: held out for testing"
    if len(kept) < len(part):
        said += f", {len(part) - len(kept)} left out: not in the subset asked for"
    return said, held_out


def _note(folder: Path, what: str) -> dict[str, Any]:
    """What was noted of a folder of images when it was prepared; {} of another."""
    try:
        return dict(json.loads((folder / SOURCE).read_text())[what])
    except (OSError, ValueError, KeyError):
        return {}
