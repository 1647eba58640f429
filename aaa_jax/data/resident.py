"""A dataset that lives on the device: the order of an epoch, and images at places.

An epoch's order depends on that epoch's key alone, so that a run resumes at any step.
"""

import chex
import jax
import jax.numpy as jnp

from aaa_jax.runtime import randomness


@randomness.drawing
def epoch_permutation(key: jax.Array, num_images: int) -> jax.Array:
    """The order of an epoch's images, int32 [num_images], by a key of this epoch."""
    return jax.random.permutation(key, jnp.arange(num_images, dtype=jnp.int32))


def gather(
    images: jax.Array, labels: jax.Array, indices: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The images and labels at some indices.

    Args:
        images: uint8 [n, H, W, C].
        labels: int32 [n].
        indices: int32 [B], each 0 to n - 1, repeats allowed.

    Returns:
        uint8 [B, H, W, C], int32 [B].
    """
    chex.assert_rank([images, labels, indices], [4, 1, 1])
    chex.assert_equal_shape_prefix([images, labels], 1)
    rows = images.at[indices].get(mode="promise_in_bounds")
    return rows, labels.at[indices].get(mode="promise_in_bounds")
