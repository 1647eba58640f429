"""What can no step be faster than? Operations over the peak, bytes over the bandwidth.

    python -m benchmarks.train_step.floors --device='NVIDIA H200' --networks=r50,r200

From shapes alone, nothing is run. Operations are those of `flops.training_flops`. Bytes
are the activations' in bfloat16: each convolution's output is moved `PASSES` times in a
step, as kernels stand that fuse elementwise work with each other, but not with
convolutions. Weights, optimiser and augmentation are small beside it at these rows.
Prints a Markdown table.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from aaa_jax.experiments.build import build_model
from benchmarks import measure
from benchmarks.train_step import flops, presets

# Forward: the convolution writes it; statistics read it; normalisation and ReLU read
# and write; the next convolution reads. Backward: the gradients of input and weights
# both read what comes back, one writes, one reads the input; the normalisation's sums
# read two tensors, its gradient reads two and writes one.
PASSES = 5 + 4 + 5
BFLOAT16 = 2  # bytes


class Floor(NamedTuple):
    """Of a step on so many rows: operations, bytes, a device's seconds for each."""

    num_rows: int
    operations: float
    moved: float
    compute: float
    memory: float


def floor(network: str, device: str) -> Floor:
    """The floors of a network's step at the rows of `train_step`, on a device."""
    config, spec = presets.network_config(network, "bfloat16")
    model = build_model(config, spec.num_classes)
    num_rows = config.batch_size * config.policies.num_policies
    operations = num_rows * flops.training_flops(model, spec.image_size)
    values = num_rows * flops.activation_elements(model, spec.image_size)
    moved = PASSES * BFLOAT16 * values
    peak = flops.peak(device, "bfloat16")
    assert peak is not None
    seconds = operations / (peak * 1e12), moved / flops.BANDWIDTHS[device]
    return Floor(num_rows, operations, moved, *seconds)


def main(command_line: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=flops.BANDWIDTHS, default="NVIDIA H200")
    names = measure.some_of(presets.NETWORKS)
    parser.add_argument("--networks", type=names, default=list(presets.NETWORKS))
    options = parser.parse_args(command_line)
    heads = [options.device, "rows", "TFLOP", "ms at the peak", "GB"]
    heads += ["ms at the bandwidth", "one after the other, images/s", "of the peak"]
    rows = []
    for network in options.networks:
        f = floor(network, options.device)
        both = f.compute + f.memory
        rows.append(
            [
                network,
                f.num_rows,
                f"{f.operations / 1e12:.1f}",
                f"{1e3 * f.compute:.1f}",
                f"{f.moved / 1e9:.0f}",
                f"{1e3 * f.memory:.1f}",
                f"{f.num_rows / both:,.0f}",
                f"{100 * f.compute / both:.0f} %",
            ]
        )
    print("\n".join(measure.table(heads, rows)))


if __name__ == "__main__":
    main()
