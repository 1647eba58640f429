"""Results for other programs: one line of numbers per cell and measure."""

import csv
import io
from collections.abc import Iterable, Sequence

from aaa_jax.experiments.paper_tables import Table
from aaa_jax.report.grouping import Family
from aaa_jax.report.measures import MEASURES, TEST_ERROR
from aaa_jax.report.paper_comparison import ERRORS, FilledCell
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate

HEADER = (
    *("table", "row", "column", "measure", "unit", "n", "seeds", "mean", "std"),
    *("paper", "paper_std", "difference_to_paper"),
    *("difference_to_random", "low_95", "high_95", "num_pairs", "unfinished_seeds"),
)


def family_lines(family: Family) -> list[tuple[str, ...]]:
    """The measures of every group of a family."""
    lines = []
    for group in family.groups:
        for measure in MEASURES:
            values = measure.values(family, group)
            if values or measure is TEST_ERROR:
                lines.append(
                    (
                        *("", family.title, group.label, measure.name, measure.unit),
                        *_estimated(measure.mean(family, group), values),
                        *("", "", ""),
                        *_compared(measure.difference(family, group)),
                        _seeds(group.unfinished),
                    )
                )
    return lines


def table_lines(table: Table, filled: Sequence[FilledCell]) -> list[tuple[str, ...]]:
    """Every cell of a table; what did not run is empty."""
    lines = []
    for cell in filled:
        finished = [run for run in cell.runs if run.is_finished]
        errors, stds = cell.paper or ((), ())
        for place, own in enumerate(cell.ours):
            name = ERRORS[place]
            tested = [r.seed for r in finished if r.final.get(name) is not None]
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


def _estimated(value: Estimate | None, seeds: Iterable[int]) -> tuple[str, ...]:
    """n, the seeds of the runs that gave the values, mean, standard deviation."""
    if value is None:
        return ("0", "", "", "")
    numbers = _number(value.mean), _number(value.std)
    return (str(value.num_runs), " ".join(map(str, seeds)), *numbers)


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
