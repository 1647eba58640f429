"""A table on the screen: what is done, and what was measured beside the paper's number.

The report averages with more care: it takes only runs that it may compare.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from aaa_jax.commands.columns import in_columns
from aaa_jax.experiments.paper_tables import PAPER_COSTS, Paper, Table
from aaa_jax.experiments.table_cells import (
    Cell,
    cell_config,
    read_state,
    select_cells,
    table_of,
    title,
)
from aaa_jax.report.costs import run_cost
from aaa_jax.report.statistics import estimate
from aaa_jax.workdir import run_directory, run_facts

ERRORS = ("test_error", "test_top5_error")  # as many as the paper gives


def list_rows(config: ConfigDict, workdir: str) -> list[str]:
    """A heading, and a line per row and column; errors are those of finished seeds.

    Raises:
        TableError: the table has no such cell, or a cell cannot be made.
    """
    table, cells = table_of(config), select_cells(config)
    rows = [("cell", "seeds", "test error %", "paper", "device h", "")]
    for row, column in dict.fromkeys((cell.row, cell.column) for cell in cells):
        seeds = [cell for cell in cells if (cell.row, cell.column) == (row, column)]
        rows.append((f"{row}/{column}", *_line(config, table, workdir, seeds)))
    return [f"{title(config)}; {len(cells)} cells in {workdir}", *in_columns(rows)]


def list_commands(
    config: ConfigDict, workdir: str, command: Callable[[Cell], Sequence[str]]
) -> list[str]:
    """A line per cell: its state and its command."""
    rows = []
    for cell in select_cells(config):
        state = read_state(epath.Path(workdir) / cell.name, cell_config(config, cell))
        rows.append((cell.name, state.text, shlex.join(["python", *command(cell)[1:]])))
    return in_columns(rows)


def _line(
    config: ConfigDict, table: Table, workdir: str, cells: Sequence[Cell]
) -> tuple[str, str, str, str, str]:
    """Seeds done, error, the paper's, device hours, and what the other seeds are."""
    finals: list[dict[str, Any]] = []
    hours, others = 0.0, []
    for cell in cells:
        path = epath.Path(workdir) / cell.name
        run = cell_config(config, cell)
        state = read_state(path, run)
        if state.kind == "finished":
            finals.append(run_directory.read_lines(path, "metrics")[-1])
        else:
            others.append(state.kind)
        if state.kind in ("finished", "running", "stopped"):
            device = str(run_facts.load_facts(path).get("device", ""))
            lines = run_directory.read_lines(path, "timing")
            cost = run_cost(lines, run.policies.source, device)
            hours += cost.device_hours if cost else 0.0
    return (
        f"{len(finals)} of {len(cells)}",
        _measured(table, cells[0], finals),
        _paper_text(table, cells[0]),
        f"{hours:.3g}" if hours else "",
        ", ".join(f"{others.count(kind)} {kind}" for kind in dict.fromkeys(others)),
    )


def _measured(table: Table, cell: Cell, finals: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation of what finished, in the paper's form."""
    paper = table.paper.get((cell.row, cell.column))
    names = ERRORS[: len(paper.errors)] if paper else ERRORS[:1]
    found = [
        estimate([line[name] for line in finals if name in line]) for name in names
    ]
    known = [one for one in found if one is not None]
    stds = tuple(one.std for one in known if one.std is not None)
    return Paper(tuple(one.mean for one in known), stds).text


def _paper_text(table: Table, cell: Cell) -> str:
    """The paper's number for a cell, or a dash; for Table 5 the paper's estimate."""
    if table.name == "table5":
        cost = PAPER_COSTS[cell.column]
        return f"{cost.search_hours:g} + {cost.training_hours:g} device h"
    paper = table.paper.get((cell.row, cell.column))
    return paper.text if paper else "-"
