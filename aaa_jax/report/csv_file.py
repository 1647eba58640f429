"""Results for other programs: one line of numbers per cell and measure."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from aaa_jax.experiments.paper_tables import Table
from aaa_jax.report import result_tables
from aaa_jax.report.figures import comparisons, efficiency, robustness
from aaa_jax.report.grouping import Family, Group
from aaa_jax.report.paper_comparison import ERRORS, FilledCell
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate

HEADER = (
    *("table", "row", "column", "measure", "unit", "n", "seeds", "mean", "std"),
    *("paper", "paper_std", "difference_to_paper"),
    *("difference_to_random", "low_95", "high_95", "num_pairs", "unfinished_seeds"),
)


class Measure(NamedTuple):
    """A number of a group.

    Attributes:
        name: of it.
        unit: of it.
        value: the mean, or None.
        difference: to that of `random`, or None.
        runs: those that gave the value.
    """

    name: str
    unit: str
    value: Estimate | None
    difference: Difference | None
    runs: Sequence[Run]


def family_lines(family: Family) -> list[tuple[str, ...]]:
    """The measures of every group of a family."""
    return [
        (
            *("", family.title, group.label, measure.name, measure.unit),
            *_estimated(measure.value, measure.runs),
            *("", "", ""),
            *_compared(measure.difference),
            _seeds(group.unfinished),
        )
        for group in family.groups
        for measure in _measures(family, group)
        if measure.value is not None or measure.name == ERRORS[0]
    ]


def table_lines(table: Table, filled: Sequence[FilledCell]) -> list[tuple[str, ...]]:
    """Every cell of a table; what did not run is empty."""
    lines = []
    for cell in filled:
        finished = [run for run in cell.runs if run.is_finished]
        errors, stds = cell.paper or ((), ())
        for place, own in enumerate(cell.ours):
            name = ERRORS[place]
            tested = [run for run in finished if run.final.get(name) is not None]
            lines.append(
                (
                    *(table.name, cell.row, cell.column, name, "percent"),
                    *_estimated(own, tested),
                    _number(errors[place] if place < len(errors) else None),
                    _number(stds[place] if place < len(stds) else None),
                    _number(cell.differences[place]),
                    *_compared(cell.paired if place == 0 else None),
                    _seeds([run for run in cell.runs if not run.is_finished]),
                )
            )
    return lines


def to_csv(lines: Sequence[Sequence[str]]) -> str:
    """Comma-separated lines below the header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *lines])
    return text.getvalue()


def _measures(family: Family, group: Group) -> list[Measure]:
    corruptions = robustness.comparable_corruptions(family)
    return [
        Measure(
            *(ERRORS[0], "percent", comparisons.final_error(group)),
            comparisons.to_reference(family, group),
            group.finished,
        ),
        Measure(
            *("mean_corruption_error", "percent"),
            robustness.mean_corruption_error(family, group),
            robustness.corruption_to_reference(family, group),
            corruptions.runs_of(group) if corruptions else (),
        ),
        Measure(
            *("final_entropy", "fraction", result_tables.final_entropy(group), None),
            result_tables.learned_runs(group),
        ),
        Measure(
            *("search_and_training_time", "device hours"),
            *(efficiency.device_hours(group), None),
            efficiency.timed_runs(group),
        ),
    ]


def _estimated(value: Estimate | None, runs: Sequence[Run]) -> tuple[str, ...]:
    """n, the seeds of the runs that gave the values, mean, standard deviation."""
    if value is None:
        return ("0", "", "", "")
    numbers = _number(value.mean), _number(value.std)
    return (str(value.num_runs), _seeds(runs), *numbers)


def _compared(value: Difference | None) -> tuple[str, ...]:
    """Mean difference, the ends of its interval, the number of pairs."""
    if value is None:
        return ("", "", "", "")
    numbers = (value.mean, value.low, value.high)
    return (*(_number(number) for number in numbers), str(len(value.seeds)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


def _seeds(runs: Sequence[Run]) -> str:
    return " ".join(str(run.seed) for run in runs)
