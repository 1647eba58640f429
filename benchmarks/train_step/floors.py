"""What no step can be faster than: operations over the peak, bytes over the bandwidth.

    python -m benchmarks.train_step.floors --device='NVIDIA H200' --networks=r50,r200

From shapes alone, nothing is run. Operations are those of `flops.training_flops`. Bytes
are the activations' in bfloat16: each convolution's output is moved `PASSES` times in a
step, as kernels stand that fuse elementwise work with each other, but not with
convolutions. Weights, optimiser and augmentation are small beside it at these rows.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.train_step import flops
from benchmarks.train_step.__main__ import NETWORKS

# Forward: the convolution writes it; statistics read it; normalisation and ReLU read
# and write; the next convolution reads. Backward: the gradients of input and weights
# both read what comes back, one writes, one reads the input; the normalisation's sums
# read two tensors, its gradient reads two and writes one.
PASSES = 5 + 4 + 5
BFLOAT16 = 2  # bytes


class Floor(NamedTuple):
    """Of a step on so many rows: operations, bytes, a device's seconds for each."""

    network: str
    num_rows: int
    operations: float
    moved: float
    compute: float
    memory: float


def floor(network: str, device: str) -> Floor:
    """The floors of a network's step at the rows of `train_step`, on a device."""
    from aaa_jax.experiments.build import build_model
    from benchmarks.train_step import presets

    preset, num_rows = NETWORKS[network]
    config = presets.get_config(preset)
    spec = presets.describe(config)
    model = build_model(config, spec.num_classes)
    operations = num_rows * flops.training_flops(model, spec.image_size)
    values = num_rows * flops.activation_elements(model, spec.image_size)
    moved = PASSES * BFLOAT16 * values
    peak = flops.peak(device, "bfloat16")
    assert peak is not None
    return Floor(
        network,
        num_rows,
        operations,
        moved,
        operations / (peak * 1e12),
        moved / flops.BANDWIDTHS[device],
    )


def main(command_line: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=flops.BANDWIDTHS, default="NVIDIA H200")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    options = parser.parse_args(command_line)
    print(
        f"| {options.device} | rows | TFLOP | ms at the peak | GB | "
        "ms at the bandwidth | one after the other, images/s | of the peak |"
    )
    print("| --- " + "| ---: " * 7 + "|")
    for network in options.networks.split(","):
        f = floor(network, options.device)
        both = f.compute + f.memory
        print(
            f"| {network} | {f.num_rows} | {f.operations / 1e12:.1f} | "
            f"{1e3 * f.compute:.1f} | {f.moved / 1e9:.0f} | {1e3 * f.memory:.1f} | "
            f"{f.num_rows / both:,.0f} | {100 * f.compute / both:.0f} % |"
        )


if __name__ == "__main__":
    main()
