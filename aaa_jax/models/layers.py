"""Layers that the network families share: convolution, classifier, remat."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

Block = TypeVar("Block", bound=type[nn.Module])


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


def dense_init(
    key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32
) -> jax.Array:
    """Uniform in +-1/sqrt(fan_in) for a kernel [C_in, C_out], as Torch's Linear."""
    bound = 1 / math.sqrt(shape[0])
    draw = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
    return draw.reshape(shape)


def conv(
    features: int,
    kernel: int,
    *,
    dtype: jnp.dtype,
    name: str,
    stride: int = 1,
    groups: int = 1,
) -> nn.Conv:
    """A square convolution without bias, padded by kernel // 2 on every side.

    Explicit padding, not "SAME": with stride 2 XLA would pad an even image on one side
    only, and the networks would differ from the published ones by half a pixel.
    """
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        feature_group_count=groups,
        use_bias=False,
        dtype=dtype,
        kernel_init=conv_init,
        name=name,
    )


class Classifier(nn.Module):
    """Global mean over the pixels, then a dense layer with bias, both in float32."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Features [B, H, W, C] of any dtype to logits float32 [B, K]."""
        pooled = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        dense = nn.Dense(self.num_classes, kernel_init=dense_init, name="dense")
        return dense(pooled)


def block_class(block: Block, remat: bool) -> Block:
    """The block itself, or one that recomputes its activations in the backward pass.

    The block is called with (x, train) or (x, train, noise); train is static.
    """
    return nn.remat(block, static_argnums=(2,)) if remat else block
