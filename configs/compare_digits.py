"""Policies compared with power: few training digits, 1498 test images, ten seeds.

    python launch.py --config=configs/compare_digits.py
    python launch.py --config=configs/compare_digits.py --list

80 cells, seed by seed, so that a table cut short still has all columns of its first
seeds. Real data, no download. Seeds are paired: a seed means the same images,
initialisation and draws in each column.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    c = table.get_config("compare_digits", argument)
    c.seeds = 10
    return c
