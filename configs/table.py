r"""Every key of a table, with its meaning; `table1.py` and its neighbours start here.

    python launch.py --config=configs/table1.py --list
    python launch.py --config=configs/table1.py --workdir=runs/table1
    python launch.py --config=configs/table1.py:wrn28x10/ours/seed3 \
      --workdir=runs/table1

The first prints what is done, a line per row and column with the error beside the
paper's (`--list=commands`: the command of each cell), the second runs and resumes all
cells one after the other, the third one cell, so that a cluster can share a table:
several of these commands in one workdir pass over each other's cells. A cell is an
ordinary run in WORKDIR/ROW/COLUMN/seedS. What follows the colon may leave out parts,
or have * for them: `:wrn28x10`, `:*/ours`, `:*/*/seed0`.

`--config.cell.KEY=VALUE` sets a key of `default.py` in every cell.
"""

from ml_collections import ConfigDict, config_dict

from aaa_jax.configs import default

# Not for all cells alike.
SET_BY_THE_CELL = ("seed", "scale")


def get_config(table: str, argument: str) -> ConfigDict:
    """The config of a table.

    Args:
        table: a key of `aaa_jax.experiments.paper_tables.TABLES`.
        argument: which of its cells: ROW[/COLUMN[/seedS]], each part a key or `*`.
    """
    c = ConfigDict()
    c.table = table
    c.cells = argument
    c.seeds = 5  # runs of each cell, seeds 0, 1, …; the paper's mean ± std is over five
    # Below 1: a quick look at the table, not the table. Epochs shrink by this factor,
    # the width and depth of networks by its square root; every output says so.
    c.scale = 1.0
    # The directory of a finished run of configs/imagenet_r50.py (or any other): whose
    # policies the cells of Table 6 replay.
    c.transfer_from = ""
    # What is set here is set in every cell; num_passes and the devices are taken as far
    # as a cell's groups divide.
    c.cell = _unset(default.get_config())
    for key in SET_BY_THE_CELL:
        if key in c.cell:
            del c.cell[key]
    return c


def _unset(config: ConfigDict, path: str = "") -> ConfigDict:
    """The same keys with the same types, and no values."""
    unset = ConfigDict()
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict) and path + key != "model.options":
            unset[key] = _unset(value, f"{path}{key}.")
        else:
            unset[key] = config_dict.placeholder(type(value))
    return unset
