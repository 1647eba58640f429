"""ImageNet's standard augmentation on the host: random resized crops and flips.

Plain numbers are drawn first; they give a box, and the box gives pixels. So any crop
can be computed again by other means. A draw depends on its key and row alone.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SHARES = (0.08, 1.0)  # least and largest share of the image's area in a crop
ASPECTS = (3 / 4, 4 / 3)  # least and largest width over height of a crop
ATTEMPTS = 10  # boxes tried before the fallback
# Two samples along a new pixel of s old ones answer a frequency f with cos(pi f s / 2),
# its area with sinc(f s): near each other while f s <= 1, and f is at most 1/2.
MOST_SUPERSAMPLED = 2
RESAMPLINGS = ("area", "supersample", "bilinear")
# Long side over short side: more of a longer picture is cut away before it is resized.
LONGEST = 4
# Uniform numbers of a row: area and aspect of each attempt, row, column, flip.
NUMBERS_PER_ROW = 2 * ATTEMPTS + 3


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def uniforms(key: Sequence[int], num_rows: int, num_columns: int) -> np.ndarray:
    """Numbers in [0, 1), float64 [num_rows, num_columns], the same on every machine.

    They are the raw output of Philox, in order, which NumPy promises never to change,
    for a key such as (seed, stream, epoch, step). A row's numbers do not depend on how
    many rows follow it.
    """
    generator = np.random.Philox(np.random.SeedSequence(list(key)))
    raw = generator.random_raw(num_rows * num_columns)
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(num_rows, num_columns)


def crop_box(numbers: Sequence[float], height: int, width: int) -> Box:
    """The random resized crop of a row (Szegedy et al., Going deeper, Sec. 6).

    An attempt draws the share of the area uniformly and the aspect log-uniformly. The
    first box that fits into the image is placed uniformly. If none of ten fits, it is
    the largest box in the middle whose aspect is in range, as in torchvision. The
    NUMBERS_PER_ROW numbers are uniform in [0, 1).
    """
    low, high = math.log(ASPECTS[0]), math.log(ASPECTS[1])
    for attempt in range(ATTEMPTS):
        share, turn = numbers[2 * attempt], numbers[2 * attempt + 1]
        area = height * width * (SHARES[0] + share * (SHARES[1] - SHARES[0]))
        aspect = math.exp(low + turn * (high - low))
        box_height = round(math.sqrt(area / aspect))
        box_width = round(math.sqrt(area * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(numbers[2 * ATTEMPTS] * (height - box_height + 1))
            left = int(numbers[2 * ATTEMPTS + 1] * (width - box_width + 1))
            return Box(top, left, box_height, box_width)
    aspect = min(max(width / height, ASPECTS[0]), ASPECTS[1])
    box_height = min(height, max(1, round(width / aspect)))
    box_width = min(width, max(1, round(height * aspect)))
    return Box(
        (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
    )


def is_flipped(numbers: Sequence[float]) -> bool:
    """Whether a row is mirrored if flips are on, which has probability 1/2."""
    return numbers[2 * ATTEMPTS + 2] < 0.5


def cut(
    pixels: np.ndarray, box: Box, out: np.ndarray, *, flip: bool, resample: str
) -> None:
    """Resizes a box of an image into `out`, mirrored left to right if asked.

    Both are uint8 [H, W, 3], of any sizes; `resample` is that of `resize`.
    """
    top, left, height, width = box
    region = pixels[top : top + height, left : left + width]
    if flip:
        resized = resize(region, out.shape[0], out.shape[1], resample=resample)
        cv2.flip(resized, 1, dst=out)
    else:
        resize(region, out.shape[0], out.shape[1], resample=resample, out=out)


def resize(
    pixels: np.ndarray,
    height: int,
    width: int,
    *,
    resample: str = "area",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """An image in another size, uint8 [height, width, 3].

    Args:
        pixels: uint8 [H, W, 3].
        height: of the result.
        width: of the result.
        resample: "area" averages over the area of a new pixel along an axis that
            shrinks, so that nothing aliases, and interpolates linearly along one that
            grows. "supersample" averages 2 x 2 linear samples in a new pixel's area if
            both axes shrink, by at most MOST_SUPERSAMPLED, and is "area" otherwise: it
            has nearly the same response in two thirds of the time. "bilinear" always
            interpolates linearly.
        out: where the result is written; None for a new array.
    """
    grows = pixels.shape[0] < height, pixels.shape[1] < width
    shrinks = pixels.shape[0] > height, pixels.shape[1] > width
    factor = max(pixels.shape[0] / height, pixels.shape[1] / width)
    if resample == "supersample" and all(shrinks) and factor <= MOST_SUPERSAMPLED:
        # Both steps are vectorised in OpenCV, areas of other sizes than 2 x 2 are not.
        pixels = cv2.resize(
            pixels, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR
        )
    if resample == "bilinear" or not any(shrinks):
        method = cv2.INTER_LINEAR
    else:
        method = cv2.INTER_AREA
        if any(grows):  # OpenCV averages areas only where no axis grows
            shrunk = (
                (width, pixels.shape[0]) if shrinks[1] else (pixels.shape[1], height)
            )
            pixels = cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA)
            method = cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), dst=out, interpolation=method)


def resize_and_crop(
    pixels: np.ndarray, out: np.ndarray, *, short_side: int, resample: str
) -> None:
    """Makes the view of an image in evaluation: resized, then cut out of the middle.

    Args:
        pixels: uint8 [H, W, 3].
        out: uint8 [side, side, 3], overwritten.
        short_side: length of the shorter side after resizing, at least `side`.
        resample: see `resize`.
    """
    short = min(pixels.shape[:2])
    pixels = _middle(pixels, LONGEST * short)  # a long picture would become a huge one
    height, width = (
        max(short_side, round(side * short_side / short)) for side in pixels.shape[:2]
    )
    if pixels.shape[:2] != (height, width):
        pixels = resize(pixels, height, width, resample=resample)
    top, left = (height - out.shape[0]) // 2, (width - out.shape[1]) // 2
    out[...] = pixels[top : top + out.shape[0], left : left + out.shape[1]]


def _middle(pixels: np.ndarray, longest: int) -> np.ndarray:
    """What lies at most `longest` pixels, or one more, round the middle of an image."""
    top, left = (max(0, side - longest) // 2 for side in pixels.shape[:2])
    return pixels[top : len(pixels) - top, left : pixels.shape[1] - left]
