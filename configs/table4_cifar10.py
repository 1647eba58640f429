"""Table 4 scaled down to one GPU: CIFAR-10, Wide-ResNet-40-2, 30 epochs.

    python launch.py --config=configs/table4_cifar10.py

8 cells of five seeds, `cifar10_short.py` each. `benchmarks/gpu_table4.sh` runs them in
the order of what they tell, in parts of some minutes. Seeds are paired: a seed means
the same initialisation and order of images in each column. Here: not run.
"""

from ml_collections import ConfigDict

from configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table4_cifar10", argument)
