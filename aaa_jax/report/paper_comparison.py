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
from aaa_jax.report.grouping import REFERENCE, Group
from aaa_jax.report.measures import TEST_LOSS
from aaa_jax.report.result_tables import not_finished
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate
from aaa_jax.report.text_table import TextTable

ERRORS = ("test_error", "test_top5_error")
PREFIX = "NOT THE PAPER'S EXPERIMENT"


class FilledCell(NamedTuple):
    """A cell of a table."""

    row: str  # its key
    column: str  # its key
    paper: Paper | None  # the paper's number
    group: Group  # the cell's runs
    # For each of the paper's errors (top-1 where it has none) the mean over finished
    # seeds; and ours less the paper's, None where the runs are not those of the paper.
    ours: tuple[Estimate | None, ...]
    differences: tuple[float | None, ...]
    # Top-1 less that of the column `random` of the row, paired by seed; None where the
    # controller never moved, and thus drew what `random` draws.
    paired: Difference | None


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
            "test loss here (nats)": [_show_loss(cell) for cell in cells],
            "difference to the paper": [_show_differences(cell) for cell in cells],
            f"difference to {REFERENCE}": [_show_paired(cell) for cell in cells],
            "not finished": [not_finished(cell.group) for cell in cells],
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
    group, reference = (
        Group(name, name, tuple(members.get((row, name), ())))
        for name in (column, REFERENCE)
    )
    paper = table.paper.get((row, column))
    printed = paper.errors if paper else (None,)
    names = ERRORS[: len(printed)]
    ours = tuple(statistics.estimate(group.final(name).values()) for name in names)
    is_changed = any(changes(run) for run in group.finished)
    differences = tuple(
        None if own is None or error is None or is_changed else own.mean - error
        for own, error in zip(ours, printed, strict=True)
    )
    paired = None
    if column != REFERENCE and not group.is_random:
        errors = group.final("test_error"), reference.final("test_error")
        paired = statistics.paired_difference(*errors)
    return FilledCell(row, column, paper, group, ours, differences, paired)


def _show_paired(cell: FilledCell) -> str:
    if cell.group.is_random:
        return f"{cell.column} is random here"
    return statistics.show_difference(cell.paired)


def _show_loss(cell: FilledCell) -> str:
    losses = cell.group.final("test_loss").values()
    return statistics.show_estimate(statistics.estimate(losses), TEST_LOSS.digits)


def _show_ours(cell: FilledCell) -> str:
    shown = [statistics.show_estimate(value) for value in cell.ours]
    return " / ".join(shown) if any(shown) else ""


def _show_differences(cell: FilledCell) -> str:
    shown = [f"{value:+.2f}" for value in cell.differences if value is not None]
    return " / ".join(shown)
