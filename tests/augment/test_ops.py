import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import RANGES
from tests.oracles.pillow_ops import (
    FILL,
    NAMES,
    SIZES,
    pictures,
    pillow_op,
)

FILL_ARRAY = jnp.array(FILL, jnp.uint8)


def settings(name: str, height: int, width: int) -> list[float]:
    """Each value that some range table gives the op."""
    return sorted(
        {
            table.value(name, magnitude, sign, height, width)
            for table in RANGES.values()
            for magnitude in range(table.num_magnitudes)
            for sign in (1, -1)
        }
    )


def stack_rows(name: str, values: list[float], height: int, width: int):
    rows = [ops.coefficients(name, value, height, width) for value in values]
    return jax.tree.map(
        lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *rows
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("op", ops.OPS, ids=lambda op: op.name)
def test_every_op_equals_pillow_at_every_value_of_every_table(op, size) -> None:
    values, images = settings(op.name, *size), pictures(*size)
    partners = np.roll(images, -1, axis=0)
    rows = stack_rows(op.name, values, *size)
    rng = np.random.default_rng(0)
    centers = rng.integers(0, size, (len(values), len(images), 2))

    def apply(image, partner, row, center):
        return op.apply(image, row, ops.Inputs(center, partner, FILL_ARRAY))

    over_images = jax.vmap(apply, in_axes=(0, 0, None, 0))
    over_values = jax.jit(jax.vmap(over_images, in_axes=(None, None, 0, 0)))
    got = over_values(images, partners, rows, jnp.asarray(centers, jnp.int32))
    for result, value, places in zip(
        np.asarray(got), values, centers.tolist(), strict=True
    ):
        want = [
            pillow_op(image, op.name, value, place, partner)
            for image, place, partner in zip(images, places, partners, strict=True)
        ]
        np.testing.assert_array_equal(result, want, err_msg=f"{op.name} {value}")


@pytest.mark.parametrize("op", ops.OPS, ids=lambda op: op.name)
def test_an_op_is_the_same_under_jit_and_vmap(op) -> None:
    image, partner = jnp.asarray(pictures(32, 32)[2:4])
    value = RANGES["monotone"].value(op.name, 7, -1, 32, 32)
    row = jax.tree.map(jnp.asarray, ops.coefficients(op.name, value, 32, 32))
    inputs = ops.Inputs(jnp.array([3, 29], jnp.int32), partner, FILL_ARRAY)
    index = jnp.int32(ops.op_index(op.name))
    batched = jax.vmap(ops.apply_op, in_axes=(0, None, None, None))
    want = pillow_op(np.asarray(image), op.name, value, (3, 29), np.asarray(partner))
    for got in (
        op.apply(image, row, inputs),
        jax.jit(ops.apply_op)(image, index, row, inputs),
        batched(image[None], index, row, inputs)[0],
    ):
        assert got.dtype == jnp.uint8
        np.testing.assert_array_equal(got, want)


def test_auto_contrast_equals_pillow_for_every_pair_of_extremes() -> None:
    lowest, highest = np.triu_indices(256)
    value = np.arange(256)
    stretched = np.clip(value, lowest[:, None], highest[:, None]).astype(np.uint8)
    assert len(stretched) == 32896
    channels = np.resize(stretched, (32898, 256)).reshape(-1, 3, 256)
    trios = channels.swapaxes(1, 2)[:, None]  # images of 1 x 256
    got = np.asarray(jax.jit(jax.vmap(ops.auto_contrast))(trios))
    want = [np.asarray(ImageOps.autocontrast(Image.fromarray(x))) for x in trios]
    np.testing.assert_array_equal(got, want)


def test_blend_equals_pillow_for_every_pair_of_values_and_every_factor() -> None:
    enhancers = ("Contrast", "Color", "Brightness", "Sharpness", "SamplePairing")
    factors = {v for name in enhancers for v in settings(name, 32, 32)}
    limits = {v for name in enhancers for v in ops.OPS[ops.op_index(name)].limits}
    factors = sorted(factors | limits)
    assert len(factors) > 80
    start, end = np.mgrid[:256, :256]
    rows = stack_rows("Color", factors, 32, 32)
    blend = jax.jit(jax.vmap(ops.blend, in_axes=(None, None, 0)))
    got = np.asarray(blend(jnp.asarray(start), jnp.asarray(end), rows.factor))
    first, second = (Image.fromarray(a.astype(np.uint8)) for a in (start, end))
    for result, factor in zip(got, factors, strict=True):
        want = np.asarray(Image.blend(first, second, factor))
        np.testing.assert_array_equal(result, want, err_msg=f"factor {factor}")


def test_a_fused_multiply_add_cannot_change_a_blend() -> None:
    """Both parts of the product are exact, so fusing them rounds the same number."""
    for value in settings("Color", 32, 32):
        high, low = ops.coefficients("Color", value, 32, 32).factor
        assert high + low == np.float32(value)
        for difference in (255, 254, 253, 171, 85, 1):
            for part in (high, low):
                exact = float(part) * difference
                assert float(np.float32(exact)) == exact


def test_gray_equals_pillow_for_a_third_of_all_colors() -> None:
    red, green, blue = np.mgrid[:256, :256, :256:3].astype(np.int32)
    got = np.asarray(jax.jit(ops.gray_of)(red, green, blue)).reshape(256, -1)
    colors = np.stack([red, green, blue], axis=-1).astype(np.uint8)
    picture = Image.fromarray(colors.reshape(256, -1, 3)).convert("L")
    np.testing.assert_array_equal(got, np.asarray(picture))


def test_thirteenths_and_quotients_are_those_of_whole_numbers() -> None:
    total = np.arange(13 * 255 + 1)
    got = jax.jit(ops.rounded_thirteenth)(jnp.asarray(total, jnp.int32))
    np.testing.assert_array_equal(got, (2 * total + 13) // 26)
    rng = np.random.default_rng(0)
    divisors = np.concatenate([np.arange(1, 300), rng.integers(1, 2**24, 300)])
    multiples = rng.integers(0, 2**24 // divisors, (50, divisors.size)) * divisors
    for offset in (-1, 0, 1):
        dividends = np.clip(multiples + offset, 0, 2**24)
        got = jax.jit(ops.floor_quotient)(
            jnp.asarray(dividends, jnp.int32),
            jnp.asarray(np.broadcast_to(divisors, dividends.shape), jnp.int32),
        )
        np.testing.assert_array_equal(got, dividends // divisors)


def test_the_table_lists_the_papers_ops_in_order() -> None:
    paper = [
        *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "AutoContrast"),
        *("Invert", "Equalize", "Solarize", "Posterize", "Contrast", "Color"),
        *("Brightness", "Sharpness", "Cutout", "SamplePairing"),
    ]
    assert [*paper, "Identity"] == NAMES
    assert ops.NUM_SEARCH_OPS == 16
    without = {op.name for op in ops.OPS if not op.has_magnitude}
    assert without == {"AutoContrast", "Invert", "Equalize", "Identity"}


@pytest.mark.parametrize(
    ("name", "value", "size", "message"),
    [
        ("Blur", 1.0, (32, 32), "unknown op 'Blur': use one of ShearX, "),
        ("Rotate", 1.0, (0, 32), "0 x 32: sides from 1 to 8192"),
        ("Rotate", 1.0, (8000, 8000), "8000 x 8000: at most 4194304 pixels"),
        ("Rotate", float("nan"), (32, 32), "value nan of Rotate: a finite number"),
        *(
            (name, value, (32, 32), rf"value .* of {name}: from {allowed} is allowed")
            for name, value, allowed in (
                ("ShearX", 3.5, "-3 to 3"),
                ("TranslateX", 40000.0, "-8192 to 8192"),
                ("Solarize", 1e12, "0 to 256"),
                ("Posterize", 12.0, "1 to 8"),
                ("Contrast", 1e30, "-100 to 100"),
                ("Cutout", -4.0, "0 to 8192"),
                ("SamplePairing", 7.0, "0 to 1"),
            )
        ),
    ],
)
def test_what_an_op_does_not_take_is_refused(name, value, size, message) -> None:
    with pytest.raises(ValueError, match=message):
        ops.coefficients(name, value, *size)


def moved(image: jax.Array, name: str, value: float, fill: jax.Array) -> jax.Array:
    row = jax.tree.map(jnp.asarray, ops.coefficients(name, value, *image.shape[:2]))
    return ops.affine(image, row, ops.Inputs(jnp.zeros(2, jnp.int32), image, fill))


@pytest.mark.parametrize("size", [(1, 8192), (8192, 1)], ids=str)
def test_the_outermost_values_are_exact_on_the_longest_images(size) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for op in ops.OPS[: ops.op_index("Rotate") + 1]:
        limits = op.limits if op.name != "Rotate" else (-45.0, 4000.0)
        for value in limits:
            got = moved(jnp.asarray(image), op.name, value, FILL_ARRAY)
            want = pillow_op(image, op.name, value)
            np.testing.assert_array_equal(got, want, err_msg=f"{op.name} {value}")


# dm-pix is the second oracle, of the ops that it has: it knows floats from 0 to 1.


@pytest.mark.parametrize("threshold", [0, 1, 100, 128, 255, 256])
def test_solarize_is_that_of_dm_pix(threshold) -> None:
    """At threshold 0 it is Invert."""
    images = pictures(32, 32)
    got = jax.vmap(lambda image: ops.solarize(image, jnp.int32(threshold)))(images)
    levels = images.astype(np.float32) / 255
    want = dm_pix.solarize(levels, np.float32(threshold) / 255)
    np.testing.assert_array_equal(got, np.round(np.asarray(want) * 255))


@pytest.mark.parametrize(
    ("name", "value"), [("TranslateX", 5.0), ("ShearX", 0.3), ("Rotate", 17.0)]
)
def test_affine_ops_are_those_of_dm_pix(name, value) -> None:
    images, turn = pictures(32, 32), np.deg2rad(value)
    # From (row, column) to the source. A shear leaves the corner of the image in its
    # place, Rotate its middle.
    matrix, shift, fixed = {
        "TranslateX": ([[1, 0], [0, 1]], [0, value], -0.5),
        "ShearX": ([[1, 0], [value, 1]], [0, 0], -0.5),
        "Rotate": (
            [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]],
            [0, 0],
            15.5,
        ),
    }[name]
    offset = fixed - fixed * np.sum(matrix, axis=1) + shift
    with_channels = np.eye(3)
    with_channels[:2, :2] = matrix

    def by_dm_pix(image):
        moved = dm_pix.affine_transform(
            image.astype(jnp.float32) / 255,
            jnp.asarray(with_channels),
            offset=jnp.array([*offset, 0]),
            order=0,
            mode="constant",
        )
        return jnp.round(moved * 255)

    with jax.numpy_rank_promotion("allow"):  # inside dm-pix
        want = np.stack([by_dm_pix(image) for image in images])
    got = jax.vmap(lambda image: moved(image, name, value, jnp.zeros(3, jnp.uint8)))
    np.testing.assert_array_equal(got(images), want)
