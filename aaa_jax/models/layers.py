"""Layers that the network families share: convolution, classifier, remat.

What makes one family differ from another does not belong here.
"""

from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

# Silent: initial weights. He normal over fan_out for convolutions (He et al. 2015, as
# the reference code of all four families), PyTorch's uniform(+-1/sqrt(fan_in)) for the
# classifier, biases 0.
CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
DENSE_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

Block = TypeVar("Block", bound=type[nn.Module])


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
        kernel_init=CONV_INIT,
        name=name,
    )


class Classifier(nn.Module):
    """Global mean over the pixels, then a dense layer with bias, both in float32."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Features [B, H, W, C] of any dtype to logits float32 [B, K]."""
        pooled = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        dense = nn.Dense(self.num_classes, kernel_init=DENSE_INIT, name="dense")
        return dense(pooled)


def block_class(block: Block, remat: bool) -> Block:
    """The block itself, or one that recomputes its activations in the backward pass.

    The block is called with (x, train) or (x, train, noise); train is static.
    """
    return nn.remat(block, static_argnums=(2,)) if remat else block
