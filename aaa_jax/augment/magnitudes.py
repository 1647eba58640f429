"""The range tables: which value an op has at a magnitude (Sec. 3.2).

A magnitude is a whole number from 0, a value is a physical quantity (`coefficients`).
"""

import functools
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import ops
from aaa_jax.augment.coefficients import PATCH, SHIFT, Coefficients, Formula, Setting

NUM_MAGNITUDES = 10


class Ranges(NamedTuple):
    """A range table: the physical value of each op at each magnitude.

    The overrides are the formulas that differ from the table "monotone", that of `OPS`.
    """

    num_magnitudes: int
    steps: int  # t = magnitude / steps is the share of the range
    overrides: Mapping[str, Formula]

    def value(
        self, op_name: str, magnitude: int, sign: int, height: int, width: int
    ) -> float:
        """Value of an op in its own unit: degrees, pixels, factor, threshold or bits.

        The sign is +1 or -1, without effect where the op has no direction. Height and
        width are the image's, in pixels. An op without a magnitude has the value 0.
        """
        if not 0 <= magnitude < self.num_magnitudes:
            raise ValueError(
                f"magnitude {magnitude} of {op_name} is outside 0 to "
                f"{self.num_magnitudes - 1}: choose one of these or another range table"
            )
        if sign not in (-1, 1):
            raise ValueError(f"sign {sign} of {op_name} is not +1 or -1")
        own = ops.OPS[ops.op_index(op_name)].value
        if own is None:
            return 0.0
        formula = self.overrides.get(op_name, own)
        t = Fraction(magnitude, self.steps)
        return float(formula(Setting(t, sign, height, width)))


def range_table(name: str) -> Ranges:
    """The range table of that name, or an error that lists all names."""
    if name not in list(RANGES):  # whatever a file gives for a name
        raise ValueError(
            f"unknown range table {name!r}: use one of {', '.join(RANGES)}"
        )
    return RANGES[name]


def coefficient_rows(
    chosen: jax.Array,
    magnitudes: jax.Array,
    sign: jax.Array,
    ranges: str,
    height: int,
    width: int,
) -> Coefficients:
    """What each of many ops needs on the device, looked up in a table made on the host.

    `chosen` (places in `ops.OPS`), magnitudes and sign (+1 or -1) are int32 [...].
    """
    table = _coefficient_table(ops.OPS, ranges, height, width)
    place = (chosen, magnitudes, (sign < 0).astype(jnp.int32))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[place], table)


@functools.lru_cache(maxsize=64)
def _coefficient_table(
    table: tuple[ops.Op, ...], ranges: str, height: int, width: int
) -> Coefficients:
    """NumPy [number of ops, magnitudes, 2 (sign +, -), ...], made in double."""
    formulas, size = range_table(ranges), (height, width)
    shape = (len(table), formulas.num_magnitudes, 2)
    rows = [
        ops.coefficients(
            op.name, formulas.value(op.name, magnitude, sign, *size), *size
        )
        for op in table
        for magnitude in range(formulas.num_magnitudes)
        for sign in (1, -1)
    ]
    return jax.tree.map(
        lambda *leaves: np.reshape(leaves, (*shape, *leaves[0].shape)), *rows
    )


# The formulas in which the tables differ from "monotone". Truncations are the published
# code's.


def _truncated(at: Setting, side: int, per_32: int, fraction: Fraction) -> float:
    """Pixels of a `SHIFT` or `PATCH` as AutoAugment's CIFAR code rounds them."""
    share = Fraction(per_32, 32) if side <= 64 else fraction
    return float(int(share * side * at.t))


def _for_enhancers(formula: Formula) -> dict[str, Formula]:
    return dict.fromkeys(("Contrast", "Color", "Brightness", "Sharpness"), formula)


# From 0.1 to 1.9, the identity in the middle.
_FULL_SCALE = _for_enhancers(lambda at: 0.1 + 1.8 * at.t)
_RELEASE: dict[str, Formula] = {
    **_FULL_SCALE,
    "TranslateX": lambda at: at.sign * _truncated(at, at.width, *SHIFT),
    "TranslateY": lambda at: at.sign * _truncated(at, at.height, *SHIFT),
    "Rotate": lambda at: at.sign * int(30 * at.t),
    "Solarize": lambda at: 256 - int(256 * at.t),
    "Posterize": lambda at: 4 - int(4 * at.t),
    "Cutout": lambda at: _truncated(at, min(at.height, at.width), *PATCH),
}
_TRIVIAL_WIDE: dict[str, Formula] = {
    **_for_enhancers(lambda at: 0.01 + 1.99 * at.t),
    "ShearX": lambda at: at.sign * 0.99 * at.t,
    "ShearY": lambda at: at.sign * 0.99 * at.t,
    "TranslateX": lambda at: at.sign * int(32 * at.t),
    "TranslateY": lambda at: at.sign * int(32 * at.t),
    "Rotate": lambda at: at.sign * int(135 * at.t),
    "Solarize": lambda at: 256 - int(256 * at.t),
    "Posterize": lambda at: 8 - int(6 * at.t),
    "Cutout": lambda at: int(at.t * min(at.height, at.width) / 5),
}
_RANDAUGMENT: dict[str, Formula] = {
    "TranslateX": lambda at: at.sign * int(SHIFT[1] * at.width * at.t),
    "TranslateY": lambda at: at.sign * int(SHIFT[1] * at.height * at.t),
    "Solarize": lambda at: 255 * (1 - at.t),
}
RANGES: dict[str, Ranges] = {
    # Identity at 0, strongest at 9, for every op: the adversarial search.
    "monotone": Ranges(NUM_MAGNITUDES, 9, {}),
    # The same, ten per cent milder at the top: the guarded controller.
    "monotone10": Ranges(NUM_MAGNITUDES, 10, {}),
    # AutoAugment's printed ranges (Cubuk et al., arXiv:1805.09501).
    "autoaugment": Ranges(NUM_MAGNITUDES, 9, _FULL_SCALE),
    # AutoAugment's published CIFAR code, for its policies and PBA's.
    "release": Ranges(NUM_MAGNITUDES, 10, _RELEASE),
    # TrivialAugment's wide ranges (Mueller and Hutter, arXiv:2103.10158).
    "trivial_wide": Ranges(31, 30, _TRIVIAL_WIDE),
    # RandAugment's, magnitudes on the 0 to 30 scale (as in torchvision).
    "randaugment": Ranges(31, 30, _RANDAUGMENT),
}
"""What a magnitude means for each op, by the name of a table; the paper's: monotone."""
