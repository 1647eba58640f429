"""PyramidNet (Han et al. 2017, https://arxiv.org/abs/1610.02915) with ShakeDrop.

ShakeDrop: Yamada et al. 2018, https://arxiv.org/abs/1802.02375.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.models.layers import Classifier, block_class, conv
from aaa_jax.models.noise import network_noise, scale_rows
from aaa_jax.models.pooling import average_pool

STEM_CHANNELS = 16
EXPANSION = 4


def pyramidnet(
    *,
    num_classes: int,
    dtype: jnp.dtype = jnp.float32,
    bn_group_size: int | None = None,
    depth: int = 272,
    widening: int = 200,
    last_gate: float = 0.5,
    remat: bool = False,
) -> "PyramidNet":
    """PyramidNet of bottlenecks with ShakeDrop; depth = 9n + 2 (11, 20, ..., 272).

    widening is what the channels grow by in all, last_gate the last block's probability
    of a pass without noise; 1 turns ShakeDrop off.
    """
    if depth < 11 or (depth - 2) % 9:
        raise ValueError(f"a PyramidNet's depth is 9n + 2 (11, 20, ..., 272): {depth}")
    if widening < 0:
        raise ValueError(f"a PyramidNet's widening is at least 0: {widening}")
    if not 0 <= last_gate <= 1:
        raise ValueError(f"last_gate is a probability, 0 to 1: {last_gate}")
    return PyramidNet(
        num_classes, depth, widening, last_gate, bn_group_size, dtype, remat
    )


class PyramidNet(nn.Module):
    """Convolution, BN, three stages of (depth - 2) / 9 blocks, BN, ReLU, classifier."""

    num_classes: int
    depth: int
    widening: int
    last_gate: float
    bn_group_size: int | None
    dtype: jnp.dtype
    remat: bool

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, rows: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, K] of normalised images float [B, H, W, C].

        In training the rng "noise" is needed; rows int32 [B] are the images' indices in
        the large batch, None for 0 ... B - 1.
        """
        chex.assert_rank(images, 4)
        blocks = (self.depth - 2) // 9
        num_layers = 3 * blocks
        noise = network_noise(self, images, rows, num_layers, 3) if train else None
        block = block_class(PyramidBlock, self.remat)
        x = conv(STEM_CHANNELS, 3, dtype=self.dtype, name="stem")(
            images.astype(self.dtype)
        )
        x = GroupBatchNorm(self.bn_group_size, self.dtype, name="norm1")(x, train)
        for layer in range(num_layers):
            stage, index = divmod(layer, blocks)
            x = block(
                _block_channels(layer + 1, num_layers, self.widening),
                2 if stage > 0 and index == 0 else 1,
                1 - (layer + 1) / num_layers * (1 - self.last_gate),
                self.bn_group_size,
                self.dtype,
                name=f"stage{stage + 1}_block{index + 1}",
            )(x, train, None if noise is None else noise[:, layer])
        x = GroupBatchNorm(self.bn_group_size, self.dtype, name="norm2")(x, train)
        return Classifier(self.num_classes, name="classifier")(nn.relu(x))


def _block_channels(number: int, num_layers: int, widening: int) -> int:
    """16 + widening * number / num_layers, rounded half up, for number = 1, 2, ..."""
    return STEM_CHANNELS + (2 * widening * number + num_layers) // (2 * num_layers)


class PyramidBlock(nn.Module):
    """shortcut(x) + shake_drop(bn, 1x1, bn, relu, 3x3, bn, relu, 1x1, bn of x).

    The shortcut is the 2x2 mean where the stride is 2, with zeros as new channels.
    """

    channels: int
    stride: int
    gate: float
    bn_group_size: int | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, noise: jax.Array | None = None
    ) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, 4 * channels].

        noise: float32 [B, 3], uniform: see `shake_drop`.
        """
        wide = EXPANSION * self.channels
        y = self._norm("norm1", x, train)
        y = conv(self.channels, 1, dtype=self.dtype, name="conv1")(y)
        y = nn.relu(self._norm("norm2", y, train))
        y = conv(self.channels, 3, stride=self.stride, dtype=self.dtype, name="conv2")(
            y
        )
        y = nn.relu(self._norm("norm3", y, train))
        y = conv(wide, 1, dtype=self.dtype, name="conv3")(y)
        y = self._norm("norm4", y, train)
        if self.stride == 2:
            x = average_pool(x)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, wide - x.shape[-1])))
        return x + shake_drop(y, self.gate, noise)

    def _norm(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return GroupBatchNorm(self.bn_group_size, self.dtype, name=name)(x, train)


def shake_drop(x: jax.Array, gate: float, noise: jax.Array | None) -> jax.Array:
    """Scale each row by b + a - b a in the forward, b + c - b c in the backward pass.

    For each row b is 1 with probability gate and 0 else, a ~ U(-1, 1), c ~ U(0, 1).
    Without noise (evaluation) both factors are their expectation with a, which is gate.

    Args:
        x: float [B, ...].
        gate: probability of a pass without noise, 0 to 1.
        noise: float32 [B, 3], uniform in [0, 1): of b, a and c; or None.
    """
    if noise is None:
        expectation = jnp.full(x.shape[0], gate)
        return scale_rows(x, expectation, expectation)
    kept = noise[:, 0] < gate
    forward = jnp.where(kept, 1.0, 2 * noise[:, 1] - 1)
    backward = jnp.where(kept, 1.0, noise[:, 2])
    return scale_rows(x, forward, backward)
