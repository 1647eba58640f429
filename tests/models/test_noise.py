"""Shake noise: coefficients, rows, gradients against explicit formulas."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.models.noise import network_noise, row_noise, scale_rows
from aaa_jax.models.pyramidnet import shake_drop

pytestmark = pytest.mark.usefixtures("light_compiler")

KEY = jax.random.key(3)
WRAPPERS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": lambda f: lambda *args: jax.vmap(f)(*(a[None] for a in args))[0],
}


def test_the_noise_of_a_row_does_not_depend_on_other_rows():
    rows = jnp.arange(100, 112)
    whole = row_noise(KEY, rows, 5, 3)
    shares = [row_noise(KEY, share, 5, 3) for share in jnp.split(rows, 4)]
    np.testing.assert_array_equal(jnp.concatenate(shares), whole)
    np.testing.assert_array_equal(row_noise(KEY, rows[::-1], 5, 3), whole[::-1])
    alone = jax.random.uniform(jax.random.fold_in(KEY, 107), (5, 3))
    np.testing.assert_array_equal(whole[7], alone)


class Noisy(nn.Module):
    @nn.compact
    def __call__(self, images, rows=None):
        return network_noise(self, images, rows, 2, 3)


def test_rows_of_none_are_counted_from_zero_and_wrong_ones_refused():
    images = jnp.zeros((4, 1, 1, 3))
    draw = Noisy().apply({}, images, rngs={"noise": KEY})
    given = Noisy().apply({}, images, jnp.arange(4), rngs={"noise": KEY})
    np.testing.assert_array_equal(draw, given)
    other = Noisy().apply({}, images, rngs={"noise": jax.random.key(4)})
    assert not np.isclose(draw, other).any()
    with pytest.raises(AssertionError, match="shape"):
        Noisy().apply({}, images, jnp.arange(3), rngs={"noise": KEY})


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
def test_rows_are_scaled_forward_and_backward_by_their_own_coefficients(wrapper, dtype):
    x, g = (
        jax.random.normal(key, (4, 3, 2, 5), dtype) for key in jax.random.split(KEY)
    )
    forward = jnp.array([-1.0, 0.3, 0.0, 0.7])
    backward = jnp.array([0.2, 1.0, 0.9, 0.1])
    y, pull = jax.vjp(wrapper(scale_rows), x, forward, backward)
    dx, d_forward, d_backward = pull(g)

    def product(a, coefficients):
        coefficients = np.asarray(coefficients)[:, None, None, None]
        return jnp.asarray(np.asarray(a, np.float32) * coefficients).astype(dtype)

    # One float32 product of the same numbers, rounded once: bit-equal.
    np.testing.assert_array_equal(y, product(x, forward))
    np.testing.assert_array_equal(dx, product(g, backward))
    assert y.dtype == dx.dtype == dtype
    assert not d_forward.any()
    assert not d_backward.any()


def test_shake_drop_follows_its_formula_in_both_directions():
    gate = 0.6
    noise = row_noise(KEY, jnp.arange(64), 1, 3)[:, 0]
    x, g = (jax.random.normal(key, (64, 2, 2, 3)) for key in jax.random.split(KEY))
    y, pull = jax.vjp(lambda x: shake_drop(x, gate, noise), x)
    u = np.asarray(noise, np.float64)
    b, a, c = (u[:, 0] < gate).astype(float), 2 * u[:, 1] - 1, u[:, 2]
    assert 0 < b.sum() < 64
    factors = [z[:, None, None, None] for z in (b + a - b * a, b + c - b * c)]
    np.testing.assert_allclose(y, np.asarray(x) * factors[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        pull(g)[0], np.asarray(g) * factors[1], rtol=1e-6, atol=1e-7
    )


def test_shake_drop_without_noise_is_the_expectation():
    x = jax.random.normal(KEY, (3, 2, 2, 4))
    y = shake_drop(x, 0.6, None)
    np.testing.assert_allclose(y, 0.6 * np.asarray(x), rtol=1e-6)
    noise = row_noise(KEY, jnp.arange(20_000), 1, 3)[:, 0]
    factors = shake_drop(jnp.ones((20_000, 1)), 0.6, noise)
    # a factor's deviation is at most 1: the mean's is 0.007
    np.testing.assert_allclose(factors.mean(), 0.6, atol=0.03)
