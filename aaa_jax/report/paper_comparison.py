"""The paper's tables, filled with the runs that were made for them.

A cell holds the paper's number, ours over the finished seeds, and the difference; what
did not run stays empty.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from flax.traverse_util import flatten_dict

from aaa_jax.experiments.config_rules import changes_numbers
from aaa_jax.experiments.paper_tables import TABLES, Paper, Table
from aaa_jax.report import statistics
from aaa_jax.report.grouping import REFERENCE
from aaa_jax.report.result_tables import LOSS_DIGITS, not_finished
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate
from aaa_jax.report.text_table import TextTable

ERRORS = ("test_error", "test_top5_error")
LOSS = "test_loss"
PREFIX = "NOT THE PAPER'S EXPERIMENT"


class FilledCell(NamedTuple):
    """A cell of a table.

    Attributes:
        row: its key.
        column: its key.
        paper: the paper's number, or None.
        ours: for each of the paper's errors (top-1 where it has none) the mean over
            finished seeds, or None.
        differences: ours less the paper's; None where either is missing, or where the
            runs are not those of the paper.
        loss: our mean test loss over finished seeds, or None.
        paired: top-1 less that of the column `random` of the row, paired by seed; None
            where the controller never moved, and thus drew what `random` draws.
        runs: all of the cell.
    """

    row: str
    column: str
    paper: Paper | None
    ours: tuple[Estimate | None, ...]
    differences: tuple[float | None, ...]
    loss: Estimate | None
    paired: Difference | None
    runs: tuple[Run, ...]


def group_by_table(runs: Sequence[Run]) -> list[tuple[Table, list[Run]]]:
    """The tables that runs are cells of, with those runs: one for each directory.

    Cells of several tables may lie in one directory, as those of Table 5 in Table 3's:
    then it is the table that most of them were made for.
    """
    by_folder: dict[pathlib.Path, list[Run]] = {}
    for run in runs:
        if run.origin.get("table") in TABLES:
            by_folder.setdefault(run.path.parents[2], []).append(run)
    found = []
    for members in by_folder.values():
        names = [run.origin["table"] for run in members]
        found.append((TABLES[max(dict.fromkeys(names), key=names.count)], members))
    return found


def fill_cells(table: Table, runs: Sequence[Run]) -> list[FilledCell]:
    """Every cell of a table, row by row."""
    members: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        members.setdefault(run.cell, []).append(run)
    return [
        _fill_cell(table, row, column, members)
        for row in table.rows
        for column in table.columns
    ]


def comparison(
    table: Table, filled: Sequence[FilledCell], remarks: Sequence[str]
) -> TextTable:
    """The table: for each row the paper's line, ours, and the differences."""
    rows: list[tuple[str, ...]] = []
    for row, label in table.rows.items():
        cells = [cell for cell in filled if cell.row == row]
        lines = {
            "paper": [cell.paper.text if cell.paper else "" for cell in cells],
            "here": [_show_ours(cell) for cell in cells],
            "test loss here (nats)": [
                statistics.show_estimate(cell.loss, LOSS_DIGITS) for cell in cells
            ],
            "difference to the paper": [_show_differences(cell) for cell in cells],
            f"difference to {REFERENCE}": [_show_paired(cell) for cell in cells],
            "not finished": [not_finished(cell.runs) for cell in cells],
        }
        for name, texts in lines.items():
            if any(texts) or name in ("paper", "here"):
                rows.append((label, name, *texts))
    notes = [
        *remarks,
        "Test error in % after the last epoch. Empty: not run, or not in the paper.",
    ]
    header = ("network", "", *table.columns.values())
    return TextTable(table.title, header, tuple(rows), (*notes, *table.notes))


def remarks(table: Table, runs: Sequence[Run]) -> list[str]:
    """What sets the runs of a table apart from the paper's, a sentence for each row."""
    found = []
    for row, label in table.rows.items():
        members = [run for run in runs if run.cell[0] == row]
        reasons = sorted({text for run in members for text in changes(run)})
        if reasons:
            found.append(f"{PREFIX}, {label}: {', '.join(reasons)}.")
    return found


def changes(run: Run) -> list[str]:
    """What the command changed in a cell, which then is not the paper's any more."""
    settings = flatten_dict(run.settings, sep=".")
    return [
        f"{key} = {settings[key]}"
        for key in run.origin["overrides"]
        if key in settings and changes_numbers(key)
    ]


def _fill_cell(
    table: Table, row: str, column: str, members: dict[tuple[str, str], list[Run]]
) -> FilledCell:
    runs = members.get((row, column), [])
    paper = table.paper.get((row, column))
    printed = paper.errors if paper else (None,)
    finished = [run for run in runs if run.is_finished]
    ours = tuple(_mean(finished, name) for name in ERRORS[: len(printed)])
    is_changed = any(changes(run) for run in finished)
    differences = tuple(
        None if own is None or error is None or is_changed else own.mean - error
        for own, error in zip(ours, printed, strict=True)
    )
    paired = None
    if column != REFERENCE and not _never_moved(finished):
        others = [run for run in members.get((row, REFERENCE), []) if run.is_finished]
        paired = statistics.paired_difference(_errors(finished), _errors(others))
    loss = _mean(finished, LOSS)
    return FilledCell(row, column, paper, ours, differences, loss, paired, tuple(runs))


def _mean(runs: Sequence[Run], name: str) -> Estimate | None:
    """Of a number of the last lines; runs that lack it are left out."""
    found = [run.final.get(name) for run in runs]
    return statistics.estimate(value for value in found if value is not None)


def _never_moved(finished: Sequence[Run]) -> bool:
    return bool(finished) and all(run.is_random for run in finished)


def _show_paired(cell: FilledCell) -> str:
    if _never_moved([run for run in cell.runs if run.is_finished]):
        return f"{cell.column} is random here"
    return statistics.show_difference(cell.paired)


def _errors(runs: Sequence[Run]) -> dict[int, float]:
    return {run.seed: run.final["test_error"] for run in runs}


def _show_ours(cell: FilledCell) -> str:
    shown = [statistics.show_estimate(value) for value in cell.ours]
    return " / ".join(shown) if any(shown) else ""


def _show_differences(cell: FilledCell) -> str:
    shown = [f"{value:+.2f}" for value in cell.differences if value is not None]
    return " / ".join(shown)
