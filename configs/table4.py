"""Table 4: ResNet-50 on ImageNet under four augmentation methods.

    python launch.py --config=configs/table4.py

4 cells of five seeds. Scaled down to a CPU: `table4_digits.py`. Meant for a cluster of
GPUs, see `table.py`. Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table4", argument)
