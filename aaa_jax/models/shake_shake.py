"""Shake-Shake (Gastaldi 2017, https://arxiv.org/abs/1705.07485)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.models.layers import Classifier, block_class, conv
from aaa_jax.models.noise import network_noise, scale_rows


def shake_shake(
    *,
    num_classes: int,
    dtype: jnp.dtype = jnp.float32,
    bn_group_size: int | None = None,
    depth: int = 26,
    width: int = 32,
    remat: bool = False,
) -> "ShakeShake":
    """Shake-Shake depth 2x(width)d; depth = 6n + 2 (8, 14, 20, 26, ...)."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(
            f"a Shake-Shake network's depth is 6n + 2 (8, 14, 20, 26, ...): {depth}"
        )
    if width < 2 or width % 2:
        raise ValueError(f"a Shake-Shake network's width is even, 2 or more: {width}")
    return ShakeShake(num_classes, depth, width, bn_group_size, dtype, remat)


class ShakeShake(nn.Module):
    """Convolution, BN, three stages of (depth - 2) / 6 blocks, ReLU, classifier."""

    num_classes: int
    depth: int
    width: int
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
        blocks = (self.depth - 2) // 6
        noise = network_noise(self, images, rows, 3 * blocks, 2) if train else None
        block = block_class(ShakeShakeBlock, self.remat)
        x = conv(16, 3, dtype=self.dtype, name="stem")(images.astype(self.dtype))
        x = GroupBatchNorm(self.bn_group_size, self.dtype, name="norm")(x, train)
        for layer in range(3 * blocks):
            stage, index = divmod(layer, blocks)
            x = block(
                self.width * 2**stage,
                2 if stage > 0 and index == 0 else 1,
                self.bn_group_size,
                self.dtype,
                name=f"stage{stage + 1}_block{index + 1}",
            )(x, train, None if noise is None else noise[:, layer])
        return Classifier(self.num_classes, name="classifier")(nn.relu(x))


class ShakeShakeBlock(nn.Module):
    """shortcut(x) + a * branch1(x) + (1 - a) * branch2(x).

    In training a ~ U(0, 1) for each row, and another, independent U(0, 1) takes its
    place in the gradient; in evaluation a = 1/2.

    Silent: the coefficients are per image and the branches' add up to one, as in
    Gastaldi's code ("Shake-Shake-Image").
    """

    channels: int
    stride: int
    bn_group_size: int | None
    dtype: jnp.dtype

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
            layer = conv(
                self.channels,
                3,
                stride=stride,
                dtype=self.dtype,
                name=f"{name}_conv{number}",
            )
            x = self._norm(f"{name}_norm{number}", layer(nn.relu(x)), train)
        return x

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        """Two strided 1x1 convolutions, the second of x shifted by a pixel, then BN."""
        shifted = jnp.pad(x[:, :-1, :-1], ((0, 0), (1, 0), (1, 0), (0, 0)))
        paths = [
            conv(
                self.channels // 2,
                1,
                stride=self.stride,
                dtype=self.dtype,
                name=f"shortcut_conv{number}",
            )(path)
            for number, path in ((1, x), (2, shifted))
        ]
        return self._norm("shortcut_norm", jnp.concatenate(paths, -1), train)

    def _norm(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return GroupBatchNorm(self.bn_group_size, self.dtype, name=name)(x, train)
