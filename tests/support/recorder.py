"""The tiny network, and in its statistics a fingerprint of every row it was shown."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tests.support.tiny import Tiny

NUM_ROWS = 64  # N * M of tests/support/pods.py
# Of the digits, whose images are grey: what the loop normalises with.
_LEVELS = 255.0


class Recorder(nn.Module):
    """`Tiny`, with float32 [NUM_ROWS, 2] for the rows of the last step.

    A row's fingerprint is a weighted sum of its pixels, normalised, rounded to 1/255
    and summed modulo 2**32, so that it does not depend on the order of summation; its
    halves are exact in float32. Rows that a device does not hold are zero there.
    """

    num_classes: int
    bn_group_size: int | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, images, train, rows=None):
        shape = (NUM_ROWS, 2)
        seen = self.variable("batch_stats", "seen", jnp.zeros, shape, jnp.float32)
        if train and rows is not None:
            pixels = jnp.round(images * _LEVELS).astype(jnp.int32).astype(jnp.uint32)
            flat = pixels.reshape(len(images), -1)
            weights = jnp.arange(flat.shape[1], dtype=jnp.uint32) * jnp.uint32(
                2654435761
            )
            total = jnp.sum(flat * weights[None], axis=1, dtype=jnp.uint32)
            halves = jnp.stack([total >> 16, total & 0xFFFF], axis=1)
            found = jnp.zeros(shape, jnp.float32)
            seen.value = jax.lax.stop_gradient(
                found.at[rows].set(halves.astype(jnp.float32))
            )
        tiny = Tiny(self.num_classes, self.bn_group_size, self.dtype)
        return tiny(images, train)


def factory(*, num_classes, dtype, bn_group_size):
    return Recorder(num_classes, bn_group_size, dtype)
