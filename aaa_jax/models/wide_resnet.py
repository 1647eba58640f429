"""Wide-ResNet (Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146)."""

import chex
import flax.linen as nn
import jax

from aaa_jax.models.layers import Classifier, Layers, Network, block_places


class WideResNet(Network, kw_only=True):
    """Convolution, three stages of blocks, BN, ReLU, classifier.

    Silent: dropout is 0, as in AutoAugment's Wide-ResNet.

    Attributes:
        depth: 6n + 4 (10, 16, 22, 28, 34, 40, ...), with n blocks in each stage.
        width: factor of the channels, which are 16, 32 and 64 without it.
        stem_stride: 1; not in the paper: 2, for cheap runs, quarters all maps.
    """

    depth: int = 28
    width: int = 10
    stem_stride: int = 1

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(
                "a Wide-ResNet's depth is 6n + 4 (10, 16, 22, 28, 34, 40, ...): "
                f"{self.depth}"
            )
        if self.width < 1:
            raise ValueError(f"a Wide-ResNet's width is at least 1: {self.width}")
        if self.stem_stride < 1:
            raise ValueError(
                f"a Wide-ResNet's stem_stride is at least 1: {self.stem_stride}"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, rows: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, K] of normalised images float [B, H, W, C]."""
        chex.assert_rank(images, 4)
        block = self.block_maker(WideBlock)
        x = self.convolve("stem", images.astype(self.dtype), 16, 3, self.stem_stride)
        for stage, stride, name in block_places(3 * [(self.depth - 4) // 6]):
            channels = 16 * 2**stage * self.width
            x = block(channels=channels, stride=stride, name=name)(x, train)
        x = nn.relu(self.normalize("norm", x, train))
        return Classifier(self.num_classes, name="classifier")(x, train)


class WideBlock(Layers, kw_only=True):
    """x + conv(relu(bn(conv(relu(bn(x)))))), 3x3 both, the stride in the first.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the first
    relu(bn(x)), as in the authors' code.
    """

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] to [B, H / stride, W / stride, channels]."""
        y = nn.relu(self.normalize("norm1", x, train))
        if x.shape[-1] != self.channels:
            x = self.convolve("shortcut", y, self.channels, 1, self.stride)
        y = self.convolve("conv1", y, self.channels, 3, self.stride)
        y = nn.relu(self.normalize("norm2", y, train))
        return x + self.convolve("conv2", y, self.channels, 3)
