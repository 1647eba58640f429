"""ResNet v1.5 (He et al. 2015, https://arxiv.org/abs/1512.03385) and two variants.

Version 1.5 strides in the 3x3 convolution of a bottleneck instead of the first 1x1.
ResNet-D: "Bag of Tricks" (He et al. 2018, https://arxiv.org/abs/1812.01187).
Pre-activation: "Identity Mappings in Deep Residual Networks" (He et al. 2016,
https://arxiv.org/abs/1603.05027), with the same stride in the 3x3 convolution.
Silent: which ResNet-200 the paper trained. Here it is v1.5 as its ResNet-50 is, so that
Table 3 compares depths; the network's authors built it with pre-activation.
"""

import chex
import flax.linen as nn
import jax

from aaa_jax.models.layers import Classifier, Layers, Network, block_places
from aaa_jax.models.pooling import average_pool, max_pool

BASIC_SIZES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # of blocks of two 3x3 convolutions
STAGE_SIZES = {  # of bottlenecks
    14: (1, 1, 1, 1),
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
VARIANTS = ("v1.5", "d", "pre_activation")
EXPANSION = 4


class ResNet(Network, kw_only=True):
    """Stem, four stages of blocks, classifier; for images of about 224 pixels.

    Silent: zero_last_scale starts every block as the identity (scale 0 in its last
    batch normalisation), as Goyal et al. 2017 and "Bag of Tricks" do at large batches.

    Attributes:
        depth: a key of `STAGE_SIZES`, or of `BASIC_SIZES`.
        variant: "v1.5"; "d", which has a stem of three 3x3 convolutions and averages
            pixels in the shortcut; or "pre_activation", of bottlenecks only.
        width: channels of the first stage's 3x3 convolutions, an even number.
        zero_last_scale: see above; of "pre_activation" no norm is last in its block.
    """

    depth: int = 50
    variant: str = "v1.5"
    width: int = 64
    zero_last_scale: bool = True

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(
                f"a ResNet's variant is one of {VARIANTS}: {self.variant!r}"
            )
        has_bottlenecks = self.variant == "pre_activation"
        depths = STAGE_SIZES if has_bottlenecks else BASIC_SIZES | STAGE_SIZES
        if self.depth not in depths:
            raise ValueError(
                f"of variant {self.variant!r} a ResNet's depth is one of "
                f"{tuple(sorted(depths))}: {self.depth}"
            )
        if self.width < 2 or self.width % 2:
            raise ValueError(f"a ResNet's width is even, 2 or more: {self.width}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, rows: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, K] of normalised images float [B, H, W, C]."""
        chex.assert_rank(images, 4)
        is_pre = self.variant == "pre_activation"
        is_basic = self.depth in BASIC_SIZES
        kind = PreActivation if is_pre else BasicBlock if is_basic else Bottleneck
        block = self.block_maker(kind)
        x = max_pool(self._stem(images.astype(self.dtype), train))
        sizes = (BASIC_SIZES | STAGE_SIZES)[self.depth]
        for stage, stride, name in block_places(sizes):
            x = block(
                channels=self.width * 2**stage,
                stride=stride,
                variant=self.variant,
                zero_last_scale=self.zero_last_scale,
                name=name,
            )(x, train)
        if is_pre:
            x = nn.relu(self.normalize("last_norm", x, train))
        return Classifier(self.num_classes, name="classifier")(x, train)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """A 7x7 layer with stride 2, or three 3x3 of which the first has the stride."""
        half = self.width // 2
        plain = ((self.width, 7, 2),)
        deep = ((half, 3, 2), (half, 3, 1), (self.width, 3, 1))
        layers = deep if self.variant == "d" else plain
        for number, (channels, kernel, stride) in enumerate(layers, start=1):
            x = self.convolve(f"stem_conv{number}", x, channels, kernel, stride)
            if self.variant == "pre_activation":
                return x
            x = nn.relu(self.normalize(f"stem_norm{number}", x, train))
        return x


class Block(Layers, kw_only=True):
    """relu(shortcut(x) + convolutions of x), BN after each, in both of its kinds.

    Where the shape changes, the shortcut is a 1x1 convolution and BN. The convolution
    has the stride; in variant "d" a 2x2 mean before it has.
    """

    channels: int
    stride: int
    variant: str
    zero_last_scale: bool

    def add(self, x: jax.Array, y: jax.Array, last_norm: str, train: bool) -> jax.Array:
        """The block's result, of its input and its last convolution's output."""
        starts = nn.initializers
        last_scale = starts.zeros if self.zero_last_scale else starts.ones
        y = self.normalize(last_norm, y, train, last_scale)
        if x.shape[-1] != y.shape[-1] or self.stride != 1:
            x = self._shortcut(x, y.shape[-1], train)
        return nn.relu(x + y)

    def _shortcut(self, x: jax.Array, channels: int, train: bool) -> jax.Array:
        stride = self.stride
        if self.variant == "d" and stride == 2:
            x, stride = average_pool(x), 1
        x = self.convolve("shortcut_conv", x, channels, 1, stride)
        return self.normalize("shortcut_norm", x, train)


class BasicBlock(Block, kw_only=True):
    """Two 3x3 convolutions, of which the first has the stride."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, channels]."""
        y = self.convolve("conv1", x, self.channels, 3, self.stride)
        y = nn.relu(self.normalize("norm1", y, train))
        y = self.convolve("conv2", y, self.channels, 3)
        return self.add(x, y, "norm2", train)


class Bottleneck(Block, kw_only=True):
    """1x1, 3x3 and 1x1 convolutions, of which the second has the stride."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, 4 * channels]."""
        y = self.convolve("conv1", x, self.channels, 1)
        y = nn.relu(self.normalize("norm1", y, train))
        y = self.convolve("conv2", y, self.channels, 3, self.stride)
        y = nn.relu(self.normalize("norm2", y, train))
        y = self.convolve("conv3", y, EXPANSION * self.channels, 1)
        return self.add(x, y, "norm3", train)


class PreActivation(Layers, kw_only=True):
    """shortcut(x) + 1x1, 3x3, 1x1 convolutions of x, each after BN and relu.

    Where the shape changes, the shortcut is a 1x1 convolution, with the stride, of x
    after the first BN and relu.
    """

    channels: int
    stride: int
    variant: str
    zero_last_scale: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, 4 * channels]."""
        wide = EXPANSION * self.channels
        y = nn.relu(self.normalize("norm1", x, train))
        if x.shape[-1] != wide or self.stride != 1:
            x = self.convolve("shortcut_conv", y, wide, 1, self.stride)
        y = self.convolve("conv1", y, self.channels, 1)
        y = nn.relu(self.normalize("norm2", y, train))
        y = self.convolve("conv2", y, self.channels, 3, self.stride)
        y = nn.relu(self.normalize("norm3", y, train))
        return x + self.convolve("conv3", y, wide, 1)
