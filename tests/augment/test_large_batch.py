import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.augment import large_batch, ops, policies
from aaa_jax.augment.large_batch import OpDraws
from aaa_jax.augment.magnitudes import RANGES, coefficient_rows
from tests.oracles.pillow_ops import (
    NAMES,
    SIZES,
    pictures,
    replay,
    some_policies,
)

KEY = jax.random.key(3)


def mixed_rows(num_policies: int, num_images: int) -> jax.Array:
    """Rows of a group under all policies in turn, as the trainer lays them out."""
    place = np.arange(num_policies * num_images)
    return jnp.asarray((place + place // num_images) % num_policies, jnp.int32)


def a_batch(some: policies.Policies, size: tuple[int, int], group_size: int):
    """Arguments of `apply_policies`: as many groups as policies, of all pictures."""
    policy_of_row = mixed_rows(some.num_policies, group_size)
    rows = jnp.asarray(np.resize(pictures(*size), (len(policy_of_row), *size, 3)))
    draws = large_batch.draw(
        KEY, some, policy_of_row, height=size[0], width=size[1], group_size=group_size
    )
    return draws, rows, some, policy_of_row


def every_setting(ranges: str, size: tuple[int, int]):
    """Each op, magnitude and sign of a table, int32 [K], and its name and value."""
    table = RANGES[ranges]
    grid = np.indices((len(NAMES), table.num_magnitudes, 2)).reshape(3, -1)
    columns = (grid[0], grid[1], 1 - 2 * grid[2])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    named = [
        (NAMES[op], table.value(NAMES[op], magnitude, sign, *size))
        for op, magnitude, sign in rows
    ]
    return tuple(jnp.asarray(column, jnp.int32) for column in columns), named


@pytest.mark.parametrize("ranges", RANGES)
@pytest.mark.parametrize("size", [*SIZES, (224, 224)], ids=str)
def test_every_table_and_size_gives_each_op_its_own_coefficients(ranges, size) -> None:
    columns, named = every_setting(ranges, size)
    rows = coefficient_rows(*columns, ranges, *size)
    wanted = [ops.coefficients(*setting, *size) for setting in named]
    for got, want in zip(rows, zip(*wanted, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.stack(want))


@pytest.mark.parametrize(
    ("shape", "size", "group_size", "ranges", "driver", "has_validity"),
    [
        ((4, 5, 2), (37, 53), 16, "autoaugment", "map", False),
        ((4, 5, 2), (37, 53), 16, "autoaugment", "vmap", False),
        ((2, 10, 2), (224, 224), 12, "monotone", None, False),  # ImageNet's
        ((2, 150, 3), (32, 32), 300, "release", "map", True),
        ((2, 150, 3), (32, 32), 300, "release", "vmap", True),
    ],
)
def test_chains_through_apply_policies_replay_with_pillow(
    shape, size, group_size, ranges, driver, has_validity
) -> None:
    """Validity is the alpha channel of the release, which has no SamplePairing."""
    without = ("SamplePairing",) if has_validity else ()
    batch = a_batch(some_policies(shape, without=without), size, group_size)
    options = {"fill": (125, 122, 113), "with_validity": has_validity}
    run = functools.partial(
        large_batch.apply_policies, group_size=group_size, ranges=ranges, driver=driver
    )
    want = replay(*batch, group_size, ranges, **options)
    got = jax.jit(functools.partial(run, **options))(*batch)
    np.testing.assert_array_equal(got, want)
    if has_validity:
        assert set(np.unique(want[..., 3])) == {0, 255}
        assert 0.02 < np.mean(want[..., 3] == 0) < 0.5


@pytest.mark.parametrize(
    ("shape", "size", "per_policy"),
    [
        ((8, 5, 2), (32, 32), False),
        ((2, 9, 3), (2, 7), True),
        ((1, 17, 1), (28, 28), False),
        ((1, 17, 1), (1, 1), False),
    ],
)
def test_large_batch_replays_with_pillow(shape, size, per_policy) -> None:
    """Any M, Q, S and size, with op probabilities, shared or own instances."""
    some = some_policies(shape, probs=(0, 0.5, 1))
    num_policies, num_images = shape[0], 12
    leading = (num_policies, num_images) if per_policy else (num_images,)
    given = np.resize(pictures(*size), (*leading, *size, 3))
    run = functools.partial(large_batch.large_batch, ranges="release", fill=(1, 2, 3))
    got = jax.jit(run)(KEY, given, some)
    assert got.shape == (num_policies, num_images, *size, 3)
    rows = np.broadcast_to(given, got.shape).reshape(-1, *size, 3)
    policy_of_row = np.arange(len(rows)) // num_images
    size_arguments = {"height": size[0], "width": size[1], "group_size": num_images}
    draws = large_batch.draw(KEY, some, policy_of_row, **size_arguments)
    oracle = functools.partial(replay, draws, rows, some, policy_of_row, num_images)
    want = oracle("release", fill=(1, 2, 3))
    np.testing.assert_array_equal(got.reshape(want.shape), want)


def test_the_identity_policy_changes_nothing() -> None:
    images = pictures(5, 9)
    run = jax.jit(large_batch.large_batch)
    got = run(KEY, jnp.asarray(images), policies.identity_policies(3))
    np.testing.assert_array_equal(got, np.broadcast_to(images, (3, *images.shape)))


def test_the_result_does_not_depend_on_jit_vmap_pmap_or_the_slice() -> None:
    batch = a_batch(some_policies((4, 5, 2)), (5, 9), 8)
    run = functools.partial(large_batch.apply_policies, group_size=8)
    want = jax.jit(run)(*batch)
    np.testing.assert_array_equal(want, replay(*batch, 8, "monotone"))
    draws, rows, some, policy_of_row = batch
    draws, rows, policy_of_row = jax.tree.map(
        lambda leaf: leaf.reshape(4, 8, *leaf.shape[1:]), (draws, rows, policy_of_row)
    )
    assert jax.local_device_count() == 4
    for over_shares in (jax.pmap, jax.vmap):
        got = over_shares(run, in_axes=(0, 0, None, 0))(
            draws, rows, some, policy_of_row
        )
        np.testing.assert_array_equal(np.concatenate(got), want)


def test_draws_have_the_frequencies_of_the_method() -> None:
    """Uniform sub-policies, signs, centers and partners; ops with their probability."""
    some = some_policies((2, 5, 2), probs=(0, 0.5, 1))
    num_rows, group = 12000, 8
    policy_of_row = mixed_rows(2, num_rows // 2)
    draws = large_batch.draw(
        KEY, some, policy_of_row, height=4, width=6, group_size=group
    )
    draws = jax.tree.map(np.asarray, draws)

    def check(values: np.ndarray, number: int) -> None:
        shares = np.bincount(values.ravel(), minlength=number) / values.size
        assert shares.shape == (number,)
        spread = np.sqrt((number - 1) / number**2 / values.size)
        assert np.abs(shares - 1 / number).max() < 5 * spread

    check(draws.sub_policy, 5)
    check((draws.sign + 1) // 2, 2)
    assert set(np.unique(draws.sign)) == {-1, 1}
    check(draws.center[..., 0] * 6 + draws.center[..., 1], 24)
    place = np.arange(num_rows)[:, None] % group
    check((draws.partner - place) % group - 1, group - 1)  # never the row itself
    assert draws.partner.min() == 0
    assert draws.partner.max() == group - 1
    probs = np.asarray(some.probs)[policy_of_row, draws.sub_policy]
    assert draws.applied[probs == 1].all()
    assert not draws.applied[probs == 0].any()
    halves = draws.applied[probs == 0.5]
    assert abs(halves.mean() - 0.5) < 5 * np.sqrt(0.25 / halves.size)

    alone = large_batch.draw(KEY, some, policy_of_row, height=4, width=6, group_size=1)
    assert not alone.partner.any()  # the row itself


def refused(message: str, function, *arguments, **options) -> None:
    """Traced, not run: refusals come before any work."""
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: function(*arguments, **options))


def test_wrong_arguments_of_large_batch_are_named() -> None:
    images, some = jnp.asarray(pictures(5, 9)), some_policies((2, 5, 2))
    run = functools.partial(large_batch.large_batch, KEY)
    refused(
        r"instances for 9 policies, but .* 2: give \[N,", run, images[:, None], some
    )
    refused(r"'mono': use one of monotone, ", run, images, some, ranges="mono")
    refused(r"driver 'loop': use map, vmap or", run, images, some, driver="loop")
    for fill in ((1, 2), (0.5, 0.5, 0.5), (1, 2, 256)):
        message = rf"fill {re.escape(str(fill))}: three integers from 0 to 255"
        refused(message, run, images, some, fill=fill)
    beyond = some.replace(magnitudes=some.magnitudes.at[0, 0, 0].set(30))
    refused(r"magnitudes \(of monotone\) has 30 at", run, images, beyond)
    floats = r"images are float32: uint8 from 0 to 255 is needed; values from 0 to 1"
    refused(floats, run, jnp.stack([images, images]) / 255, some)
    gray = images[..., :1]
    refused(r"images \(9, 5, 9, 1\): \[B, H, W, 3\] is needed", run, gray, some)
    refused(r"images \(5, 9, 3\): \[B, H, W, 3\] is", run, images[0], some)
    refused(r"\(0, 5, 9, 3\): .* with one image or more", run, images[:0], some)
    refused(r"are list: an array uint8 .*asarray", run, images.tolist(), some)


def test_wrong_arguments_of_apply_policies_and_draw_are_named() -> None:
    some = some_policies((2, 5, 2))
    rows, of_row = jnp.asarray(pictures(5, 9)), jnp.zeros(9, jnp.int32)
    draw = functools.partial(large_batch.draw, KEY, some, height=5, width=9)
    refused(r"9 rows are not whole groups of 4: the", draw, of_row, group_size=4)

    draws = draw(of_row, group_size=3)
    run = functools.partial(large_batch.apply_policies, draws, rows, some)
    refused("group_size is 0: a whole number from 1 on", run, of_row, group_size=0)
    refused(r"policy_of_row has 2 at \[0\]: from 0 to 1", run, of_row + 2, group_size=3)
    refused(r"of_row is int32 \[6\]: int32 \[9\]", run, of_row[:6], group_size=3)

    for field, change, message in (
        ("sub_policy", 5, r"sub_policy has \d+ at \[\d\]: from 0 to 4 is allowed"),
        ("partner", -9, r"partner has -\d at \[0, 0\]: from 0 to 2 is allowed"),
        ("sign", 1, r"sign has [02] at \[0, 0\]: \+1 or -1 is allowed"),
    ):
        wrong = draws._replace(**{field: getattr(draws, field) + change})
        run = functools.partial(large_batch.apply_policies, wrong, rows, some)
        refused(rf"draws\.{message}", run, of_row, group_size=3)


def test_wrong_arguments_of_apply_ops_are_named() -> None:
    images = jnp.asarray(pictures(5, 9))
    zeros = jnp.zeros(9, jnp.int32)
    draws = OpDraws(zeros + 1, jnp.zeros((9, 2), jnp.int32))

    def check(message, ops=zeros, magnitudes=zeros, draws=draws, **options) -> None:
        options = {"partners": images} | options
        refused(
            message, large_batch.apply_ops, images, ops, magnitudes, draws, **options
        )

    check(r"ops is int32 \[3\]: int32 \[9\] is needed", ops=zeros[:3])
    check(r"ops is list: an array int32 \[9\] is needed", ops=[0] * 9)
    too_wide = np.arange(9) // 8 * (2**32 + 1)
    check(r"ops has 4294967297 at \[8\]: from 0 to 16", ops=too_wide)
    of_release = r"\(of release\) has 10 at \[0\]: from 0 to 9"
    check(of_release, magnitudes=zeros + 10, ranges="release")
    check(r"magnitudes .* is float32 \[9\]: int32 \[9\]", magnitudes=zeros + 0.5)
    check(r"partners \(3, 5, 9, 3\): \(9, 5, 9, 3\) is", partners=images[:3])
    without_columns = draws._replace(center=zeros)
    check(r"draws.center is int32 \[9\]: int32 \[9, 2\]", draws=without_columns)
