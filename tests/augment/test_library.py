"""The engine in other people's programs: their numbers, their modes, our defaults."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aaa_jax
from aaa_jax.augment import large_batch, ops
from aaa_jax.augment.large_batch import OpDraws
from aaa_jax.augment.policies import Policies, check_policies
from tests.oracles.pillow_ops import pictures, pillow_op, replay, some_policies

pytestmark = pytest.mark.usefixtures("light_compiler")

KEY = jax.random.key(3)
SOURCES = ["adversarial", "random", "schedule", "published"]


def wide(some: Policies) -> Policies:
    """As a NumPy user makes them: 64 bits."""
    return Policies(
        np.asarray(some.ops, np.int64),
        np.asarray(some.magnitudes, np.uint8),
        np.asarray(some.probs, np.float64),
    )


def test_numpy_arguments_and_one_group_are_what_needs_nothing_said() -> None:
    some = some_policies((2, 17, 2), probs=(0.7, 1))
    rows, of_row = pictures(5, 9), np.arange(9) % 2
    size = {"height": 5, "width": 9}
    draws = large_batch.draw(KEY, wide(some), of_row, **size)
    checked = check_policies(wide(some), "release")
    jax.tree.map(np.testing.assert_array_equal, checked, some.replace(ranges="release"))
    dtypes = [leaf.dtype.name for leaf in jax.tree.leaves(checked)]
    assert dtypes == ["int32", "int32", "float32"]
    narrow = jnp.asarray(of_row, jnp.int32)
    whole = large_batch.draw(KEY, some, narrow, **size, group_size=9)
    jax.tree.map(np.testing.assert_array_equal, draws, whole)
    assert np.asarray(draws.partner).max() > 5
    drawn = jax.tree.map(np.asarray, draws)
    run = jax.jit(lambda: large_batch.apply_policies(drawn, rows, wide(some), of_row))
    want = replay(draws, rows, some, of_row, 9, "monotone")
    np.testing.assert_array_equal(run(), want)

    columns = (of_row, of_row + 8, OpDraws(of_row * 2 - 1, np.ones((9, 2), int)))
    one_op = functools.partial(large_batch.apply_ops, rows, partners=rows)
    shape = jax.eval_shape(lambda: one_op(*columns))
    assert shape.shape == rows.shape


@pytest.mark.parametrize("given", [None, "monotone"])
def test_policies_know_their_range_table_unless_another_is_asked_for(given) -> None:
    """RandAugment's magnitude 9 of 30 turns by 9 degrees; that of the search by 30."""
    source = aaa_jax.randaugment_source(1, num_ops=1, scale=30)
    of_source = source.sample(KEY, (), 0.0)
    assert of_source.ranges == "randaugment"
    rotate = jnp.full_like(of_source.ops, ops.op_index("Rotate"))
    turning = of_source.replace(ops=rotate)
    images = pictures(32, 32)
    draws = large_batch.draw(KEY, turning, jnp.zeros(9, jnp.int32), height=32, width=32)
    run = jax.jit(functools.partial(large_batch.large_batch, ranges=given))
    degrees = 30.0 if given else 9.0
    want = [
        pillow_op(image, "Rotate", sign * degrees)
        for image, sign in zip(images, draws.sign[:, 0].tolist(), strict=True)
    ]
    np.testing.assert_array_equal(run(KEY, images, turning)[0], want)


def test_a_second_eager_call_compiles_nothing(compiled) -> None:
    some, of_row = some_policies((2, 17, 2), probs=(0.7, 1)), np.arange(6) % 2
    calls = {
        "draw": lambda key, images: large_batch.draw(
            key, some, of_row, height=4, width=5, group_size=3
        ),
        "large_batch": lambda key, images: aaa_jax.large_batch(key, images, some),
        "apply_policies": lambda key, images: aaa_jax.apply_policies(
            calls["draw"](key, images), images, some, of_row, group_size=3
        ),
        "apply_ops": lambda key, images: aaa_jax.apply_ops(
            images,
            jax.random.randint(key, 6, 0, 17),
            of_row,
            OpDraws(of_row * 2 - 1, np.ones((6, 2), int)),
            partners=images,
        ),
        "standard_augment": aaa_jax.standard_augment,
        "normalize": lambda key, images: aaa_jax.normalize(
            images, (0.5,) * 3, (1,) * 3
        ),
        "normalize_losses": lambda key, images: aaa_jax.normalize_losses(
            images[0, 0, :, 0]
        ),
        "per_policy_losses": lambda key, images: aaa_jax.per_policy_losses(
            images[..., 0].astype(np.float32), of_row[:4]
        ),
    }
    for name, call in calls.items():
        compiled.clear()
        call(jax.random.key(0), pictures(4, 5)[:6])
        assert compiled, name
        compiled.clear()
        call(jax.random.key(1), pictures(4, 5)[3:])
        assert not compiled, name


