"""Table 1: test error on CIFAR-10.

    python launch.py --config=configs/table1.py

45 cells of five seeds: five networks under the paper's columns and four beyond it.
Meant for a cluster of GPUs, see `table.py`; `--config.scale=0.01` for a quick look.
Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table1", argument)
