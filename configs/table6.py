r"""Table 6: policies that ResNet-50 learned on ImageNet, used by other networks.

    python launch.py --config=configs/table6.py --workdir=runs/table6 \
      --config.transfer_from=runs/table3/resnet50/ours/seed0

4 cells of five seeds. The source run must be finished; any run that recorded policies
will do. `--config.cell.policies.replay_selection=resample` draws from its controllers
instead of taking the five hardest policies of each epoch. Here: not run.
Rows, columns and the paper's numbers: `aaa_jax/experiments/paper_tables.py`.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import table


def get_config(argument: str = "*") -> ConfigDict:
    """The table, or the cells that `argument` names, see `table.py`."""
    return table.get_config("table6", argument)
