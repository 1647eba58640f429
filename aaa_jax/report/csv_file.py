"""Results for other programs: one line of numbers per cell and measure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from aaa_jax.experiments.paper_tables import Table
from aaa_jax.report.grouping import Family, Group
from aaa_jax.report.measures import MEASURES, TEST_ERROR
from aaa_jax.report.paper_comparison import ERRORS, FilledCell
from aaa_jax.report.statistics import Difference, estimate

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
            compared = _compared(measure.difference(family, group))
            if values or measure is TEST_ERROR:
                lines.append(names | _averaged(values) | compared | _unfinished(group))
    return lines


def table_lines(table: Table, filled: Sequence[FilledCell]) -> list[Line]:
    """Every cell of a table; what did not run is empty."""
    lines = []
    for cell in filled:
        errors, stds = cell.paper or ((), ())
        for place, name in enumerate(ERRORS[: len(cell.ours)]):
            names = {"table": table.name, "row": cell.row, "column": cell.column}
            lines.append(
                names
                | {"measure": name, "unit": "percent"}
                | _averaged(cell.group.final(name))
                | _numbers(
                    paper=errors[place] if errors else None,
                    paper_std=stds[place] if stds else None,
                    difference_to_paper=cell.differences[place],
                )
                | _compared(cell.paired if place == 0 else None)
                | _unfinished(cell.group)
            )
    return lines


def to_csv(lines: Sequence[Line]) -> str:
    """Comma-separated lines below the header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _averaged(values: Mapping[int, float]) -> Line:
    """The mean of seed -> value, and the seeds."""
    found = estimate(values.values())
    if found is None:
        return {"n": "0"}
    count = {"n": str(found.num_runs), "seeds": _words(values)}
    return count | _numbers(mean=found.mean, std=found.std)


def _unfinished(group: Group) -> Line:
    return {"unfinished_seeds": _words(run.seed for run in group.unfinished)}


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
