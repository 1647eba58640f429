"""Table 2: test error on CIFAR-100.

    python launch.py --config=configs/table2.py

27 cells of five seeds: three networks under the paper's columns and four beyond it.
Meant for a cluster of GPUs, see `table.py`; `--config.scale=0.01` for a quick look.
Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table2", argument)
