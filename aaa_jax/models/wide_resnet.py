"""Wide-ResNet (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.models.layers import Classifier, block_class, conv

STAGES = ((16, 1), (32, 2), (64, 2))  # channels before widening, stride


def wide_resnet(
    *,
    num_classes: int,
    dtype: jnp.dtype = jnp.float32,
    bn_group_size: int | None = None,
    depth: int = 28,
    width: int = 10,
    remat: bool = False,
) -> "WideResNet":
    """Wide-ResNet-depth-width; depth = 6n + 4 (10, 16, 22, 28, 34, 40, ...).

    Silent: dropout is 0, as in AutoAugment's Wide-ResNet.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(
            f"a Wide-ResNet's depth is 6n + 4 (10, 16, 22, 28, 34, 40, ...): {depth}"
        )
    if width < 1:
        raise ValueError(f"a Wide-ResNet's width is at least 1: {width}")
    return WideResNet(num_classes, depth, width, bn_group_size, dtype, remat)


class WideResNet(nn.Module):
    """Convolution, three stages of (depth - 4) / 6 blocks, BN, ReLU, classifier."""

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

        rows is not used: this network has no noise.
        """
        del rows
        chex.assert_rank(images, 4)
        block = block_class(WideBlock, self.remat)
        x = images.astype(self.dtype)
        x = conv(16, 3, dtype=self.dtype, name="stem")(x)
        for stage, (channels, stage_stride) in enumerate(STAGES, start=1):
            for index in range(1, (self.depth - 4) // 6 + 1):
                x = block(
                    channels * self.width,
                    stage_stride if index == 1 else 1,
                    self.bn_group_size,
                    self.dtype,
                    name=f"stage{stage}_block{index}",
                )(x, train)
        x = GroupBatchNorm(self.bn_group_size, self.dtype, name="norm")(x, train)
        return Classifier(self.num_classes, name="classifier")(nn.relu(x))


class WideBlock(nn.Module):
    """x + conv(relu(bn(conv(relu(bn(x)))))), 3x3 both, the stride in the first.

    Where the number of channels changes the shortcut is a 1x1 convolution of the first
    relu(bn(x)), as in the authors' code.
    """

    channels: int
    stride: int
    bn_group_size: int | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, channels]."""
        dtype = self.dtype
        y = GroupBatchNorm(self.bn_group_size, dtype, name="norm1")(x, train)
        y = nn.relu(y)
        if x.shape[-1] != self.channels:
            x = conv(
                self.channels, 1, stride=self.stride, dtype=dtype, name="shortcut"
            )(y)
        y = conv(self.channels, 3, stride=self.stride, dtype=dtype, name="conv1")(y)
        y = GroupBatchNorm(self.bn_group_size, dtype, name="norm2")(y, train)
        y = conv(self.channels, 3, dtype=dtype, name="conv2")(nn.relu(y))
        return x + y
