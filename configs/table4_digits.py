"""Table 4 scaled down: handwritten digits on a CPU.

    python launch.py --config=configs/table4_digits.py

5 cells of five seeds: the paper's four rows and `guarded`. Real data, no download.
Seeds are paired: a seed means the same images, initialisation and draws in each column.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table4_digits", argument)
