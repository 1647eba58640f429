"""What an op's value is and how the device gets it; on the host, in double.

A value is a physical quantity: degrees, pixels, a factor, a threshold, bits. The
formulas give it on the range table "monotone", from which the others in
`magnitudes.RANGES` differ. On the device an op takes `Coefficients`: all that is
delicate in float32 is done here.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np

MAX_SIDE = 8192
MAX_PIXELS = 2**22
# The largest shift and patch: pixels of a side of 32, and the share of a side over 64.
SHIFT = (10, Fraction(150, 331))
PATCH = (20, Fraction(60, 331))


class Coefficients(NamedTuple):
    """What an op at one value needs on the device; leading axes are allowed.

    The blend factor comes as a high part of 15 bits and the rest, see `ops.blend`.
    """

    matrix: jax.Array  # int32 [..., 6], the affine map from output to input, 16.16
    factor: jax.Array  # float32 [..., 2]
    amount: jax.Array  # int32 [...], threshold, bits or half side, as the op says


class Setting(NamedTuple):
    """What a formula makes the value of an op from; the size is in pixels."""

    t: Fraction  # the share of the range, from 0 to 1
    sign: int  # +1 or -1, the direction where the op has two
    height: int
    width: int


Formula = Callable[[Setting], float | Fraction]
Prepare = Callable[[float, int, int], Coefficients]  # of a value, height and width


def check_size(height: int, width: int) -> None:
    """Refuse images for which the int32 arithmetic of `ops` would overflow."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"image of {height} x {width}: sides from 1 to {MAX_SIDE}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"image of {height} x {width}: at most {MAX_PIXELS} pixels")


def pixel_range(side: int, per_32: int, fraction: Fraction) -> Fraction:
    """The largest `SHIFT` or `PATCH` of a side, in pixels.

    Sides up to 64 scale the pixels of AutoAugment's CIFAR code and round; larger sides
    take AutoAugment's fraction of the side on ImageNet.
    """
    if side <= 64:
        return Fraction(_rounded(Fraction(per_32 * side, 32)))
    return fraction * side


def rotation(value: float, height: int, width: int) -> Coefficients:
    """The content turns counter-clockwise about the middle by `value` degrees."""
    angle = -math.radians(value % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    middle_x, middle_y = width / 2, height / 2
    c = cos * -middle_x + sin * -middle_y + middle_x
    f = -sin * -middle_x + cos * -middle_y + middle_y
    return coefficient_row((cos, sin, c, -sin, cos, f))


def coefficient_row(
    matrix: tuple[float, ...] = (1, 0, 0, 0, 1, 0), factor: float = 1, amount: int = 0
) -> Coefficients:
    """Coefficients of one op: NumPy arrays; what is not given is the identity's."""
    rounded = np.float32(factor)
    high = (rounded.view(np.uint32) & np.uint32(0xFFFFFE00)).view(np.float32)
    row: Any = (  # NumPy here, jax.Array for whoever reads it on the device
        np.array(_fixed_point(*matrix), np.int32),
        np.array([high, rounded - high], np.float32),
        np.array(amount, np.int32),
    )
    return Coefficients(*row)


def _fixed_point(
    a: float, b: float, c: float, d: float, e: float, f: float
) -> list[int]:
    """The map x' = a x + b y + c, y' = d x + e y + f in Pillow's 16.16 numbers."""
    if (a, b, d, e) == (1, 0, 0, 1):  # a shift: Pillow takes another path, in double
        half = 1 << 15
        shift_x, shift_y = _rounded(c) << 16, _rounded(f) << 16
        return [1 << 16, 0, shift_x + half, 0, 1 << 16, shift_y + half]
    entries = (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)
    return [_rounded(65536.0 * entry) for entry in entries]


def _rounded(number: float | Fraction) -> int:
    """The nearest whole number, a half rounded up."""
    return math.floor(number + Fraction(1, 2))


def _of_amount(value: float, *_: int) -> Coefficients:
    return coefficient_row(amount=math.ceil(value))


def _of_factor(value: float, *_: int) -> Coefficients:
    return coefficient_row(factor=value)


# For each op: the coefficients of a value, the formula of its value on the table
# "monotone", and the lowest and the highest value for which the result is Pillow's.
# Beyond 3 the coordinates of a shear overflow int32 on the largest images; beyond the
# largest side nothing is left to translate or cover.
Values = tuple[Prepare, Formula, tuple[float, float]]
ANY = (-math.inf, math.inf)
SIDES = (-MAX_SIDE, MAX_SIDE)

# Pixels to the left per row, and up per column.
SHEAR_X: Values = (
    lambda value, *_: coefficient_row((1, value, 0, 0, 1, 0)),
    lambda at: at.sign * 0.3 * at.t,
    (-3, 3),
)
SHEAR_Y: Values = (
    lambda value, *_: coefficient_row((1, 0, 0, value, 1, 0)),
    lambda at: at.sign * 0.3 * at.t,
    (-3, 3),
)
# Whole pixels to the left, and up.
TRANSLATE_X: Values = (
    lambda value, *_: coefficient_row((1, 0, value, 0, 1, 0)),
    lambda at: at.sign * _rounded(pixel_range(at.width, *SHIFT) * at.t),
    SIDES,
)
TRANSLATE_Y: Values = (
    lambda value, *_: coefficient_row((1, 0, 0, 0, 1, value)),
    lambda at: at.sign * _rounded(pixel_range(at.height, *SHIFT) * at.t),
    SIDES,
)
# Degrees, counter-clockwise.
ROTATE: Values = (rotation, lambda at: at.sign * 30.0 * at.t, ANY)
# The threshold from which values are inverted; for whole values it may be rounded up.
SOLARIZE: Values = (_of_amount, lambda at: 256 * (1 - at.t), (0, 256))
# Bits kept of each value.
POSTERIZE: Values = (_of_amount, lambda at: 8 - round(4 * at.t), (1, 8))
# The blend factor: 1 is the image, 0 its degenerate form.
ENHANCE: Values = (_of_factor, lambda at: 1.0 + at.sign * 0.9 * at.t, (-100, 100))
# Side of the patch in pixels; Cutout covers twice the half rounded down.
CUTOUT: Values = (
    lambda value, *_: coefficient_row(amount=int(value) // 2),
    lambda at: int(pixel_range(min(at.height, at.width), *PATCH) * at.t),
    (0, MAX_SIDE),
)
# The partner's weight.
SAMPLE_PAIRING: Values = (_of_factor, lambda at: 0.4 * at.t, (0, 1))
