import math

import pytest

from aaa_jax.augment.magnitudes import RANGES, range_table
from aaa_jax.augment.ops import OPS

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCERS = ("Contrast", "Color", "Brightness", "Sharpness")
WITHOUT = ("AutoContrast", "Invert", "Equalize", "Identity")


def row(ranges: str, name: str, sign: int = 1, side: int = 32) -> list[float]:
    table = RANGES[ranges]
    magnitudes = range(table.num_magnitudes)
    return [table.value(name, magnitude, sign, side, side) for magnitude in magnitudes]


def test_monotone_has_the_values_of_the_specification() -> None:
    levels = range(10)
    tenths = [level / 9 for level in levels]
    for name in ("ShearX", "ShearY"):
        assert row("monotone", name) == pytest.approx([0.3 * t for t in tenths])
    assert row("monotone", "Rotate") == pytest.approx([30 * t for t in tenths])
    for name in ("TranslateX", "TranslateY"):
        assert row("monotone", name) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
        large = [0, 11, 23, 34, 45, 56, 68, 79, 90, 102]
        assert row("monotone", name, side=224) == large
        assert row("monotone", name, sign=-1, side=224) == [-value for value in large]
    thresholds = [math.ceil(value) for value in row("monotone", "Solarize")]
    assert thresholds == [256, 228, 200, 171, 143, 114, 86, 57, 29, 0]
    assert row("monotone", "Posterize") == [8, 8, 7, 7, 6, 6, 5, 5, 4, 4]
    for name in ENHANCERS:
        for sign in (1, -1):
            factors = [1 + sign * level / 10 for level in levels]
            assert row("monotone", name, sign) == pytest.approx(factors)
    assert row("monotone", "Cutout") == [0, 2, 4, 6, 8, 11, 13, 15, 17, 20]
    large = [0, 4, 9, 13, 18, 22, 27, 31, 36, 40]
    assert row("monotone", "Cutout", side=224) == large
    assert row("monotone", "SamplePairing") == pytest.approx([0.4 * t for t in tenths])


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


def test_monotone10_is_monotone_but_for_the_step() -> None:
    assert row("monotone10", "ShearX") == pytest.approx([0.03 * i for i in range(10)])
    assert row("monotone10", "Rotate") == pytest.approx([3 * i for i in range(10)])
    factors = [1 - 0.09 * level for level in range(10)]
    assert row("monotone10", "Color", sign=-1) == pytest.approx(factors)


def test_autoaugment_differs_from_monotone_in_the_enhancers_only() -> None:
    for op in OPS:
        for sign in (1, -1):
            values = row("autoaugment", op.name, sign)
            if op.name in ENHANCERS:
                factors = [0.1 + 0.2 * level for level in range(10)]
                assert values == pytest.approx(factors)
            else:
                assert values == row("monotone", op.name, sign)


def test_release_has_the_published_codes_values() -> None:
    levels = range(10)
    assert row("release", "ShearY") == pytest.approx([0.03 * level for level in levels])
    assert row("release", "TranslateX") == list(levels)
    assert row("release", "Rotate", sign=-1) == [-3 * level for level in levels]
    solarize = [256, 231, 205, 180, 154, 128, 103, 77, 52, 26]
    assert row("release", "Solarize") == solarize
    assert row("release", "Posterize") == [4, 4, 4, 3, 3, 2, 2, 2, 1, 1]
    factors = [0.1, 0.28, 0.46, 0.64, 0.82, 1, 1.18, 1.36, 1.54, 1.72]
    for name in ENHANCERS:
        assert row("release", name) == pytest.approx(factors)
    assert row("release", "Cutout") == [2 * level for level in levels]
    weights = [0.04 * level for level in levels]
    assert row("release", "SamplePairing") == pytest.approx(weights)


def test_trivial_wide_and_randaugment_have_31_magnitudes() -> None:
    shares = [level / 30 for level in range(31)]
    wide, rand = "trivial_wide", "randaugment"
    assert row(wide, "ShearX") == pytest.approx([0.99 * t for t in shares])
    assert row(wide, "TranslateX", side=224) == [32 * i // 30 for i in range(31)]
    assert row(wide, "Rotate", -1) == [-(135 * i // 30) for i in range(31)]
    assert row(wide, "Solarize") == [256 - 256 * i // 30 for i in range(31)]
    assert row(wide, "Posterize") == [8 - 6 * i // 30 for i in range(31)]
    assert row(wide, "Color") == pytest.approx([0.01 + 1.99 * t for t in shares])
    assert row(rand, "ShearX") == pytest.approx([0.3 * t for t in shares])
    pixels = [150 * 224 * level // (331 * 30) for level in range(31)]
    assert row(rand, "TranslateY", side=224) == pixels
    assert row(rand, "Rotate") == pytest.approx([30 * t for t in shares])
    assert row(rand, "Solarize") == pytest.approx([255 * (1 - t) for t in shares])
    assert row(rand, "Posterize") == [8 - round(4 * t) for t in shares]
    assert row(rand, "Color", -1) == pytest.approx([1 - 0.9 * t for t in shares])


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
