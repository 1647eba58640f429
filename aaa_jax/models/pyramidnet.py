"""PyramidNet (Han et al. 2017, https://arxiv.org/abs/1610.02915) with ShakeDrop.

ShakeDrop: Yamada et al. 2018, https://arxiv.org/abs/1802.02375.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.layers import Classifier, Layers, Network, block_places
from aaa_jax.models.noise import network_noise, scale_rows
from aaa_jax.models.pooling import average_pool

STEM_CHANNELS = 16
EXPANSION = 4


class PyramidNet(Network, kw_only=True):
    """PyramidNet of bottlenecks with ShakeDrop.

    Convolution, BN, three stages of blocks, BN, ReLU, classifier.

    Attributes:
        depth: 9n + 2 (11, 20, ..., 272), with n blocks in each stage.
        widening: by how many channels the last block is wider than the stem.
        last_gate: the last block's probability of a pass without noise, 0 to 1; 1 turns
            ShakeDrop off.
    """

    depth: int = 272
    widening: int = 200
    last_gate: float = 0.5

    def __post_init__(self) -> None:
        if self.depth < 11 or (self.depth - 2) % 9:
            raise ValueError(
                f"a PyramidNet's depth is 9n + 2 (11, 20, ..., 272): {self.depth}"
            )
        if self.widening < 0:
            raise ValueError(f"a PyramidNet's widening is at least 0: {self.widening}")
        if not 0 <= self.last_gate <= 1:
            raise ValueError(f"last_gate is a probability, 0 to 1: {self.last_gate}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, rows: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, K] of normalised images float [B, H, W, C]."""
        chex.assert_rank(images, 4)
        places = list(block_places(3 * [(self.depth - 2) // 9]))
        num_layers = len(places)
        noise = network_noise(self, images, rows, num_layers, 3) if train else None
        block = self.block_maker(PyramidBlock)
        x = self.convolve("stem", images.astype(self.dtype), STEM_CHANNELS, 3)
        x = self.normalize("norm1", x, train)
        for layer, (_, stride, name) in enumerate(places):
            x = block(
                channels=_block_channels(layer + 1, num_layers, self.widening),
                stride=stride,
                gate=1 - (layer + 1) / num_layers * (1 - self.last_gate),
                name=name,
            )(x, train, None if noise is None else noise[:, layer])
        x = nn.relu(self.normalize("norm2", x, train))
        return Classifier(self.num_classes, name="classifier")(x, train)


def _block_channels(number: int, num_layers: int, widening: int) -> int:
    """16 + widening * number / num_layers, rounded half up, for number = 1, 2, ..."""
    return STEM_CHANNELS + (2 * widening * number + num_layers) // (2 * num_layers)


class PyramidBlock(Layers, kw_only=True):
    """shortcut(x) + shake_drop(bn, 1x1, bn, relu, 3x3, bn, relu, 1x1, bn of x).

    The shortcut is the 2x2 mean where the stride is 2, with zeros as new channels.
    """

    channels: int
    stride: int
    gate: float

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, noise: jax.Array | None = None
    ) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, 4 * channels].

        noise: float32 [B, 3], uniform: see `shake_drop`.
        """
        wide = EXPANSION * self.channels
        y = self.normalize("norm1", x, train)
        y = self.convolve("conv1", y, self.channels, 1)
        y = nn.relu(self.normalize("norm2", y, train))
        y = self.convolve("conv2", y, self.channels, 3, self.stride)
        y = nn.relu(self.normalize("norm3", y, train))
        y = self.normalize("norm4", self.convolve("conv3", y, wide, 1), train)
        if self.stride == 2:
            x = average_pool(x)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, wide - x.shape[-1])))
        return x + shake_drop(y, self.gate, noise)


def shake_drop(x: jax.Array, gate: float, noise: jax.Array | None) -> jax.Array:
    """Scale each row by b + a - b a in the forward, b + c - b c in the backward pass.

    For each row b is 1 with probability gate and 0 else, a ~ U(-1, 1), c ~ U(0, 1).
    Without noise (evaluation) both factors are gate, the expectation of the first.
    The noise float32 [B, 3], uniform in [0, 1), is that of b, a and c.
    """
    if noise is None:
        expectation = jnp.full(x.shape[0], gate)
        return scale_rows(x, expectation, expectation)
    kept = noise[:, 0] < gate
    forward = jnp.where(kept, 1.0, 2 * noise[:, 1] - 1)
    backward = jnp.where(kept, 1.0, noise[:, 2])
    return scale_rows(x, forward, backward)
