"""What is here to measure on, and what is missing: the beginning of `gpu_quarter.sh`.

    python -m benchmarks.gpu_setup                  device and packages, a line each
    python -m benchmarks.gpu_setup --require-gpu    exit code 2 where there is no GPU

Installs nothing. A package that is missing stops only the parts that need it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import util

NOTHING = "nothing can be measured"
NO_RUN = "no run can be trained: the parts table, epoch, dispatch"
NO_DATA = "CIFAR-10 cannot be read, which the part table needs"
NO_CORRUPTION = "no error under corruption"
NO_ROW = "its row of the augmentation's table is left out"
NEEDED = {  # package -> what it costs to be without
    **dict.fromkeys(("flax", "optax", "chex", "dm_pix", "absl", "etils"), NOTHING),
    **dict.fromkeys(("cv2", "lazy_loader"), NOTHING),
    "ml_collections": "only the parts parity, memory, augment and input run",
    "PIL": "the parts parity and augment cannot compare",
    **dict.fromkeys(("orbax", "tqdm", "safetensors"), NO_RUN),
    "scipy": "no report, no error under corruption",
    "matplotlib": "no report",
}
OPTIONAL = {  # the same; every benchmark starts without
    "tensorboardX": NO_RUN,
    "tensorflow_datasets": NO_DATA,
    "array_record": NO_DATA,
    "google_crc32c": "TFRECORD files cannot be read; CIFAR-10 in array_record can",
    "sklearn": "the digits cannot be prepared, which --tiny needs",
    "skimage": NO_CORRUPTION,
    "torch": "PyTorch's rows are left out",
    "torchvision": NO_ROW,
    "kornia": NO_ROW,
    "albumentations": NO_ROW,
}
HINT = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[cuda13]' "
    "(or '.[cuda12]'), then give PYTHON=.venv/bin/python"
)


def main(command_line: Sequence[str] | None = None) -> int:
    """Print; 2 where JAX or, if asked for, a GPU is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--require-gpu", action="store_true")
    options = parser.parse_args(command_line)
    if util.find_spec("jax") is None:
        print(f"jax is missing: {NOTHING}; {HINT}", file=sys.stderr)
        return 2
    import jax

    devices = jax.devices()
    print(f"devices: {len(devices)} x {devices[0].device_kind}; {os.cpu_count()} cores")
    costs = NEEDED | OPTIONAL
    missing = [name for name in costs if util.find_spec(name) is None]
    print("here:", ", ".join(name for name in costs if name not in missing))
    for name in missing:
        print(f"{name} missing: {costs[name]}")
    if options.require_gpu and devices[0].platform != "gpu":
        print(
            f"no GPU: JAX found {devices[0].platform} devices only. On a GPU machine: "
            f"{HINT}. To try the commands here: --tiny",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
