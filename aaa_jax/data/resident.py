"""The order of a dataset that lives on the device, and its gathering there.

An epoch's order is a function of that epoch's key alone, and a step's images of order
and step alone, so that a run resumes at any step. A last mini-batch that would not be
full is left out; which images it misses changes with the epoch.
"""

import chex
import jax
import jax.numpy as jnp


def epoch_permutation(key: jax.Array, num_images: int) -> jax.Array:
    """The order of an epoch's images, int32 [num_images].

    Args:
        key: the epoch's own, folded from the root key, the stream and the epoch.
        num_images: size of the split.
    """
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
