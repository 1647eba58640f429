"""The 16 image operations of the search space, exact to Pillow, one image at a time."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

Formula = Callable[[Fraction, int, int, int], float]


class Op(NamedTuple):
    """One operation of the table `OPS`.

    Attributes:
        name: the paper's name.
        value: (t, sign, height, width) -> physical value on the table "monotone",
            t in [0, 1] the share of the range; None for an op without a magnitude.
    """

    name: str
    value: Formula | None


def pixel_range(side: int, per_32: int, fraction: Fraction) -> Fraction:
    """Largest shift or patch in pixels for a side of the image.

    AutoAugment's CIFAR code gives `per_32` pixels for 32; sides up to 64 scale it and
    round, larger ones take `fraction` of the side, as AutoAugment on ImageNet.
    """
    if side <= 64:
        return Fraction(math.floor(Fraction(per_32 * side, 32) + Fraction(1, 2)))
    return fraction * side


TRANSLATE_FRACTION = Fraction(150, 331)
CUTOUT_FRACTION = Fraction(60, 331)


def _translate(t: Fraction, sign: int, side: int) -> float:
    pixels = pixel_range(side, 10, TRANSLATE_FRACTION) * t
    return float(sign * math.floor(pixels + Fraction(1, 2)))


def _patch(t: Fraction, height: int, width: int) -> float:
    return float(int(pixel_range(min(height, width), 20, CUTOUT_FRACTION) * t))


def _enhance(t: Fraction, sign: int, height: int, width: int) -> float:
    return 1.0 + sign * 0.9 * float(t)


def _shear(t: Fraction, sign: int, height: int, width: int) -> float:
    return sign * 0.3 * float(t)


OPS: tuple[Op, ...] = (
    Op("ShearX", _shear),
    Op("ShearY", _shear),
    Op("TranslateX", lambda t, sign, height, width: _translate(t, sign, width)),
    Op("TranslateY", lambda t, sign, height, width: _translate(t, sign, height)),
    Op("Rotate", lambda t, sign, height, width: sign * 30 * float(t)),
    Op("AutoContrast", None),
    Op("Invert", None),
    Op("Equalize", None),
    Op("Solarize", lambda t, sign, height, width: float(256 * (1 - t))),
    Op("Posterize", lambda t, sign, height, width: float(8 - round(4 * t))),
    Op("Contrast", _enhance),
    Op("Color", _enhance),
    Op("Brightness", _enhance),
    Op("Sharpness", _enhance),
    Op("Cutout", lambda t, sign, height, width: _patch(t, height, width)),
    Op("SamplePairing", lambda t, sign, height, width: 0.4 * float(t)),
    Op("Identity", None),
)
NUM_SEARCH_OPS = len(OPS) - 1


def op_index(name: str) -> int:
    """Place of an op in `OPS`."""
    names = [op.name for op in OPS]
    if name not in names:
        raise ValueError(f"unknown op {name!r}: use one of {', '.join(names)}")
    return names.index(name)
