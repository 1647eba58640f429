"""The work that every candidate does, in NumPy without JAX: workers start fast.

A mini-batch of N images under M policies of Q sub-policies of S ops: for each of the
N M rows draw a sub-policy, signs, centres and partners, apply the ops one after the
other, normalise to float32. `libraries.py`, `torch_libraries.py` and `engine.py` do it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.search.pillow_policy import MATRICES, Matrix


class Work(NamedTuple):
    """One mini-batch and the policies on it."""

    images: np.ndarray  # uint8 [N, H, W, 3]
    names: tuple[str, ...]  # of the ops, in the order of their numbers
    ops: np.ndarray  # int32 [M, Q, S]
    magnitudes: np.ndarray  # int32 [M, Q, S]
    values: np.ndarray  # double [ops, magnitudes, 2], for the signs + and -
    mean: tuple[float, float, float]  # of the normalisation, from 0 to 1
    std: tuple[float, float, float]

    @property
    def num_rows(self) -> int:
        """Augmented images: N M."""
        return len(self.images) * len(self.ops)


class Draws(NamedTuple):
    """As `large_batch.Draws`, in NumPy; B = N M rows, those of a policy together."""

    sub_policy: np.ndarray
    sign: np.ndarray
    center: np.ndarray
    partner: np.ndarray


class Inputs(NamedTuple):
    """What some ops need besides an image and a value."""

    center: Sequence[int]  # row and column of Cutout's patch
    partner: Any  # SamplePairing's other image, in the library's form


# An op of a library on one image in the library's own form.
Apply = Callable[[Any, float, Inputs], Any]


class Library(NamedTuple):
    """A candidate that runs on the host."""

    # (draws, rows) -> the augmented rows in the library's own form.
    augment: Callable[[Draws, Sequence[int]], Any]
    # Those -> float32 normalised, the end of what is timed.
    finish: Callable[[Any], Any]
    # Those -> uint8 [rows, H, W, 3], to compare with Pillow; None: it draws by itself.
    pixels: Callable[[Any], np.ndarray | None]


class Candidate(NamedTuple):
    """Something that does the work, ready to run."""

    # Seed -> the whole batch, augmented and normalised. In worker processes it stays
    # there: nothing is charged for bringing it back.
    run: Callable[[int], Any]
    replay: Callable[[Draws], np.ndarray | None]  # draws -> uint8 [N M, H, W, 3]
    facts: dict[str, float]  # of a compiled program
    stop: Callable[[], None] = lambda: None  # ends worker processes


def photographs(num_images: int, side: int) -> np.ndarray:
    """Smooth noise with all 256 values: uint8 [n, side, side, 3]."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(num_images, side // 4, side // 4, 3))
    smooth = np.kron(coarse, np.ones((1, 4, 4, 1)))
    noisy = 128 + 50 * smooth + 15 * random.normal(size=smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def draw(seed: int, work: Work) -> Draws:
    """Everything random about a batch, vectorised: the cheapest way for a host."""
    random = np.random.default_rng(seed)
    num_images, height, width, _ = work.images.shape
    _, num_sub_policies, chain_length = work.ops.shape
    shape = (work.num_rows, chain_length)
    own = np.arange(work.num_rows)[:, None] % num_images
    step = random.integers(1, max(num_images, 2), shape)
    return Draws(
        sub_policy=random.integers(0, num_sub_policies, work.num_rows),
        sign=random.integers(0, 2, shape) * 2 - 1,
        center=random.integers(0, (height, width), (*shape, 2)),
        partner=(own + step) % num_images,
    )


def steps_of_row(work: Work, draws: Draws, row: int) -> list[tuple[Any, ...]]:
    """(op, value, centre, partner) of each of the S ops of a row."""
    m, q = row // len(work.images), draws.sub_policy[row]
    steps = []
    for s, op in enumerate(work.ops[m, q].tolist()):
        is_negative = int(draws.sign[row, s] < 0)
        value = float(work.values[op, work.magnitudes[m, q, s], is_negative])
        center, partner = draws.center[row, s].tolist(), int(draws.partner[row, s])
        steps.append((work.names[op], value, center, partner))
    return steps


def image_by_image(
    work: Work,
    ops: Mapping[str, Apply],
    load: Callable[[np.ndarray], Any] = lambda image: image,
    store: Callable[[Any], np.ndarray] = lambda image: image,
) -> Library:
    """A library whose functions take one image: a loop over the rows.

    `load` brings uint8 [H, W, 3] to the library's form, once per image of the batch;
    `store` brings it back, once per row.
    """
    scale = np.tile(1 / (255 * np.float32(work.std)), work.images[0].size // 3)
    shift = np.tile(-np.float32(work.mean) / work.std, work.images[0].size // 3)

    def augment(draws: Draws, rows: Sequence[int]) -> np.ndarray:
        images = [load(image) for image in work.images]
        out = np.empty((len(rows), *work.images.shape[1:]), np.uint8)
        for place, row in enumerate(rows):
            image = images[row % len(images)]
            for name, value, center, partner in steps_of_row(work, draws, row):
                image = ops[name](image, value, Inputs(center, images[partner]))
            out[place] = store(image)
        return out

    def finish(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1)  # long lines: NumPy then uses SIMD
        floats = np.empty(flat.shape, np.float32)
        chunk = max(1, 100_000 // flat.shape[1])  # stays in cache
        for start in range(0, len(rows), chunk):
            part = floats[start : start + chunk]
            np.copyto(part, flat[start : start + chunk])
            part *= scale
            part += shift
        return floats.reshape(rows.shape)

    return Library(augment, finish, lambda rows: rows)


def affine_matrix(name: str, value: Any, height: int, width: int) -> Matrix:
    """(a, b, c, d, e, f): output (x, y) comes from (a x + b y + c, d x + e y + f).

    In Pillow's coordinates, in which the first pixel's middle is (1/2, 1/2). Values may
    be an array; what depends on them then is one.
    """
    if name == "Rotate":
        cos, sin = np.cos(np.radians(-value)), np.sin(np.radians(-value))
        c = width / 2 - cos * width / 2 - sin * height / 2
        f = height / 2 + sin * width / 2 - cos * height / 2
        return (cos, sin, c, -sin, cos, f)
    return MATRICES[name](value)


def middle_coordinates(matrix: Sequence[Any]) -> np.ndarray:
    """The same map [2, 3, ...] where the first pixel's middle is (0, 0)."""
    a, b, c, d, e, f = matrix
    return np.array(
        [[a, b, c + (a + b - 1) / 2], [d, e, f + (d + e - 1) / 2]], np.float64
    )


def patch(
    value: float, center: Sequence[int], height: int, width: int
) -> tuple[slice, slice]:
    """Rows and columns that Cutout of a side covers."""
    half = int(value) // 2
    y, x = center
    return (
        slice(max(y - half, 0), min(y + half, height)),
        slice(max(x - half, 0), min(x + half, width)),
    )
