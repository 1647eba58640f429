"""The paper's tables, filled with what ran in their directories.

A table's directory is TABLE/ROW/COLUMN/seedS; which table it is its runs say, which
recorded it, else its name, else its rows and columns where they fit one table alone. A
cell holds the paper's number, ours
over the finished seeds, and the difference; what did not run stays empty.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from aaa_jax.experiments.paper_tables import TABLES, Paper, Table
from aaa_jax.report import statistics
from aaa_jax.report.grouping import REFERENCE
from aaa_jax.report.result_tables import Sheet, not_finished
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate

ERRORS = ("test_error", "test_top5_error")
PREFIX = "NOT THE PAPER'S EXPERIMENT"
# The first word of a preset -> the paper's dataset.
DATA = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet2012"}


class Filled(NamedTuple):
    """A cell of a table.

    Attributes:
        row: its key.
        column: its key.
        paper: the paper's number, or None.
        ours: for each of the paper's errors (top-1 where it has none) the mean over
            finished seeds, or None.
        differences: ours less the paper's; None where either is missing, or where the
            runs are not those of the paper.
        paired: top-1 less that of the column `random` of the row, paired by seed.
        runs: all of the cell.
    """

    row: str
    column: str
    paper: Paper | None
    ours: tuple[Estimate | None, ...]
    differences: tuple[float | None, ...]
    paired: Difference | None
    runs: tuple[Run, ...]


def identify(path: pathlib.Path, runs: Sequence[Run]) -> Table | None:
    """The table that a directory belongs to; None if it is none of ours, or unclear.

    Args:
        path: the directory.
        runs: those that lie in it, with their cells.
    """
    fitting = candidates(runs)
    recorded = [run.table for run in runs if run.table in fitting]
    if recorded:  # of several, the one that most runs were made for
        return TABLES[max(dict.fromkeys(recorded), key=recorded.count)]
    alike = [name for name in fitting if path.name.startswith(name)]
    if alike:
        return TABLES[max(alike, key=len)]
    return TABLES[fitting[0]] if len(fitting) == 1 else None


def candidates(runs: Sequence[Run]) -> list[str]:
    """The tables that have the rows and columns of all cells."""
    cells = [run.cell for run in runs if run.cell is not None]
    return [
        name
        for name, table in TABLES.items()
        if all(
            cell.row in table.rows and cell.column in table.columns for cell in cells
        )
    ]


def unclear(path: pathlib.Path, runs: Sequence[Run]) -> str:
    """What to say of a directory that may be one of several tables; else nothing."""
    fitting = candidates(runs)
    if len(fitting) < 2 or identify(path, runs) is not None:
        return ""
    return (
        f"The paper's table is left out: the runs in {path.name} may be cells of "
        f"{', '.join(fitting)}. Give the folder a name that begins with the table's."
    )


def fill(table: Table, runs: Sequence[Run]) -> list[Filled]:
    """Every cell of a table, row by row."""
    members: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.cell is not None:
            members.setdefault((run.cell.row, run.cell.column), []).append(run)
    filled = []
    for row in table.rows:
        reference = members.get((row, REFERENCE), [])
        for column in table.columns:
            own = sorted(members.get((row, column), []), key=lambda run: run.seed)
            filled.append(_fill_cell(table, row, column, own, reference))
    return filled


def sheet(table: Table, filled: Sequence[Filled], remarks: Sequence[str]) -> Sheet:
    """The table: for each row the paper's line, ours, and the differences."""
    by_row: dict[str, list[Filled]] = {}
    for cell in filled:
        by_row.setdefault(cell.row, []).append(cell)
    rows: list[tuple[str, ...]] = []
    for row, cells in by_row.items():
        label = table.rows[row]
        lines = {
            "paper": [show_paper(cell.paper) for cell in cells],
            "here": [_show_ours(cell) for cell in cells],
            "here less paper": [_show_differences(cell) for cell in cells],
            f"here less {REFERENCE}": [
                statistics.show_difference(cell.paired) for cell in cells
            ],
            "not finished": [not_finished(cell.runs) for cell in cells],
        }
        for name, texts in lines.items():
            if any(texts) or name in ("paper", "here"):
                rows.append((label, name, *texts))
    notes = [
        *remarks,
        "Test error in % after the last epoch: mean ± standard deviation (n seeds). "
        "Empty: not run, or no such number in the paper.",
    ]
    if any(cell.paired for cell in filled):
        notes.append(
            f"Less {REFERENCE}: paired by seed, with the 95 % t interval of the mean."
        )
    header = ("network", "", *(table.columns[column] for column in table.columns))
    return Sheet(table.title, header, tuple(rows), (*notes, *table.notes))


def show_paper(paper: Paper | None) -> str:
    """`1.90 ± 0.15`, `23.69 / 6.92`, or nothing."""
    if paper is None:
        return ""
    stds = [f" ± {std:.2f}" for std in paper.stds] or [""] * len(paper.errors)
    pairs = zip(paper.errors, stds, strict=True)
    return " / ".join(f"{error:.2f}{std}" for error, std in pairs)


def _fill_cell(
    table: Table, row: str, column: str, runs: Sequence[Run], reference: Sequence[Run]
) -> Filled:
    paper = table.paper.get((row, column))
    count = len(paper.errors) if paper else 1
    finished = [run for run in runs if run.is_finished]
    ours = tuple(
        statistics.estimate(
            [run.final[name] for run in finished if run.final.get(name) is not None]
        )
        for name in ERRORS[:count]
    )
    is_scaled = any(scaled(table, run) for run in finished)
    differences = tuple(
        None if own is None or paper is None or is_scaled else own.mean - printed
        for own, printed in zip(ours, paper.errors if paper else (0.0,), strict=True)
    )
    paired = None
    if column != REFERENCE:
        paired = statistics.paired_difference(
            {run.seed: run.final["test_error"] for run in finished},
            {r.seed: r.final["test_error"] for r in reference if r.is_finished},
        )
    return Filled(row, column, paper, ours, differences, paired, tuple(runs))


def _show_ours(cell: Filled) -> str:
    shown = [statistics.show_estimate(value) for value in cell.ours]
    return " / ".join(shown) if any(shown) else ""


def _show_differences(cell: Filled) -> str:
    shown = [f"{value:+.2f}" for value in cell.differences if value is not None]
    return " / ".join(shown)


def remarks(table: Table, runs: Sequence[Run]) -> list[str]:
    """What sets the runs of a table apart from the paper's, a sentence each.

    Args:
        table: the table.
        runs: those in its directory.
    """
    found = []
    for row in table.rows:
        members = [run for run in runs if run.cell is not None and run.cell.row == row]
        reasons = sorted({reason for run in members for reason in scaled(table, run)})
        if reasons:
            found.append(f"{PREFIX}, {table.rows[row]}: {', '.join(reasons)}.")
    return found


def scaled(table: Table, run: Run) -> list[str]:
    """Why a run is not that of the paper, and must not be compared with its number."""
    if run.cell is None:
        return []
    reasons = []
    wanted = DATA.get(table.presets[run.cell.row].split("_")[0])
    own, size = run.settings["data"]["name"], run.settings["data"]["num_train_images"]
    if wanted is not None and own.split("/")[0].split(":")[0] != wanted:
        reasons.append(f"trained on {own}, not on {wanted}")
    if wanted is not None and size:
        reasons.append(f"{size} training images")
    if run.scale != 1:
        reasons.append(f"epochs and network SCALED by {run.scale:g}")
    if run.is_shortened:
        reasons.append(f"stopped at step {run.settings['max_steps']}")
    return reasons
