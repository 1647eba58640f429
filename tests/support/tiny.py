"""A network that compiles in a moment, for tests of everything around it."""

import flax.linen as nn
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm


class Tiny(nn.Module):
    """A strided convolution, grouped BatchNorm and a linear layer."""

    num_classes: int
    bn_group_size: int | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, images, train, rows=None):
        x = nn.Conv(8, (4, 4), strides=4, use_bias=False, dtype=self.dtype)(images)
        x = nn.relu(GroupBatchNorm(self.bn_group_size, self.dtype)(x, train=train))
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)).astype(jnp.float32))


def factory(*, num_classes, dtype, bn_group_size):
    return Tiny(num_classes, bn_group_size, dtype)
