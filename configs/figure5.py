"""Figure 5: Wide-ResNet-28-10 on CIFAR-10 against the number of policies, M.

    python launch.py --config=configs/figure5.py

5 cells of five seeds: M = 2, 4, 8, 16, 32, with the rows of a pass as at M = 8. Meant
for GPUs of 40 GB. Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("figure5", argument)
