"""Table 5: what the search and the training of ResNet-50 on ImageNet cost.

    python launch.py --config=configs/table5.py --workdir=runs/table3

Its two cells are cells of Table 3: in Table 3's workdir, finished, nothing runs again.
`python -m aaa_jax report runs/table3` counts the device hours in their `timing.jsonl`
and shows them beside the paper's estimate. Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    c = table.get_config("table5", argument)
    c.seeds = 1
    return c
