"""Results for other programs: one line of numbers per cell and measure."""

import csv
import io
from collections.abc import Iterable, Sequence

from aaa_jax.experiments.paper_tables import Table
from aaa_jax.report.grouping import Family
from aaa_jax.report.measures import MEASURES, TEST_ERROR
from aaa_jax.report.paper_comparison import ERRORS, FilledCell
from aaa_jax.report.statistics import Difference, Estimate

HEADER = (
    *("table", "row", "column", "measure", "unit", "n", "seeds", "mean", "std"),
    *("paper", "paper_std", "difference_to_paper"),
    *("difference_to_random", "low_95", "high_95", "num_pairs", "unfinished_seeds"),
)
Line = dict[str, str]  # by column; a column that it lacks is empty


def family_lines(family: Family) -> list[Line]:
    """The measures of every group of a family."""
    lines = []
    for group in family.groups:
        for measure in MEASURES:
            values = measure.values(family, group)
            names = {"row": family.title, "column": group.label}
            names |= {"measure": measure.name, "unit": measure.unit}
            estimated = _estimated(measure.mean(family, group), values)
            compared = _compared(measure.difference(family, group))
            seeds = _words(run.seed for run in group.unfinished)
            if values or measure is TEST_ERROR:
                lines.append(names | estimated | compared | {"unfinished_seeds": seeds})
    return lines


def table_lines(table: Table, filled: Sequence[FilledCell]) -> list[Line]:
    """Every cell of a table; what did not run is empty."""
    lines = []
    for cell in filled:
        finished = [run for run in cell.runs if run.is_finished]
        errors, stds = cell.paper or ((), ())
        for place, own in enumerate(cell.ours):
            name = ERRORS[place]
            tested = [r.seed for r in finished if r.final.get(name) is not None]
            names = {"table": table.name, "row": cell.row, "column": cell.column}
            compared = _compared(cell.paired if place == 0 else None)
            lines.append(
                names
                | {"measure": name, "unit": "percent"}
                | _estimated(own, tested)
                | _numbers(
                    paper=errors[place] if errors else None,
                    paper_std=stds[place] if stds else None,
                    difference_to_paper=cell.differences[place],
                )
                | compared
                | {
                    "unfinished_seeds": _words(
                        r.seed for r in cell.runs if not r.is_finished
                    )
                }
            )
    return lines


def to_csv(lines: Sequence[Line]) -> str:
    """Comma-separated lines below the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _estimated(value: Estimate | None, seeds: Iterable[int]) -> Line:
    """The mean, and the seeds of the runs that gave the values."""
    if value is None:
        return {"n": "0"}
    count = {"n": str(value.num_runs), "seeds": _words(seeds)}
    return count | _numbers(mean=value.mean, std=value.std)


def _compared(value: Difference | None) -> Line:
    """The mean difference, the ends of its interval, the number of pairs."""
    if value is None:
        return {}
    ends = {"low_95": value.low, "high_95": value.high}
    pairs = {"num_pairs": str(len(value.seeds))}
    return _numbers(difference_to_random=value.mean, **ends) | pairs


def _numbers(**values: float | None) -> Line:
    return {key: f"{value:.8g}" for key, value in values.items() if value is not None}


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))
