"""No environment changes a draw: neither the program's nor a library caller's."""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aaa_jax
from aaa_jax import data
from aaa_jax.augment import standard
from aaa_jax.models import layers, noise
from aaa_jax.runtime import randomness
from aaa_jax.search import sources
from tests.oracles.pillow_ops import pictures, some_policies

pytestmark = pytest.mark.usefixtures("light_compiler")

ENVIRONMENTS = {
    "rbg": lambda: jax.default_prng_impl("rbg"),
    "unsafe_rbg": lambda: jax.default_prng_impl("unsafe_rbg"),
    "not partitionable": lambda: jax.threefry_partitionable(False),
    "64 bits": lambda: jax.enable_x64(True),
    "Flax's separator": lambda: flax.config.temp_flip_flag("fix_rng_separator", True),
}


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, images):
        return noise.network_noise(self, images, None, 2, 2)


def drawn(key):
    """Something of every function that draws."""
    policies = some_policies((2, 5, 2), probs=(0.7, 1))
    calls = {
        "kernel": lambda: layers.conv_init(key, (3, 3, 2, 2)),
        "dense": lambda: layers.dense_init(key, (3, 2)),
        "noise": lambda: Noisy().apply({}, jnp.zeros(3), rngs={"noise": key}),
        "order": lambda: data.epoch_permutation(key, 9),
        "crops": lambda: standard.draw_crops(key, 3, padding=4, flip=True),
        "centers": lambda: standard.draw_centers(key, 3, 8, 8),
        "policies": lambda: aaa_jax.draw(
            key, policies, jnp.zeros(3, jnp.int32), height=4, width=5
        ),
    }
    for name in ("adversarial", "random", "schedule"):
        source = sources.SOURCES[name](num_policies=2)
        state = source.init(randomness.key_of_seed(5))
        calls[name] = lambda source=source, state=state: (
            source.init(key),
            source.sample(key, state, 0.5),
        )
    return jax.tree.map(np.asarray, {k: jax.jit(call)() for k, call in calls.items()})


@functools.cache
def default_draws():
    return drawn(jax.random.key(7))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_changes_no_draw(name) -> None:
    want = default_draws()
    with ENVIRONMENTS[name]():
        got = drawn(randomness.key_of_seed(7))
    same = functools.partial(np.testing.assert_array_equal, strict=True)
    jax.tree.map(same, want, got)


def test_a_seed_gives_the_key_that_jax_makes_of_it() -> None:
    for seed in (0, 7, 2**31, 2**32 - 1):
        words = jax.random.key_data(randomness.key_of_seed(seed))
        np.testing.assert_array_equal(words, jax.random.key_data(jax.random.key(seed)))


def derived(key):
    return jax.random.split(jax.random.fold_in(key, 3), 5)[4]


def test_a_callers_rbg_key_draws_what_the_same_calls_give_under_threefry() -> None:
    typed = derived(jax.random.key(7, impl="rbg"))
    with jax.default_prng_impl("rbg"):
        raw = derived(jax.random.PRNGKey(7))
        converted = randomness.own_key(raw)
    want = jax.random.key_data(derived(jax.random.key(7)))
    old = randomness.own_key(derived(jax.random.PRNGKey(7)))
    for key in (randomness.own_key(typed), converted, old):
        np.testing.assert_array_equal(jax.random.key_data(key), want)
    draw = aaa_jax.random_source(2).sample
    jax.tree.map(
        np.testing.assert_array_equal,
        draw(typed, (), 0.0),
        jax.jit(draw)(derived(jax.random.key(7)), (), 0.0),
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (lambda: 0, "key is int: one key is needed"),
        (lambda: None, "key is NoneType"),
        (lambda: jnp.zeros(2), r"key is float32 \[2\]"),
        (lambda: jax.random.split(jax.random.key(0)), r"key is key<fry> \[2\]"),
        (lambda: jax.random.key(0, impl="unsafe_rbg"), "generator 'unsafe_rbg'"),
        (lambda: jnp.zeros(4, jnp.uint32), r"key is uint32 \[4\]"),
    ],
)
def test_what_is_no_key_of_this_generator_is_refused(key, message) -> None:
    for call in (
        lambda: aaa_jax.large_batch(key(), pictures(4, 5), some_policies((2, 5, 2))),
        lambda: aaa_jax.standard_augment(key(), pictures(4, 5)),
        lambda: aaa_jax.random_source(2).sample(key(), (), 0.0),
        lambda: aaa_jax.adversarial_source(2).init(key()),
    ):
        with pytest.raises(ValueError, match=message):
            call()
