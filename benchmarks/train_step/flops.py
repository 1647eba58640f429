"""Operations of a network by counting, what devices can do at most, and the floor.

XLA's own count leaves out convolutions that a library does, as on GPUs.
"""

import math
from collections.abc import Iterator
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
    "TPU v4": (275.0, None),
    "TPU v5 lite": (197.0, None),
    "TPU v5": (459.0, None),
    "TPU v6 lite": (918.0, None),
}

# Device kind -> bytes of memory read or written in a second, from the data sheets.
BANDWIDTHS: dict[str, float] = {
    "NVIDIA B200": 8.0e12,
    "NVIDIA H200": 4.8e12,
    "NVIDIA H100": 3.35e12,
    "NVIDIA A100": 2.04e12,
}

# Times that a step moves each convolution's output, as kernels stand that fuse
# elementwise work with each other, but not with convolutions. Forward: the convolution
# writes it; statistics read it; normalisation and ReLU read and write; the next
# convolution reads. Backward: the gradients of input and weights both read what comes
# back, one writes, one reads the input; the normalisation's sums read two tensors, its
# gradient reads two and writes one.
MOVES = 5 + 4 + 5


def floor(
    network: nn.Module, side: int, num_rows: int, device_kind: str, dtype: str
) -> tuple[float, float] | None:
    """Seconds that no training step can be faster than, of two kinds.

    Operations over the peak, and the activations' bytes over the bandwidth; None where
    the tables have no such device. Weights, optimiser and augmentation are small beside
    it at the rows that are timed.
    """
    fitting = [name for name in BANDWIDTHS if device_kind.startswith(name)]
    tflops = peak(device_kind, dtype)
    if tflops is None or not fitting:
        return None
    width = 4 if dtype == "float32" else 2
    moved = MOVES * width * num_rows * activation_elements(network, side)
    operations = num_rows * training_flops(network, side)
    return operations / (tflops * 1e12), moved / BANDWIDTHS[fitting[0]]


def peak(device_kind: str, dtype: str) -> float | None:
    """The most TFLOP/s of a device, None where the table has no such device."""
    fitting = [name for name in PEAKS if device_kind.startswith(name)]
    if not fitting:
        return None
    return PEAKS[max(fitting, key=len)][dtype == "float32"]


def training_flops(network: nn.Module, side: int) -> float:
    """Operations of a training pass for one image: convolutions and matrix products.

    Forward, gradient of the inputs, gradient of the weights: three times the forward
    pass, except for the first layer, whose input needs no gradient. A multiply and an
    add are two. Recomputation is not counted.
    """
    layers = forward_flops(network, side)
    return 3.0 * sum(layers) - layers[0]


def forward_flops(network: nn.Module, side: int) -> list[float]:
    """Operations of each convolution and matrix product for one image, in order."""
    counts = []
    for equation in _forward_pass(network, side):
        size = equation.outvars[0].aval.size
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            numbers = equation.params["dimension_numbers"].rhs_spec
            counts.append(2.0 * math.prod(kernel) / kernel[numbers[0]] * size)
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            counts.append(2.0 * math.prod(shape[axis] for axis in contracted) * size)
    return counts


def activation_elements(network: nn.Module, side: int) -> float:
    """Values that the convolutions of a forward pass put out for one image."""
    return float(
        sum(
            equation.outvars[0].aval.size
            for equation in _forward_pass(network, side)
            if equation.primitive.name == "conv_general_dilated"
        )
    )


def _forward_pass(network: nn.Module, side: int) -> Iterator[Any]:
    """The equations of a forward pass on one image."""
    images = jnp.zeros((1, side, side, 3), jnp.float32)

    def forward() -> jax.Array:
        return network.init_with_output(jax.random.key(0), images, train=False)[0]

    return _equations(jax.make_jaxpr(forward)().jaxpr)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, also those of the jaxprs within them."""
    for equation in jaxpr.eqns:
        yield equation
        parameters = list(equation.params.values())
        for leaf in jax.tree.leaves(parameters, is_leaf=lambda p: hasattr(p, "jaxpr")):
            if hasattr(leaf, "jaxpr"):
                yield from _equations(leaf.jaxpr)
