"""ResNet v1.5 (He et al. 2015, https://arxiv.org/abs/1512.03385) and ResNet-D.

Version 1.5 strides in the 3x3 convolution of a bottleneck instead of the first 1x1.
ResNet-D: "Bag of Tricks" (He et al. 2018, https://arxiv.org/abs/1812.01187).
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.models.layers import Classifier, block_class, conv
from aaa_jax.models.pooling import average_pool, max_pool

STAGE_SIZES = {
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
VARIANTS = ("v1.5", "d")
EXPANSION = 4


def resnet(
    *,
    num_classes: int,
    dtype: jnp.dtype = jnp.float32,
    bn_group_size: int | None = None,
    depth: int = 50,
    variant: str = "v1.5",
    width: int = 64,
    zero_last_scale: bool = True,
    remat: bool = False,
) -> "ResNet":
    """ResNet of bottlenecks for images of about 224 pixels.

    variant "d" has the stem of three 3x3 convolutions and averages pixels in the
    shortcut; width is the number of channels in the first stage's 3x3 convolutions.

    Silent: zero_last_scale starts every block as the identity (scale 0 in its last
    batch normalisation), as Goyal et al. 2017 and "Bag of Tricks" do at large batches.
    """
    if depth not in STAGE_SIZES:
        raise ValueError(f"a ResNet's depth is one of {tuple(STAGE_SIZES)}: {depth}")
    if variant not in VARIANTS:
        raise ValueError(f"a ResNet's variant is one of {VARIANTS}: {variant!r}")
    if width < 2 or width % 2:
        raise ValueError(f"a ResNet's width is even, 2 or more: {width}")
    return ResNet(
        num_classes,
        STAGE_SIZES[depth],
        variant == "d",
        width,
        zero_last_scale,
        bn_group_size,
        dtype,
        remat,
    )


class ResNet(nn.Module):
    """Stem, four stages of bottlenecks, classifier."""

    num_classes: int
    stage_sizes: tuple[int, ...]
    variant_d: bool
    width: int
    zero_last_scale: bool
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
        block = block_class(Bottleneck, self.remat)
        x = max_pool(self._stem(images.astype(self.dtype), train))
        for stage, size in enumerate(self.stage_sizes):
            for index in range(size):
                x = block(
                    self.width * 2**stage,
                    2 if stage > 0 and index == 0 else 1,
                    self.variant_d,
                    self.zero_last_scale,
                    self.bn_group_size,
                    self.dtype,
                    name=f"stage{stage + 1}_block{index + 1}",
                )(x, train)
        return Classifier(self.num_classes, name="classifier")(x)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """7x7 with stride 2, or three 3x3 of which the first has it; BN and ReLU."""
        half = self.width // 2
        plain = ((self.width, 7, 2),)
        deep = ((half, 3, 2), (half, 3, 1), (self.width, 3, 1))
        layers = deep if self.variant_d else plain
        for number, (channels, kernel, stride) in enumerate(layers, start=1):
            x = conv(
                channels,
                kernel,
                stride=stride,
                dtype=self.dtype,
                name=f"stem_conv{number}",
            )(x)
            norm = GroupBatchNorm(
                self.bn_group_size, self.dtype, name=f"stem_norm{number}"
            )
            x = nn.relu(norm(x, train))
        return x


class Bottleneck(nn.Module):
    """relu(shortcut(x) + 1x1, 3x3, 1x1 convolutions of x), BN after each.

    Where the shape changes the shortcut is a 1x1 convolution and BN: with the stride
    in it, or, in variant D, after a 2x2 mean.
    """

    channels: int
    stride: int
    variant_d: bool
    zero_last_scale: bool
    bn_group_size: int | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, 4 * channels]."""
        wide = EXPANSION * self.channels
        zeros = nn.initializers.zeros if self.zero_last_scale else nn.initializers.ones
        y = conv(self.channels, 1, dtype=self.dtype, name="conv1")(x)
        y = nn.relu(self._norm("norm1")(y, train))
        y = conv(self.channels, 3, stride=self.stride, dtype=self.dtype, name="conv2")(
            y
        )
        y = nn.relu(self._norm("norm2")(y, train))
        y = conv(wide, 1, dtype=self.dtype, name="conv3")(y)
        y = self._norm("norm3", zeros)(y, train)
        if x.shape[-1] != wide or self.stride != 1:
            x = self._shortcut(x, wide, train)
        return nn.relu(x + y)

    def _shortcut(self, x: jax.Array, channels: int, train: bool) -> jax.Array:
        stride = self.stride
        if self.variant_d and stride == 2:
            x, stride = average_pool(x), 1
        x = conv(channels, 1, stride=stride, dtype=self.dtype, name="shortcut_conv")(x)
        return self._norm("shortcut_norm")(x, train)

    def _norm(
        self, name: str, scale_init: nn.initializers.Initializer = nn.initializers.ones
    ) -> GroupBatchNorm:
        return GroupBatchNorm(self.bn_group_size, self.dtype, scale_init, name=name)
