import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import batched_ops, coefficients, large_batch, ops, packed_pixels
from aaa_jax.augment.large_batch import OpDraws
from aaa_jax.augment.magnitudes import coefficient_rows
from aaa_jax.search import sources
from tests.oracles.pillow_ops import FILL, NAMES, pictures

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
    run = functools.partial(large_batch.apply_ops, partners=partners, ranges="release")
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

    rows = coefficient_rows(indices, magnitudes, draws.sign, "release", *size)
    got = plain(images, indices, rows, draws.center, partners)
    np.testing.assert_array_equal(got, by_map)
    assert (np.asarray(got) != images).any(axis=(1, 2, 3)).sum() > len(images) / 3


def test_the_default_driver_on_a_cpu_goes_image_by_image() -> None:
    assert packed_pixels.driver_or_default(None) == "map"
    assert packed_pixels.driver_or_default("vmap") == "vmap"
    with pytest.raises(ValueError, match="unknown driver 'naive': use map, vmap"):
        packed_pixels.driver_or_default("naive")


@pytest.mark.parametrize("driver", ["map", "vmap"])
def test_packing_puts_red_lowest_and_marks_pixels_valid(driver) -> None:
    images = pictures(5, 9)
    words = np.asarray(packed_pixels.pack(jnp.asarray(images), driver))
    red, green, blue = (images[..., c].astype(np.uint32) for c in range(3))
    want = red + (green << 8) + (blue << 16) + (np.uint32(255) << 24)
    np.testing.assert_array_equal(words, want.reshape(-1, 45))
    again = packed_pixels.unpack(jnp.asarray(words), (5, 9, 3), driver)
    np.testing.assert_array_equal(again, images)
    assert again.dtype == jnp.uint8


def test_every_op_has_one_family() -> None:
    members = [name for names in batched_ops.FAMILIES.values() for name in names]
    assert sorted(members) == sorted(NAMES)


def solarize_add(image: jax.Array, amount: jax.Array) -> jax.Array:
    """An op that the paper does not have: brighten values below the middle."""
    pixels = image.astype(jnp.int32)
    brighter = jnp.minimum(pixels + amount, 255).astype(jnp.uint8)
    return jnp.where(pixels < 128, brighter, image)


def solarize_add_family(words, call, shared):
    function = functools.partial(solarize_add, amount=call.coefficients.amount)
    return packed_pixels.on_bytes(function, words, shared.driver)


@pytest.fixture
def a_17th_op(monkeypatch) -> None:
    """What the rows would do, were they written: OPS counts itself at import."""
    op = ops.Op(
        "SolarizeAdd",
        lambda image, row, inputs: solarize_add(image, row.amount),
        coefficients.POSTERIZE[0],  # an amount
        lambda at: 110 * at.t,
    )
    monkeypatch.setattr(ops, "OPS", (*ops.OPS[:-1], op, ops.OPS[-1]))
    row = {solarize_add_family: ("SolarizeAdd",)}
    monkeypatch.setattr(batched_ops, "FAMILIES", batched_ops.FAMILIES | row)
    monkeypatch.setattr(ops, "NUM_SEARCH_OPS", 17)
    jax.clear_caches()  # of functions that were traced with 16 ops


@pytest.mark.usefixtures("a_17th_op")
def test_a_17th_op_takes_a_function_a_family_row_and_a_table_row() -> None:
    """Nothing else is touched; the op is applied and searched."""
    assert ops.op_index("SolarizeAdd") == 16
    assert ops.op_index("Identity") == 17

    images, _, magnitudes, draws = one_of_everything((16, 5), copies=1)
    indices = jnp.full(len(images), 16, jnp.int32)
    got = [
        jax.jit(
            functools.partial(large_batch.apply_ops, partners=images, driver=driver)
        )(images, indices, magnitudes, draws)
        for driver in ("map", "vmap")
    ]
    amount = np.ceil(110 * np.asarray(magnitudes) / 9)[:, None, None, None]
    want = np.where(images < 128, np.minimum(images + amount, 255), images)
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[1], want)

    drawn = sources.random_source(40).sample(jax.random.key(1), (), 0.0)
    assert set(np.unique(drawn.ops)) == set(range(17))  # Identity is not searched


@pytest.mark.parametrize("driver", ["map", "vmap"])
def test_extremes_are_found_whatever_the_number_of_pixels(driver) -> None:
    rng = np.random.default_rng(0)
    for count in (1, 15, 16, 17, 33, 160):
        lanes = rng.integers(1, 255, (count, 4)).astype(np.uint8)
        for place in (0, count // 2, count - 1):
            lanes[place] = (0, 255, 0, 255)
            words = packed_pixels.from_lanes(jnp.asarray(lanes))
            found = packed_pixels.extremes(words, driver)
            assert found.dtype == jnp.uint8
            np.testing.assert_array_equal(
                found, np.stack([lanes.min(0), lanes.max(0)], 1)[:3]
            )
            lanes[place] = 100


def test_a_batch_of_tables_is_fetched_from_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 256, (2, 3, 7)).astype(np.uint8)
    places = rng.integers(0, 7, (2, 3, 11)).astype(np.int32)
    want = np.take_along_axis(tables, places, axis=-1)
    twice = jax.jit(jax.vmap(jax.vmap(packed_pixels.fetch)))
    np.testing.assert_array_equal(twice(tables, places), want)
    shared = jax.vmap(packed_pixels.fetch, (0, None))(tables[0], places[0, 0])
    np.testing.assert_array_equal(shared, tables[0][:, places[0, 0]])
    one_table = jax.vmap(packed_pixels.fetch, (None, 0))(tables[0, 0], places[0])
    np.testing.assert_array_equal(one_table, tables[0, 0][places[0]])
