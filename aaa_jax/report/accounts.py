"""Table 5: what search and training cost, from the runs of a table's directory."""

from collections.abc import Sequence

import numpy as np

from aaa_jax.experiments.paper_tables import PAPER_COSTS, TABLES, Table
from aaa_jax.report.figures.efficiency import ROW
from aaa_jax.report.result_tables import Sheet
from aaa_jax.report.runs import Run

PAPERS_DEVICES = "64 x NVIDIA Tesla V100"


def cost_sheet(table: Table, runs: Sequence[Run]) -> Sheet | None:
    """Table 5 from the runs of its cells; None where none of them was timed.

    Args:
        table: any; it must have the row and columns of Table 5.
        runs: those in its directory.
    """
    rows = []
    for column, label in TABLES["table5"].columns.items():
        paper = PAPER_COSTS[column]
        numbers = (paper.search_hours, paper.training_hours)
        days = (paper.search_days, paper.training_days)
        both = (*numbers, sum(numbers), *days, sum(days))
        rows.append(
            (label, "paper", *(f"{number:g}" for number in both), "", PAPERS_DEVICES)
        )
        found = [run for run in runs if run.is_finished and run.cost is not None]
        rows.append(
            (label, "here", *_measured([r for r in found if _is_in(r, column)]))
        )
    if not any(any(row[2:]) for row in rows[1::2]):
        return None
    header = ("method", "", "search (device h)", "training (device h)")
    more = ("total (device h)", "search (d)", "training (d)", "total (d)")
    notes = TABLES["table5"].notes
    return Sheet(
        TABLES["table5"].title,
        (*header, *more, "runs", "devices"),
        tuple(rows),
        (f"Measured in the directory of {table.name}; finished runs only.", *notes),
    )


def _is_in(run: Run, column: str) -> bool:
    return run.cell is not None and (run.cell.row, run.cell.column) == (ROW, column)


def _measured(runs: Sequence[Run]) -> tuple[str, ...]:
    """Means over runs; a number that one of them lacks is left out."""
    found = [run.cost for run in runs if run.cost is not None]
    if not found:
        return ("",) * 8
    totals = [cost.total_hours for cost in found]
    search_days = [cost.search_days for cost in found]
    days = [
        None if known is None else known + cost.training_days
        for known, cost in zip(search_days, found, strict=True)
    ]
    measures: list[Sequence[float | None]] = [
        [cost.search_hours for cost in found],
        [cost.training_hours for cost in found],
        totals,
        search_days,
        [cost.training_days for cost in found],
        days,
    ]
    texts = []
    for values in measures:
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        texts.append(f"{np.mean(known):.3g}" if complete else "")
    devices = {f"{cost.num_devices} x {cost.device or 'unknown'}" for cost in found}
    return (*texts, str(len(found)), ", ".join(sorted(devices)))
