"""Grouped batch normalisation against NumPy in double."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.models.batch_norm import GroupBatchNorm
from tests.oracles.models_numpy import double

pytestmark = pytest.mark.usefixtures("light_compiler")

EPS = 1e-5
# float32 sums over up to 200 values of size ~3, and E[x^2] - E[x]^2:
ROUNDING = 2e-5


def example(rows=12, seed=0):
    generator = np.random.default_rng(seed)
    x = 1.5 * generator.normal(size=(rows, 3, 2, 5)) + generator.normal(size=5)
    params = {"scale": generator.uniform(0.5, 2, 5), "bias": generator.normal(size=5)}
    stats = {"mean": generator.normal(size=5), "var": generator.uniform(0.5, 2, 5)}
    variables = {"params": params, "batch_stats": stats}
    as_float32 = jax.tree.map(lambda leaf: leaf.astype(np.float32), (x, variables))
    return jax.tree.map(jnp.asarray, as_float32)


def numpy_batch_norm(x, variables, group_size):
    """Training mode: the output, and the running statistics after it."""
    x, variables = double((x, variables))
    params, stats = variables["params"], variables["batch_stats"]
    groups = x.reshape(-1, group_size, *x.shape[1:])
    means, variances = (f(groups, (1, 2, 3), keepdims=True) for f in (np.mean, np.var))
    outputs = (groups - means) / np.sqrt(variances + EPS)
    outputs = outputs * params["scale"] + params["bias"]
    running = {
        "mean": 0.9 * stats["mean"] + 0.1 * means.mean((0, 1, 2, 3)),
        "var": 0.9 * stats["var"] + 0.1 * variances.mean((0, 1, 2, 3)),
    }
    return outputs.reshape(x.shape), running


def train(x, variables, group_size, dtype=jnp.float32):
    norm = GroupBatchNorm(group_size, dtype)
    y, updates = norm.apply(variables, x, True, mutable=["batch_stats"])
    return y, updates["batch_stats"]


@pytest.mark.parametrize("group_size", [1, 3, 4, 12, None])
def test_training_normalises_each_group_by_its_own_statistics(group_size):
    x, variables = example()
    y, stats = jax.jit(train, static_argnums=2)(x, variables, group_size)
    expected, running = numpy_batch_norm(x, variables, group_size or len(x))
    np.testing.assert_allclose(y, expected, atol=ROUNDING)
    np.testing.assert_allclose(stats["mean"], running["mean"], atol=ROUNDING)
    np.testing.assert_allclose(stats["var"], running["var"], atol=ROUNDING)


def test_evaluation_uses_the_running_statistics_and_any_number_of_rows():
    x, variables = example(rows=7)
    y = GroupBatchNorm(4).apply(variables, x, False)
    x, variables = double((x, variables))
    params, stats = variables["params"], variables["batch_stats"]
    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + EPS)
    expected = expected * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, atol=ROUNDING)


def test_the_gradient_goes_through_the_statistics():
    """Shifting all values of a group changes nothing, so its gradient sums to zero."""
    x, variables = example(rows=4)
    weights = jax.random.normal(jax.random.key(1), x.shape)
    gradient = jax.grad(lambda x: (train(x, variables, 2)[0] * weights).sum())(x)
    assert np.abs(gradient).max() > 0.1
    sums = gradient.reshape(2, -1, 5).sum(1)
    np.testing.assert_allclose(sums, np.zeros((2, 5)), atol=ROUNDING)


@pytest.mark.parametrize("mode", [True, False])
def test_bfloat16_input_is_normalised_in_float32_and_rounded_once(mode):
    x, variables = example()
    x = x.astype(jnp.bfloat16)
    norm = GroupBatchNorm(4, jnp.bfloat16)
    y, updates = norm.apply(variables, x, mode, mutable=["batch_stats"])
    exact, _ = GroupBatchNorm(4).apply(
        variables, x.astype(jnp.float32), mode, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(updates)} == {"float32"}
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_a_constant_channel_becomes_the_bias():
    _, variables = example()
    y, stats = train(jnp.full((4, 3, 2, 5), 300.0), variables, 2)
    bias = jnp.broadcast_to(variables["params"]["bias"][None, None, None], y.shape)
    np.testing.assert_allclose(y, bias, atol=ROUNDING)
    assert (stats["var"] > 0).all()


@pytest.mark.parametrize("group_size", [5, 24, 0])
def test_rows_that_do_not_make_whole_groups_are_refused(group_size):
    x, variables = example(rows=12)
    with pytest.raises(ValueError, match=f"groups of {group_size} rows, and 12 rows"):
        train(x, variables, group_size)
