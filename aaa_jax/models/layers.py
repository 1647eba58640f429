"""What the network families share: convolution, normalisation, classifier, remat."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.models.batch_norm import GroupBatchNorm
from aaa_jax.runtime import randomness


@randomness.initializing
def conv_init(
    key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32
) -> jax.Array:
    """He normal over fan_out for a kernel [h, w, C_in, C_out] (He et al. 2015).

    Silent: the initial weights are those of the four families' reference code.
    The draw is flat because XLA takes five times as long to compile one of rank 4.
    """
    deviation = math.sqrt(2 / (shape[0] * shape[1] * shape[3]))
    draw = deviation * jax.random.normal(key, (math.prod(shape),), dtype)
    return draw.reshape(shape)


@randomness.initializing
def dense_init(
    key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32
) -> jax.Array:
    """Uniform in +-1/sqrt(fan_in) for a kernel [C_in, C_out], as Torch's Linear."""
    bound = 1 / math.sqrt(shape[0])
    draw = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
    return draw.reshape(shape)


def _convolve_few_pixels(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **options: Any,
) -> jax.Array:
    """`lax.conv_general_dilated` of x [B, H, W, C], fast for few pixels too.

    Where a kernel is larger than the image, or than its result in the backward pass,
    XLA exchanges the two, for which a CPU has no fast convolution. So such an image
    gets zeros on its far sides, and its result is cut. Barriers keep XLA from undoing
    that; nothing is changed but rounding.
    """

    def convolve(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    zeros = [
        max(0, (span - 1) * stride + span - sum(pad) - size)
        for size, span, stride, pad in zip(
            x.shape[1:3], kernel.shape[:2], strides, padding, strict=True
        )
    ]
    if not any(zeros):
        return convolve(x)
    height, width = jax.eval_shape(convolve, x).shape[1:3]
    larger = jnp.pad(x, [(0, 0), (0, zeros[0]), (0, zeros[1]), (0, 0)])
    result = convolve(jax.lax.optimization_barrier(larger))
    return jax.lax.optimization_barrier(result)[:, :height, :width]


class Layers(nn.Module, kw_only=True):
    """A network or a block, with the two layers that all of them are made of.

    Parameters and batch statistics are float32 whatever the dtype.
    """

    bn_group_size: int | None = None  # rows in a group; None: all rows given
    dtype: jax.typing.DTypeLike = jnp.float32  # of the computation

    def convolve(
        self, name: str, x: jax.Array, channels: int, kernel: int, stride: int = 1
    ) -> jax.Array:
        """A square convolution without bias, padded by kernel // 2 on every side.

        Explicit padding, not "SAME": with stride 2 XLA would pad an even image on one
        side only, and the networks would be half a pixel off the published ones.
        """
        layer = nn.Conv(
            channels,
            (kernel, kernel),
            strides=stride,
            padding=kernel // 2,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=conv_init,
            conv_general_dilated=_convolve_few_pixels,
            name=name,
        )
        return layer(x)

    def normalize(
        self,
        name: str,
        x: jax.Array,
        train: bool,
        scale_init: nn.initializers.Initializer = nn.initializers.ones,
    ) -> jax.Array:
        """Batch normalisation of x [B, H, W, C] over groups of rows."""
        norm = GroupBatchNorm(self.bn_group_size, self.dtype, scale_init, name=name)
        return norm(x, train)


class Network(Layers, kw_only=True):
    """What the networks share; `aaa_jax.models` says how they are called."""

    num_classes: int  # K
    remat: bool = False  # recompute a block's activations in the backward pass

    def block_maker(self, block: type[nn.Module]) -> Callable[..., nn.Module]:
        """Makes blocks of a kind, called with (x, train) or (x, train, noise)."""
        kind = nn.remat(block, static_argnums=(2,)) if self.remat else block
        shared = {"bn_group_size": self.bn_group_size, "dtype": self.dtype}
        return functools.partial(kind, **shared)


class Classifier(nn.Module):
    """Global mean over the pixels, then a dense layer with bias, both in float32."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [B, H, W, C] of any dtype to logits float32 [B, K]."""
        if not train and x.dtype != jnp.float32:
            # jax 0.11 and 0.12 fuse convolutions and this sum for CPUs; then it is NaN.
            x = jax.lax.optimization_barrier(x)
        pooled = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        dense = nn.Dense(self.num_classes, kernel_init=dense_init, name="dense")
        return dense(pooled)


def block_places(stage_sizes: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """The stage (from 0), the stride and the name of every block, in order.

    The first block of every stage except the first halves the image.
    """
    for stage, size in enumerate(stage_sizes):
        for index in range(size):
            stride = 2 if stage > 0 and index == 0 else 1
            yield stage, stride, f"stage{stage + 1}_block{index + 1}"
