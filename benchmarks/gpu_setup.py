"""What is here to measure on, and what is missing: the first part of the GPU scripts.

    python -m benchmarks.gpu_setup                  device and packages, a line each
    python -m benchmarks.gpu_setup --require-gpu    exit code 2 where there is no GPU

Installs nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path

NO_DATA = "CIFAR-10 cannot be read, which gpu_table4.sh needs"
NO_CORRUPTION = "no error under corruption"
NO_ROW = "its row of the augmentation's table is left out"
OPTIONAL = {  # package -> what it costs to be without
    "tensorflow_datasets": NO_DATA,
    "array_record": NO_DATA,
    "sklearn": "the digits cannot be prepared, which --tiny needs",
    "tensorboardX": "no run can be trained: the parts epoch, dispatch; gpu_table4.sh",
    "scipy": "no report, no error under corruption",
    "matplotlib": "no report",
    "skimage": NO_CORRUPTION,
    "torch": "PyTorch's rows are left out",
    "torchvision": NO_ROW,
    "kornia": NO_ROW,
    "albumentations": NO_ROW,
}
NEEDED = (
    *("jax", "flax", "optax", "chex", "dm_pix", "ml_collections", "orbax", "absl"),
    *("etils", "cv2", "PIL", "tqdm"),
)
HINT = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[cuda13]' "
    "(or '.[cuda12]'), then give PYTHON=.venv/bin/python"
)


def main(command_line: Sequence[str] | None = None) -> int:
    """Print; 2 where a package or, if asked for, a GPU is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--require-gpu", action="store_true")
    parser.add_argument("--out", type=Path, help="unused; every part is given it")
    options = parser.parse_args(command_line)
    missing = [name for name in NEEDED if util.find_spec(name) is None]
    if missing:
        print(f"missing packages: {', '.join(missing)}; {HINT}", file=sys.stderr)
        return 2
    import jax

    devices = jax.devices()
    print(f"devices: {len(devices)} x {devices[0].device_kind}; {os.cpu_count()} cores")
    for name, cost in OPTIONAL.items():
        is_here = util.find_spec(name) is not None
        print(f"{name} {'is here' if is_here else f'missing: {cost}'}")
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
