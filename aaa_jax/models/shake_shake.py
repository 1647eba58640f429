"""Shake-Shake (Gastaldi 2017, https://arxiv.org/abs/1705.07485)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.layers import Classifier, Layers, Network, block_places
from aaa_jax.models.noise import network_noise, scale_rows


class ShakeShake(Network, kw_only=True):
    """Shake-Shake depth 2x(width)d: convolution, BN, three stages, ReLU, classifier.

    Attributes:
        depth: 6n + 2 (8, 14, 20, 26, ...), with n blocks in each stage.
        width: channels of a branch in the first stage, an even number.
    """

    depth: int = 26
    width: int = 32

    def __post_init__(self) -> None:
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ValueError(
                "a Shake-Shake network's depth is 6n + 2 (8, 14, 20, 26, ...): "
                f"{self.depth}"
            )
        if self.width < 2 or self.width % 2:
            raise ValueError(
                f"a Shake-Shake network's width is even, 2 or more: {self.width}"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, rows: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, K] of normalised images float [B, H, W, C]."""
        chex.assert_rank(images, 4)
        places = list(block_places(3 * [(self.depth - 2) // 6]))
        noise = network_noise(self, images, rows, len(places), 2) if train else None
        block = self.block_maker(ShakeShakeBlock)
        x = self.convolve("stem", images.astype(self.dtype), 16, 3)
        x = self.normalize("norm", x, train)
        for layer, (stage, stride, name) in enumerate(places):
            layer_noise = None if noise is None else noise[:, layer]
            channels = self.width * 2**stage
            x = block(channels=channels, stride=stride, name=name)(
                x, train, layer_noise
            )
        return Classifier(self.num_classes, name="classifier")(nn.relu(x), train)


class ShakeShakeBlock(Layers, kw_only=True):
    """shortcut(x) + a * branch1(x) + (1 - a) * branch2(x).

    In training a ~ U(0, 1) for each row, and the gradient has another, independent
    U(0, 1) in its place; in evaluation a = 1/2.

    Silent: the coefficients are per image and the branches' add up to one, as in
    Gastaldi's code ("Shake-Shake-Image").
    """

    channels: int
    stride: int

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, noise: jax.Array | None = None
    ) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, channels].

        noise: float32 [B, 2], uniform: a of the forward and of the backward pass.
        """
        y1 = self._branch("branch1", x, train)
        y2 = self._branch("branch2", x, train)
        if x.shape[-1] != self.channels:
            x = self._shortcut(nn.relu(x), train)
        if noise is None:
            return x + 0.5 * (y1 + y2)
        forward, backward = noise[:, 0], noise[:, 1]
        y1 = scale_rows(y1, forward, backward)
        y2 = scale_rows(y2, 1 - forward, 1 - backward)
        return x + y1 + y2

    def _branch(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        """relu, 3x3 convolution, BN, relu, 3x3 convolution, BN."""
        for number, stride in ((1, self.stride), (2, 1)):
            conv = f"{name}_conv{number}"
            x = self.convolve(conv, nn.relu(x), self.channels, 3, stride)
            x = self.normalize(f"{name}_norm{number}", x, train)
        return x

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        """Two strided 1x1 convolutions, the second of x shifted by a pixel, then BN."""
        shifted = jnp.pad(x[:, :-1, :-1], ((0, 0), (1, 0), (1, 0), (0, 0)))
        half = self.channels // 2
        path1 = self.convolve("shortcut_conv1", x, half, 1, self.stride)
        path2 = self.convolve("shortcut_conv2", shifted, half, 1, self.stride)
        joined = jnp.concatenate([path1, path2], -1)
        return self.normalize("shortcut_norm", joined, train)
