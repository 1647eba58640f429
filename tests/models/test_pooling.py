"""Maxima against NumPy and XLA's own; averages are part of networks in NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.models.pooling import max_pool
from tests.oracles.models_numpy import max_pool as numpy_max_pool

pytestmark = pytest.mark.usefixtures("light_compiler")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (1, 2), (3, 8)])
def test_max_pool_and_its_gradient_are_those_of_flax_also_on_ties(size, dtype):
    generator = np.random.default_rng(1)
    # Small integers: many ties, and sums of gradients are exact in any order.
    x = jnp.asarray(generator.integers(-2, 3, (2, *size, 3)), dtype)

    def plain(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    y, pull = jax.vjp(max_pool, x)
    expected, plain_pull = jax.vjp(plain, x)
    np.testing.assert_array_equal(y, numpy_max_pool(np.asarray(x, np.float64)))
    np.testing.assert_array_equal(y, expected)
    g = jnp.asarray(generator.integers(-3, 4, y.shape), dtype)
    np.testing.assert_array_equal(pull(g)[0], plain_pull(g)[0])
    assert y.dtype == dtype


def test_max_pool_has_no_select_and_scatter():
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).sum()))
    text = gradient.lower(jnp.zeros((1, 8, 8, 2))).as_text()
    assert "scatter" not in text
