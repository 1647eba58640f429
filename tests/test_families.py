import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pillow_oracle import FILL, NAMES, pictures

from aaa_jax import augment, families, ops, values
from aaa_jax.augment import OpDraws

FILL_ARRAY = jnp.array(FILL, jnp.uint8)


def one_of_everything(size: tuple[int, int], copies: int = 6):
    """Arguments of `apply_ops`: every op on every picture, the rest at random."""
    rng = np.random.default_rng(0)
    images = np.tile(pictures(*size), (len(ops.OPS) * copies, 1, 1, 1))
    count = len(images)
    indices = np.repeat(np.arange(len(ops.OPS)), count // len(ops.OPS))
    whole = functools.partial(jnp.asarray, dtype=jnp.int32)
    draws = OpDraws(
        whole(rng.choice([-1, 1], count)), whole(rng.integers(0, size, (count, 2)))
    )
    return images, whole(indices), whole(rng.integers(0, 10, count)), draws


@pytest.mark.parametrize("size", [(32, 32), (3, 2), (16, 5)], ids=str)
def test_both_drivers_and_the_plain_form_are_bit_equal(size) -> None:
    images, indices, magnitudes, draws = one_of_everything(size)
    partners = np.roll(images, -1, axis=0)
    run = functools.partial(augment.apply_ops, partners=partners, ranges="release")
    by_map, by_vmap = (
        jax.jit(functools.partial(run, driver=driver))(
            images, indices, magnitudes, draws
        )
        for driver in ("map", "vmap")
    )
    np.testing.assert_array_equal(by_map, by_vmap)

    @jax.jit
    @jax.vmap
    def plain(image, op, row, center, partner):
        return ops.apply_op(image, op, row, ops.Inputs(center, partner, FILL_ARRAY))

    rows = augment.coefficient_rows(indices, magnitudes, draws.sign, "release", *size)
    got = plain(images, indices, rows, draws.center, partners)
    np.testing.assert_array_equal(got, by_map)
    assert (np.asarray(got) != images).any(axis=(1, 2, 3)).sum() > len(images) / 3


def test_the_default_driver_on_a_cpu_goes_image_by_image() -> None:
    assert families.driver_or_default(None) == "map"
    assert families.driver_or_default("vmap") == "vmap"
    with pytest.raises(ValueError, match="unknown driver 'naive': use map, vmap"):
        families.driver_or_default("naive")


def test_packing_puts_red_lowest_and_marks_pixels_valid() -> None:
    images = pictures(5, 9)
    words = np.asarray(families.pack(jnp.asarray(images)))
    red, green, blue = (images[..., c].astype(np.uint32) for c in range(3))
    want = red + (green << 8) + (blue << 16) + (np.uint32(255) << 24)
    np.testing.assert_array_equal(words, want.reshape(-1, 45))
    np.testing.assert_array_equal(families.unpack(jnp.asarray(words), (5, 9)), images)


def test_every_op_has_one_family() -> None:
    members = [name for names in families.FAMILIES.values() for name in names]
    assert sorted(members) == sorted(NAMES)


def solarize_add(image: jax.Array, amount: jax.Array) -> jax.Array:
    """An op that the paper does not have: brighten values below the middle."""
    pixels = image.astype(jnp.int32)
    brighter = jnp.minimum(pixels + amount, 255).astype(jnp.uint8)
    return jnp.where(pixels < 128, brighter, image)


def solarize_add_family(words, step, setting):
    lanes = solarize_add(families.to_lanes(words), step.row.amount)
    return families.from_lanes(lanes) | jnp.uint32(families.VALID)


def test_a_17th_op_takes_a_function_a_family_row_and_a_table_row(monkeypatch) -> None:
    """Nothing else is touched, and the op is searched, applied and saved by name."""
    op = ops.Op(
        "SolarizeAdd",
        lambda image, row, inputs: solarize_add(image, row.amount),
        values.prepare_amount,
        lambda t, sign, height, width: float(110 * t),
    )
    monkeypatch.setattr(ops, "OPS", (*ops.OPS[:-1], op, ops.OPS[-1]))
    row = {solarize_add_family: ("SolarizeAdd",)}
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES | row)
    assert ops.op_index("SolarizeAdd") == 16
    assert ops.op_index("Identity") == 17

    images, _, magnitudes, draws = one_of_everything((16, 5), copies=1)
    indices = jnp.full(len(images), 16, jnp.int32)
    got = [
        jax.jit(functools.partial(augment.apply_ops, partners=images, driver=driver))(
            images, indices, magnitudes, draws
        )
        for driver in ("map", "vmap")
    ]
    amount = np.ceil(110 * np.asarray(magnitudes) / 9)[:, None, None, None]
    want = np.where(images < 128, np.minimum(images + amount, 255), images)
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[1], want)


def test_an_op_without_a_family_is_refused(monkeypatch) -> None:
    images, indices, magnitudes, draws = one_of_everything((3, 2), copies=1)
    monkeypatch.setattr(ops, "OPS", (*ops.OPS, ops.OPS[0]._replace(name="Twist")))
    with pytest.raises(ValueError, match=r"Twist of OPS: add a row in families\."):
        augment.apply_ops(images, indices, magnitudes, draws, partners=images)


def test_extremes_are_found_whatever_the_number_of_pixels() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 15, 16, 17, 33, 160):
        lanes = rng.integers(1, 255, (count, 4)).astype(np.uint8)
        for place in (0, count // 2, count - 1):
            lanes[place] = (0, 255, 0, 255)
            lowest, highest = families.extremes(jnp.asarray(lanes))
            np.testing.assert_array_equal(lowest, lanes.min(0))
            np.testing.assert_array_equal(highest, lanes.max(0))
            lanes[place] = 100
