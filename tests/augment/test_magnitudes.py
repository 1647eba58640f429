import math

import pytest

from aaa_jax.augment.magnitudes import RANGES, range_table
from aaa_jax.augment.ops import OPS

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCERS = ("Contrast", "Color", "Brightness", "Sharpness")


def row(ranges: str, name: str, sign: int = 1, side: int = 32) -> list[float]:
    table = RANGES[ranges]
    magnitudes = range(table.num_magnitudes)
    return [table.value(name, magnitude, sign, side, side) for magnitude in magnitudes]


NINTHS = [level / 9 for level in range(10)]
TENTHS = [level / 10 for level in range(10)]
THIRTIETHS = [level / 30 for level in range(31)]
SHIFTS = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
LARGE_SHIFTS = [0, 11, 23, 34, 45, 56, 68, 79, 90, 102]
# Range table, ops, sign, side of the image; the value of each magnitude.
SPECIFIED = [
    ("monotone", "ShearX ShearY", 1, 32, [0.3 * t for t in NINTHS]),
    ("monotone", "Rotate", 1, 32, [30 * t for t in NINTHS]),
    ("monotone", "TranslateX TranslateY", 1, 32, SHIFTS),
    ("monotone", "TranslateX TranslateY", 1, 224, LARGE_SHIFTS),
    ("monotone", "TranslateX TranslateY", -1, 224, [-value for value in LARGE_SHIFTS]),
    ("monotone", "Solarize", 1, 32, [256 * (1 - t) for t in NINTHS]),
    ("monotone", "Posterize", 1, 32, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]),
    ("monotone", " ".join(ENHANCERS), 1, 32, [1 + 0.9 * t for t in NINTHS]),
    ("monotone", " ".join(ENHANCERS), -1, 32, [1 - 0.9 * t for t in NINTHS]),
    ("monotone", "Cutout", 1, 32, [0, 2, 4, 6, 8, 11, 13, 15, 17, 20]),
    ("monotone", "Cutout", 1, 224, [0, 4, 9, 13, 18, 22, 27, 31, 36, 40]),
    ("monotone", "SamplePairing", 1, 32, [0.4 * t for t in NINTHS]),
    ("monotone10", "ShearX", 1, 32, [0.3 * t for t in TENTHS]),
    ("monotone10", "Rotate", 1, 32, [30 * t for t in TENTHS]),
    ("monotone10", "Color", -1, 32, [1 - 0.9 * t for t in TENTHS]),
    ("release", "ShearY", 1, 32, [0.3 * t for t in TENTHS]),
    ("release", "TranslateX", 1, 32, [10 * t for t in TENTHS]),
    ("release", "Rotate", -1, 32, [-30 * t for t in TENTHS]),
    ("release", "Solarize", 1, 32, [256, 231, 205, 180, 154, 128, 103, 77, 52, 26]),
    ("release", "Posterize", 1, 32, [4, 4, 4, 3, 3, 2, 2, 2, 1, 1]),
    ("release", " ".join(ENHANCERS), 1, 32, [0.1 + 1.8 * t for t in TENTHS]),
    ("release", "Cutout", 1, 32, [20 * t for t in TENTHS]),
    ("release", "SamplePairing", 1, 32, [0.4 * t for t in TENTHS]),
    ("trivial_wide", "ShearX", 1, 32, [0.99 * t for t in THIRTIETHS]),
    ("trivial_wide", "TranslateX", 1, 224, [32 * i // 30 for i in range(31)]),
    ("trivial_wide", "Rotate", -1, 32, [-(135 * i // 30) for i in range(31)]),
    ("trivial_wide", "Solarize", 1, 32, [256 - 256 * i // 30 for i in range(31)]),
    ("trivial_wide", "Posterize", 1, 32, [8 - 6 * i // 30 for i in range(31)]),
    ("trivial_wide", "Color", 1, 32, [0.01 + 1.99 * t for t in THIRTIETHS]),
    ("randaugment", "ShearX", 1, 32, [0.3 * t for t in THIRTIETHS]),
    ("randaugment", "TranslateY", 1, 224, [33600 * i // 9930 for i in range(31)]),
    ("randaugment", "Rotate", 1, 32, [30 * t for t in THIRTIETHS]),
    ("randaugment", "Solarize", 1, 32, [255 * (1 - t) for t in THIRTIETHS]),
    ("randaugment", "Posterize", 1, 32, [8 - round(4 * t) for t in THIRTIETHS]),
    ("randaugment", "Color", -1, 32, [1 - 0.9 * t for t in THIRTIETHS]),
]


@pytest.mark.parametrize(("ranges", "names", "sign", "side", "values"), SPECIFIED)
def test_each_table_has_the_values_of_its_source(ranges, names, sign, side, values):
    for name in names.split():
        got = row(ranges, name, sign, side)
        assert got == pytest.approx(values, rel=1e-12, abs=1e-12)


def test_other_sizes_scale_the_pixel_ranges() -> None:
    table = RANGES["monotone"]
    assert table.value("TranslateX", 9, 1, 32, 28) == math.floor(10 * 28 / 32 + 0.5)
    assert table.value("TranslateY", 9, 1, 64, 28) == 20
    assert table.value("TranslateX", 9, -1, 32, 65) == -math.floor(150 / 331 * 65 + 0.5)
    assert table.value("Cutout", 9, 1, 64, 64) == 40
    assert table.value("Cutout", 9, 1, 500, 300) == int(60 / 331 * 300)
    release = RANGES["release"]
    assert release.value("TranslateX", 9, 1, 32, 28) == int(10 / 32 * 28 * 0.9)
    assert release.value("TranslateY", 9, 1, 300, 28) == int(150 / 331 * 300 * 0.9)
    assert release.value("Cutout", 9, 1, 224, 224) == int(60 / 331 * 224 * 0.9)


def test_autoaugment_differs_from_monotone_in_the_enhancers_only() -> None:
    for op in OPS:
        for sign in (1, -1):
            values = row("autoaugment", op.name, sign)
            if op.name in ENHANCERS:
                factors = [0.1 + 0.2 * level for level in range(10)]
                assert values == pytest.approx(factors)
            else:
                assert values == row("monotone", op.name, sign)


@pytest.mark.parametrize("ranges", ["monotone", "monotone10"])
def test_a_larger_magnitude_is_a_stronger_change(ranges: str) -> None:
    """Sec. 3.2; magnitude 0 is the identity, for every op that has a magnitude."""
    unchanged = {"Solarize": 256, "Posterize": 8} | dict.fromkeys(ENHANCERS, 1)
    for op in OPS:
        for sign in (1, -1):
            values = row(ranges, op.name, sign)
            distances = [abs(value - unchanged.get(op.name, 0)) for value in values]
            assert distances == sorted(distances)
            assert distances[0] == 0
            assert (distances[-1] > 0) == op.has_magnitude


def test_directions_are_drawn_where_the_table_has_two() -> None:
    for name in RANGES:
        two = set(GEOMETRIC)
        if name in ("monotone", "monotone10", "randaugment"):
            two |= set(ENHANCERS)
        ends = {
            op.name: [row(name, op.name, sign)[-1] for sign in (1, -1)] for op in OPS
        }
        assert {op for op, (plus, minus) in ends.items() if plus != minus} == two, name


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"'wide': use one of monotone, monotone10, "):
        range_table("wide")
    table = RANGES["monotone"]
    with pytest.raises(ValueError, match=r"magnitude 10 of Rotate is outside 0 to 9"):
        table.value("Rotate", 10, 1, 32, 32)
    with pytest.raises(ValueError, match=r"sign 0 of Rotate is not \+1 or -1"):
        table.value("Rotate", 3, 0, 32, 32)
    with pytest.raises(ValueError, match=r"unknown op 'rotate': use one of ShearX"):
        table.value("rotate", 3, 1, 32, 32)
