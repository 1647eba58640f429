"""Table 3: test error on ImageNet, top-1 and top-5.

    python launch.py --config=configs/table3.py

21 cells of five seeds: three networks under the paper's columns and four beyond it.
Meant for a cluster of GPUs, see `table.py`. Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table3", argument)
