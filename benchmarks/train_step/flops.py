"""Floating-point operations of a network by counting, and what devices can do at most.

XLA's own count leaves out convolutions that a library does, as on GPUs.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Device kind (beginning of its name) -> dense TFLOP/s in bfloat16 and in float32 as
# XLA multiplies it there (TF32; None where not known), from the vendors' data sheets.
PEAKS: dict[str, tuple[float, float | None]] = {
    "NVIDIA B200": (2250.0, 1125.0),
    "NVIDIA H200": (989.4, 494.7),
    "NVIDIA H100 PCIe": (756.0, 378.0),
    "NVIDIA H100": (989.4, 494.7),
    "NVIDIA A100": (312.0, 156.0),
    "NVIDIA L40S": (362.0, 183.0),
    "NVIDIA L4": (121.0, 60.0),
    "TPU v4": (275.0, None),
    "TPU v5 lite": (197.0, None),
    "TPU v5": (459.0, None),
    "TPU v6 lite": (918.0, None),
}

# Device kind -> bytes of memory read or written in a second, likewise.
BANDWIDTHS: dict[str, float] = {
    "NVIDIA B200": 8.0e12,
    "NVIDIA H200": 4.8e12,
    "NVIDIA H100": 3.35e12,
    "NVIDIA A100": 2.04e12,
}


def peak(device_kind: str, dtype: str) -> float | None:
    """The most TFLOP/s of a device, None where the table has no such device."""
    fitting = [name for name in PEAKS if device_kind.startswith(name)]
    if not fitting:
        return None
    return PEAKS[max(fitting, key=len)][dtype == "float32"]


def training_flops(network: nn.Module, side: int) -> float:
    """Operations of a training pass for one image: convolutions and matrix products.

    Forward, gradient of the inputs, gradient of the weights: three times the forward
    pass, but for the first layer, whose input needs no gradient. A multiply and an add
    are two. Recomputation is not counted.
    """
    layers = forward_flops(network, side)
    return 3.0 * sum(layers) - layers[0]


def forward_flops(network: nn.Module, side: int) -> list[float]:
    """Operations of each convolution and matrix product for one image, in order."""
    images = jnp.zeros((1, side, side, 3), jnp.float32)

    def forward() -> jax.Array:
        key = jax.random.key(0)
        return network.init_with_output(key, images, train=False)[0]

    return _of_jaxpr(jax.make_jaxpr(forward)().jaxpr)


def activation_elements(network: nn.Module, side: int) -> float:
    """Values that the convolutions of a forward pass put out for one image."""
    images = jnp.zeros((1, side, side, 3), jnp.float32)

    def forward() -> jax.Array:
        return network.init_with_output(jax.random.key(0), images, train=False)[0]

    def outputs(jaxpr: Any) -> float:
        count = 0.0
        for equation in jaxpr.eqns:
            if equation.primitive.name == "conv_general_dilated":
                count += equation.outvars[0].aval.size
            count += sum(outputs(inner) for inner in _inner(equation))
        return count

    return outputs(jax.make_jaxpr(forward)().jaxpr)


def _inner(equation: Any) -> list[Any]:
    """The jaxprs within an equation."""
    leaves = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")
    )
    return [leaf.jaxpr for leaf in leaves if hasattr(leaf, "jaxpr")]


def _of_jaxpr(jaxpr: Any) -> list[float]:
    counts = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            numbers = equation.params["dimension_numbers"].rhs_spec
            per_output = math.prod(kernel) / kernel[numbers[0]]
            counts.append(2.0 * per_output * equation.outvars[0].aval.size)
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            counts.append(2.0 * depth * equation.outvars[0].aval.size)
        for inner in _inner(equation):
            counts += _of_jaxpr(inner)
    return counts
