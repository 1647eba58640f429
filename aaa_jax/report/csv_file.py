"""Results for other programs: one line of numbers per cell and measure."""

from collections.abc import Sequence

from aaa_jax.experiments.paper_tables import Table
from aaa_jax.report import result_tables
from aaa_jax.report.figures import comparisons, efficiency, robustness
from aaa_jax.report.grouping import Family
from aaa_jax.report.paper_comparison import ERRORS, Filled
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference, Estimate

HEADER = (
    *("table", "row", "column", "measure", "unit", "n", "seeds", "mean", "std"),
    *("paper", "paper_std", "difference_to_paper"),
    *("difference_to_random", "low_95", "high_95", "num_pairs", "unfinished_seeds"),
)
PERCENT = "percent"
Record = tuple[str, ...]
# Name, unit, value, difference to random, the runs that gave the value.
_Measure = tuple[str, str, Estimate | None, Difference | None, Sequence[Run]]


def family_records(family: Family) -> list[Record]:
    """The measures of every group of a family."""
    records = []
    for group in family.groups:
        tested = robustness.tested(family)
        measures: list[_Measure] = [
            (
                *("test_error", PERCENT, comparisons.final_error(group)),
                comparisons.to_reference(family, group),
                group.finished,
            ),
            (
                *("mean_corruption_error", PERCENT),
                robustness.mean_corruption_error(family, group),
                result_tables.corruption_to_reference(family, group),
                tested.of(group) if tested else (),
            ),
            (
                *(
                    "final_entropy",
                    "fraction",
                    result_tables.final_entropy(group),
                    None,
                ),
                result_tables.learned_runs(group),
            ),
            (
                *("search_and_training_time", "device hours"),
                *(efficiency.device_hours(group), None),
                efficiency.timed_runs(group),
            ),
        ]
        for name, unit, value, difference, runs in measures:
            if value is None and name != "test_error":
                continue
            records.append(
                (
                    *("", family.title, group.label, name, unit),
                    *_estimated(value, runs),
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
            tested = [r for r in finished if r.final.get(ERRORS[place]) is not None]
            paper = cell.paper
            stds = paper.stds if paper else ()
            records.append(
                (
                    *(table.name, cell.row, cell.column, ERRORS[place], PERCENT),
                    *_estimated(own, tested),
                    _number(paper.errors[place] if paper else None),
                    _number(stds[place] if place < len(stds) else None),
                    _number(cell.differences[place]),
                    *_compared(cell.paired if place == 0 else None),
                    _seeds([run for run in cell.runs if not run.is_finished]),
                )
            )
    return records


def _estimated(value: Estimate | None, runs: Sequence[Run]) -> Record:
    """n, the seeds of the runs that gave the values, mean, standard deviation."""
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
