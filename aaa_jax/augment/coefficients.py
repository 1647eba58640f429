"""What an op's value is and how the device gets it; on the host, in double.

A value is a physical quantity: degrees, pixels, a factor, a threshold, bits. The
formulas give it on the range table "monotone", from which the others in
`magnitudes.RANGES` differ. The `prepare_` functions turn it into `Coefficients`: all
that is delicate in float32 is done here, in double.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np

MAX_SIDE = 8192
MAX_PIXELS = 2**22
TRANSLATE_FRACTION = Fraction(150, 331)
CUTOUT_FRACTION = Fraction(60, 331)


class Coefficients(NamedTuple):
    """What an op at one value needs on the device; leading axes are allowed.

    Attributes:
        matrix: int32 [..., 6], the affine map from output to input pixels, 16.16.
        factor: float32 [..., 2], the blend factor as a high part of 15 bits and the
            rest, see `ops.blend`.
        amount: int32 [...], threshold, bits or half side, as the op says.
    """

    matrix: jax.Array
    factor: jax.Array
    amount: jax.Array


Formula = Callable[[Fraction, int, int, int], float]
Prepare = Callable[[float, int, int], Coefficients]


def check_size(height: int, width: int) -> None:
    """Refuse images for which the int32 arithmetic of `ops` would overflow."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"image of {height} x {width}: sides from 1 to {MAX_SIDE}")
    if height * width > MAX_PIXELS:
        raise ValueError(f"image of {height} x {width}: at most {MAX_PIXELS} pixels")


def check_value(op: str, value: float, limits: tuple[float, float]) -> None:
    """Refuse a value that is not a number, or outside the op's limits."""
    lowest, highest = limits
    if not math.isfinite(value):
        raise ValueError(f"value {value} of {op}: a finite number is needed")
    if not lowest <= value <= highest:
        raise ValueError(
            f"value {value} of {op}: from {lowest:g} to {highest:g} is allowed"
        )


# Formulas: t in [0, 1] is the share of the range, sign +1 or -1.


def shear(t: Fraction, sign: int, height: int, width: int) -> float:
    """Pixels moved per pixel across, up to 0.3."""
    return sign * 0.3 * float(t)


def columns(t: Fraction, sign: int, height: int, width: int) -> float:
    """Whole pixels to the left, see `pixel_range`."""
    pixels = pixel_range(width, 10, TRANSLATE_FRACTION) * t
    return float(sign * math.floor(pixels + Fraction(1, 2)))


def rows(t: Fraction, sign: int, height: int, width: int) -> float:
    """Whole pixels up, see `pixel_range`."""
    return columns(t, sign, width, height)


def degrees(t: Fraction, sign: int, height: int, width: int) -> float:
    """Counter-clockwise, up to 30."""
    return sign * 30 * float(t)


def threshold(t: Fraction, sign: int, height: int, width: int) -> float:
    """Values from here up are inverted: 256 (none) down to 0."""
    return float(256 * (1 - t))


def bits(t: Fraction, sign: int, height: int, width: int) -> float:
    """Bits kept of each value: 8 down to 4."""
    return float(8 - round(4 * t))


def enhance(t: Fraction, sign: int, height: int, width: int) -> float:
    """Factor 1 +- 0.9 t: 1 is the image, 0 its degenerate form."""
    return 1.0 + sign * 0.9 * float(t)


def patch_side(t: Fraction, sign: int, height: int, width: int) -> float:
    """Side of the Cutout patch in pixels, of the shorter side, see `pixel_range`."""
    return float(int(pixel_range(min(height, width), 20, CUTOUT_FRACTION) * t))


def weight(t: Fraction, sign: int, height: int, width: int) -> float:
    """Weight of SamplePairing's partner, up to 0.4."""
    return 0.4 * float(t)


def pixel_range(side: int, per_32: int, fraction: Fraction) -> Fraction:
    """Largest shift or patch of a side, in pixels.

    AutoAugment's CIFAR code has `per_32` pixels for a side of 32. Sides up to 64 scale
    them and round; larger sides take AutoAugment's fraction of the side on ImageNet.
    """
    if side <= 64:
        return Fraction(math.floor(Fraction(per_32 * side, 32) + Fraction(1, 2)))
    return fraction * side


# From values to coefficients.


def prepare_nothing(value: float, height: int, width: int) -> Coefficients:
    """An op without a value."""
    return coefficient_row()


def prepare_shear_x(value: float, height: int, width: int) -> Coefficients:
    """Each row moves left by value pixels per row."""
    return coefficient_row((1, value, 0, 0, 1, 0))


def prepare_shear_y(value: float, height: int, width: int) -> Coefficients:
    """Each column moves up by value pixels per column."""
    return coefficient_row((1, 0, 0, value, 1, 0))


def prepare_translate_x(value: float, height: int, width: int) -> Coefficients:
    """The content moves left by value pixels."""
    return coefficient_row((1, 0, value, 0, 1, 0))


def prepare_translate_y(value: float, height: int, width: int) -> Coefficients:
    """The content moves up by value pixels."""
    return coefficient_row((1, 0, 0, 0, 1, value))


def prepare_rotate(value: float, height: int, width: int) -> Coefficients:
    """The content turns counter-clockwise about the middle by value degrees."""
    angle = -math.radians(value % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    middle_x, middle_y = width / 2, height / 2
    c = cos * -middle_x + sin * -middle_y + middle_x
    f = -sin * -middle_x + cos * -middle_y + middle_y
    return coefficient_row((cos, sin, c, -sin, cos, f))


def prepare_factor(value: float, height: int, width: int) -> Coefficients:
    """The value is a blend factor."""
    return coefficient_row(factor=value)


def prepare_amount(value: float, height: int, width: int) -> Coefficients:
    """The value is a threshold or a number of bits; v < value means v < ceil(value)."""
    return coefficient_row(amount=math.ceil(value))


def prepare_half_side(value: float, height: int, width: int) -> Coefficients:
    """The value is a side, of which Cutout covers twice the half rounded down."""
    return coefficient_row(amount=int(value) // 2)


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
        shift_x, shift_y = math.floor(c + 0.5) << 16, math.floor(f + 0.5) << 16
        return [1 << 16, 0, shift_x + half, 0, 1 << 16, shift_y + half]
    entries = (a, b, c + a / 2 + b / 2, d, e, f + d / 2 + e / 2)
    return [math.floor(65536.0 * entry + 0.5) for entry in entries]


# Of each op, how its coefficients are made, its formula on the table "monotone", and
# the lowest and the highest value for which the result is Pillow's: beyond 3 a shear's
# coordinates overflow int32 on the largest images, beyond the largest side nothing is
# left to translate or cover.
ANY = (-math.inf, math.inf)
Values = tuple[Prepare, Formula, tuple[float, float]]
SHEAR_X: Values = (prepare_shear_x, shear, (-3, 3))
SHEAR_Y: Values = (prepare_shear_y, shear, (-3, 3))
TRANSLATE_X: Values = (prepare_translate_x, columns, (-MAX_SIDE, MAX_SIDE))
TRANSLATE_Y: Values = (prepare_translate_y, rows, (-MAX_SIDE, MAX_SIDE))
ROTATE: Values = (prepare_rotate, degrees, ANY)
SOLARIZE: Values = (prepare_amount, threshold, (0, 256))
POSTERIZE: Values = (prepare_amount, bits, (1, 8))
ENHANCE: Values = (prepare_factor, enhance, (-100, 100))
CUTOUT: Values = (prepare_half_side, patch_side, (0, MAX_SIDE))
SAMPLE_PAIRING: Values = (prepare_factor, weight, (0, 1))
