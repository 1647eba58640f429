"""Results for other programs: one line of numbers per cell and measure."""

from collections.abc import Sequence

from aaa_jax.paper_tables import Table
from aaa_jax.report import comparisons, efficiency, robustness, sheets
from aaa_jax.report.estimates import Difference, Estimate
from aaa_jax.report.groups import Family
from aaa_jax.report.papers import ERRORS, Filled
from aaa_jax.report.runs import Run

HEADER = (
    *("table", "row", "column", "measure", "unit", "n", "seeds", "mean", "std"),
    *("paper", "paper_std", "difference_to_paper"),
    *("difference_to_random", "low_95", "high_95", "num_pairs", "unfinished_seeds"),
)
PERCENT = "percent"
Record = tuple[str, ...]


def family_records(family: Family) -> list[Record]:
    """The measures of every group of a family."""
    records = []
    for group in family.groups:
        measures: list[tuple[str, str, Estimate | None, Difference | None]] = [
            (
                *("test_error", PERCENT, comparisons.final_error(group)),
                comparisons.to_reference(family, group),
            ),
            (
                "mean_corruption_error",
                PERCENT,
                robustness.mean_corruption_error(group),
                sheets.corruption_to_reference(family, group),
            ),
            ("final_entropy", "fraction", sheets.final_entropy(group), None),
            ("training_time", "device hours", efficiency.device_hours(group), None),
        ]
        for name, unit, value, difference in measures:
            if value is None and name != "test_error":
                continue
            records.append(
                (
                    *("", family.title, group.label, name, unit),
                    *_estimated(value, group.finished),
                    *("", "", ""),
                    *_compared(difference),
                    _seeds(group.unfinished),
                )
            )
    return records


def table_records(table: Table, filled: Sequence[Filled]) -> list[Record]:
    """Every cell of a table; what did not run is empty."""
    records = []
    for cell in filled:
        finished = [run for run in cell.runs if run.is_finished]
        for place, own in enumerate(cell.ours):
            paper = cell.paper
            stds = paper.stds if paper else ()
            records.append(
                (
                    *(table.name, cell.row, cell.column, ERRORS[place], PERCENT),
                    *_estimated(own, finished),
                    _number(paper.errors[place] if paper else None),
                    _number(stds[place] if place < len(stds) else None),
                    _number(cell.differences[place]),
                    *_compared(cell.paired if place == 0 else None),
                    _seeds([run for run in cell.runs if not run.is_finished]),
                )
            )
    return records


def _estimated(value: Estimate | None, runs: Sequence[Run]) -> Record:
    if value is None:
        return ("0", "", "", "")
    numbers = _number(value.mean), _number(value.std)
    return (str(value.num_runs), _seeds(runs), *numbers)


def _compared(value: Difference | None) -> Record:
    if value is None:
        return ("", "", "", "")
    numbers = (value.mean, value.low, value.high)
    return (*(_number(number) for number in numbers), str(len(value.seeds)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


def _seeds(runs: Sequence[Run]) -> str:
    return " ".join(str(run.seed) for run in runs)