def images_and_draws():
    some = some_policies((2, 17, 2), probs=(0.7, 1))
    images = np.resize(pictures(6, 7), (18, 6, 7, 3))
    of_row = np.arange(36) // 18
    draws = large_batch.draw(KEY, some, of_row, height=6, width=7, group_size=18)
    return some, images, draws, of_row


def test_a_program_in_64_bits_gets_the_same_pixels() -> None:
    some, images, draws, of_row = images_and_draws()
    with jax.enable_x64(True):
        got = jax.jit(lambda key: large_batch.large_batch(key, images, wide(some)))(KEY)
        other = functools.partial(large_batch.large_batch, driver="vmap")
        shape = jax.eval_shape(other, KEY, images, some)
    rows = np.concatenate([images, images])
    want = replay(draws, rows, some, of_row, 18, "monotone")
    np.testing.assert_array_equal(got.reshape(rows.shape), want)
    assert (shape.shape, shape.dtype) == (got.shape, jnp.uint8)


@pytest.mark.parametrize("driver", ["map", "vmap"])
def test_a_program_that_promotes_no_types_can_be_traced(driver) -> None:
    some, images, _, _ = images_and_draws()
    run = functools.partial(large_batch.large_batch, driver=driver)
    with jax.numpy_dtype_promotion("strict"):
        made = jax.eval_shape(run, KEY, images, some)
        for op in ops.OPS:
            row = jax.tree.map(jnp.asarray, ops.coefficients(op.name, 1.0, 6, 7))
            inputs = ops.Inputs(jnp.int32([0, 0]), images[1], jnp.uint8([1, 2, 3]))
            one = jax.eval_shape(op.apply, jnp.asarray(images[0]), row, inputs)
            assert one.dtype == jnp.uint8
    assert made.dtype == jnp.uint8


def play_once(name, key):
    """A round of a source that is made anew, as a person calls it: not under jit."""
    source = aaa_jax.search.sources.SOURCES[name](num_policies=2)
    state = source.init(key)
    drawn = source.sample(key, state, 0.5)
    outcome = aaa_jax.RoundOutcome(jnp.array([1.0, 2.0], jnp.float32))
    return source.update(state, drawn, outcome)


@pytest.mark.parametrize("name", SOURCES)
def test_a_second_eager_round_compiles_nothing(name, compiled) -> None:
    play_once(name, jax.random.key(0))
    compiled.clear()
    play_once(name, jax.random.key(1))
    assert not compiled


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_can_be_traced_in_64_bits_and_where_types_are_not_promoted(name):
    source = aaa_jax.search.sources.SOURCES[name](num_policies=2)
    with jax.enable_x64(True):
        info = jax.eval_shape(lambda key: play_once(name, key)[1], KEY)
        with jax.numpy_dtype_promotion("strict"):
            state = jax.eval_shape(source.init, KEY)
            jax.eval_shape(source.sample, KEY, state, 0.5)
    assert {leaf.dtype.name for leaf in info.values()} == {"float32"}


IMAGES, SOME, FILL = pictures(6, 7), some_policies((2, 5, 2)), np.array([1, 2, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aaa_jax.standard_augment(KEY, IMAGES, flip=0.5), "flip is 0.5: True"),
        (lambda: aaa_jax.standard_augment(KEY, IMAGES, padding=1.5), "padding is 1.5"),
        (lambda: aaa_jax.standard_augment(KEY, IMAGES, padding=-1), "padding is -1"),
        (
            lambda: jax.eval_shape(
                lambda p: aaa_jax.standard_augment(KEY, IMAGES, padding=p), 4
            ),
            "padding is traced: it must be known",
        ),
        (
            lambda: jax.eval_shape(
                lambda fill: aaa_jax.large_batch(KEY, IMAGES, SOME, fill=fill), FILL
            ),
            "fill is traced: it must be known",
        ),
        (lambda: aaa_jax.large_batch(KEY, IMAGES, {"ops": 1}), "policies are dict: "),
        (
            lambda: aaa_jax.draw(KEY, SOME, np.zeros(4, int), height=2.5, width=2),
            "height is 2.5: a whole number from 1",
        ),
        (lambda: aaa_jax.normalize(IMAGES, 0.5, 0.2), "mean is 0.5, std 0.2: one num"),
        (lambda: aaa_jax.normalize(IMAGES, (0.5,), (0.2,)), r"images are uint8 \[9, 6"),
        (lambda: aaa_jax.random_source(2.0), "num_policies is 2.0, must be a whole"),
        (
            lambda: aaa_jax.random_source(2).update((), SOME, jnp.ones(2)),
            r"outcome is ArrayImpl: give RoundOutcome\(losses\)",
        ),
        (
            lambda: aaa_jax.fixed_source(num_policies=2).update(
                (), SOME, aaa_jax.RoundOutcome(jnp.ones(3))
            ),
            r"losses \[3\]: \[2\], one a policy",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_needed(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
