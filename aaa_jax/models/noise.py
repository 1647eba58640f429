"""Noise of the Shake networks: one set of coefficients per row of the large batch.

The noise of a row is drawn from the network's key and the row's index in the large
batch, so that it does not depend on the device that holds the row. One draw serves all
layers.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.runtime import randomness


def network_noise(
    network: nn.Module,
    images: jax.Array,
    rows: jax.Array | None,
    num_layers: int,
    num_values: int,
) -> jax.Array:
    """The noise of a network's training pass: `row_noise` with its rng "noise".

    rows None stands for 0 ... B - 1, the rows of a large batch on one device.
    """
    if rows is None:
        rows = jnp.arange(images.shape[0])
    chex.assert_shape(rows, (images.shape[0],))
    with randomness.fixed_draws():
        key = network.make_rng("noise")
    return row_noise(key, rows, num_layers, num_values)


@randomness.drawing
def row_noise(
    key: jax.Array, rows: jax.Array, num_layers: int, num_values: int
) -> jax.Array:
    """Uniform values in [0, 1) for each row, float32 [B, num_layers, num_values].

    They come from fold_in(key, row); rows int32 [B] are places in the large batch.
    """
    chex.assert_rank(rows, 1)

    def draw(row: jax.Array) -> jax.Array:
        # Flat, because a draw of higher rank takes longer to compile.
        return jax.random.uniform(
            jax.random.fold_in(key, row), (num_layers * num_values,), jnp.float32
        )

    return jax.vmap(draw)(rows).reshape(-1, num_layers, num_values)


@jax.custom_vjp
def scale_rows(x: jax.Array, forward: jax.Array, backward: jax.Array) -> jax.Array:
    """Each row of x times its forward coefficient; its gradient times the backward one.

    x is float [B, ...], as the result; the coefficients, float32 [B], get no gradient.
    The products are taken in float32.
    """
    chex.assert_shape([forward, backward], (x.shape[0],))
    return _scaled(x, forward)


def _scaled(x: jax.Array, factor: jax.Array) -> jax.Array:
    factor = factor.reshape(-1, *(1,) * (x.ndim - 1))
    return (x.astype(jnp.float32) * factor).astype(x.dtype)


def _forward(
    x: jax.Array, forward: jax.Array, backward: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return scale_rows(x, forward, backward), backward


def _backward(backward: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None, None]:
    return _scaled(gradient, backward), None, None


scale_rows.defvjp(_forward, _backward)
