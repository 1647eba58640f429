"""Operations of a network by counting, what devices can do at most, and the floor.

The floor is the time that no training step can be faster than: a plan tells hours by
it, and benchmarks compare with it. XLA's own count leaves out convolutions that a
library does, as on GPUs.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax.runtime import randomness

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
# Of these, forward without statistics: written, read to normalise, written, read.
TEST_MOVES = 4
MEASURED_ROWS = {"cpu": 16}  # of the convolution that a device is measured with
MOST_MEASURED_ROWS = 1024


class Rates(NamedTuple):
    """What a device does in a second: operations, and bytes of its memory."""

    operations: float
    bytes: float


class Work(NamedTuple):
    """What an image costs: operations, and bytes of the convolutions' outputs moved."""

    train_operations: float
    train_bytes: float
    test_operations: float
    test_bytes: float

    def train_seconds(self, rates: Rates) -> float:
        """Of a training step for each row, operations and bytes one after the other."""
        return self.train_operations / rates.operations + self.train_bytes / rates.bytes

    def test_seconds(self, rates: Rates) -> float:
        """Of a test for each image."""
        return self.test_operations / rates.operations + self.test_bytes / rates.bytes


def work(network: nn.Module, side: int, dtype: str) -> Work:
    """What an image of side x side pixels costs in training and in a test.

    Convolutions and matrix products count, a multiply and an add as two operations.
    Training takes three times the forward pass (forward, gradient of the inputs,
    gradient of the weights), except for the first layer, whose input needs no gradient.
    Recomputation is not counted. Weights, optimiser and augmentation are small beside
    it at the usual rows.
    """
    equations = list(_forward_pass(network, side))
    layers = [count for count in map(_operations, equations) if count]
    outputs = sum(e.outvars[0].aval.size for e in equations if _is_convolution(e))
    moved = outputs * (4.0 if dtype == "float32" else 2.0)
    return Work(
        train_operations=3 * sum(layers) - layers[0],
        train_bytes=MOVES * moved,
        test_operations=sum(layers),
        test_bytes=TEST_MOVES * moved,
    )


def known_rates(device_kind: str, dtype: str) -> Rates | None:
    """By the data sheets; None where the tables have no such device."""
    fitting = [name for name in BANDWIDTHS if device_kind.startswith(name)]
    tflops = peak(device_kind, dtype)
    if tflops is None or not fitting:
        return None
    return Rates(tflops * 1e12, BANDWIDTHS[fitting[0]])


@functools.cache
def measured_rates(device: jax.Device, dtype: str) -> Rates:
    """Of a device that no table has, by a convolution, which moves its bytes itself."""
    rows = MEASURED_ROWS.get(device.platform, MOST_MEASURED_ROWS)
    with jax.default_device(device):
        images = jnp.ones((rows, 32, 32, 64), dtype)
        kernel = jnp.ones((3, 3, 64, 64), dtype)
        convolve = functools.partial(
            jax.lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        operations = 2.0 * kernel.size * rows * 32 * 32
        return Rates(operations / _fastest(jax.jit(convolve), images, kernel), math.inf)


def _fastest(function: Callable[..., jax.Array], *arguments: jax.Array) -> float:
    """Seconds of the fastest of some calls, without the first, which compiles."""
    function(*arguments).block_until_ready()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        function(*arguments).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def peak(device_kind: str, dtype: str) -> float | None:
    """The most TFLOP/s of a device, None where the table has no such device."""
    fitting = [name for name in PEAKS if device_kind.startswith(name)]
    if not fitting:
        return None
    return PEAKS[max(fitting, key=len)][dtype == "float32"]


def _operations(equation: Any) -> float:
    """Of a convolution or a matrix product; 0 of anything else."""
    size = equation.outvars[0].aval.size
    if _is_convolution(equation):
        kernel = equation.invars[1].aval.shape
        numbers = equation.params["dimension_numbers"].rhs_spec
        return 2.0 * math.prod(kernel) / kernel[numbers[0]] * size
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * math.prod(shape[axis] for axis in contracted) * size
    return 0.0


def _is_convolution(equation: Any) -> bool:
    return equation.primitive.name == "conv_general_dilated"


def _forward_pass(network: nn.Module, side: int) -> Iterator[Any]:
    """The equations of a forward pass on one image."""
    images = jnp.zeros((1, side, side, 3), jnp.float32)

    def forward() -> jax.Array:
        key = randomness.key_of_seed(0)
        return network.init_with_output(key, images, train=False)[0]

    return _equations(jax.make_jaxpr(forward)().jaxpr)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, also those of the jaxprs within them."""
    for equation in jaxpr.eqns:
        yield equation
        parameters = list(equation.params.values())
        for leaf in jax.tree.leaves(parameters, is_leaf=lambda p: hasattr(p, "jaxpr")):
            if hasattr(leaf, "jaxpr"):
                yield from _equations(leaf.jaxpr)
