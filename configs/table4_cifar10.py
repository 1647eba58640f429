"""Table 4 scaled down to one GPU: 5,000 images of CIFAR-10, Wide-ResNet-16-4.

    python launch.py --config=configs/table4_cifar10.py

10 cells of five seeds, `cifar10_5000.py` each. `benchmarks/gpu_quarter.sh table` runs
some of the columns, side by side. Seeds are paired: a seed means the same images,
initialisation and order of images in each column. Here: `docs/results/cifar10.md`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table4_cifar10", argument)
