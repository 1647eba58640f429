"""Table 5: what search and training cost, measured from run directories.

The search is what AAA adds to training: the controller's sampling and updates
(`controller_seconds` of `timing.jsonl`, timed apart once an epoch). Published policies
were searched for by others, and that search was not run here. Compilation counts as
training; starting up, reading data sets and testing do not count.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.experiments.paper_tables import PAPER_COSTS, TABLES, Cost
from aaa_jax.report.statistics import estimate
from aaa_jax.report.text_table import TextTable

HOUR, DAY = 3600.0, 86400.0  # seconds
ROW = "resnet50"  # the network of Table 5
# Sources whose search happens in the run itself, or that need none.
WITHOUT_EARLIER_SEARCH = ("adversarial", "random", "fixed")


class RunCost(NamedTuple):
    """What a run cost: hours are summed over its devices, days are those of a clock.

    The search is NaN where it was not timed, or was done elsewhere.
    """

    search_hours: float
    training_hours: float  # without the search
    search_days: float
    training_days: float  # without the search
    clock_seconds: float  # of training, search and tests
    devices: str  # in the last epoch, such as `8 x NVIDIA H100`
    steps: int  # of the run so far
    # Those of which the time is known. When a run is killed, the steps after its last
    # saved epoch are done again, and only then timed.
    timed_steps: int

    @property
    def device_hours(self) -> float:
        """Device hours of training, and of the search where it is known."""
        return float(np.nansum([self.search_hours, self.training_hours]))

    @property
    def days(self) -> float:
        """Days of training, and of the search where it is known, by the clock."""
        return float(np.nansum([self.search_days, self.training_days]))


def run_cost(
    lines: Sequence[Mapping[str, Any]], source: str, device: str
) -> RunCost | None:
    """The cost of a run from its `timing.jsonl`; None where no epoch is over yet."""
    if not lines:
        return None

    def seconds(key: str) -> np.ndarray:
        """Seconds of all epochs: summed over devices, and by the clock."""
        each = [(line[key] * line["devices"], line[key]) for line in lines]
        return np.sum(each, axis=0)

    is_timed = all("controller_seconds" in line for line in lines)
    has_search = source in WITHOUT_EARLIER_SEARCH and is_timed
    search = seconds("controller_seconds") if has_search else np.full(2, np.nan)
    training = seconds("train_seconds") - np.nan_to_num(search)
    return RunCost(
        search_hours=search[0] / HOUR,
        training_hours=training[0] / HOUR,
        search_days=search[1] / DAY,
        training_days=training[1] / DAY,
        clock_seconds=sum(
            line["train_seconds"] + line.get("evaluation_seconds", 0) for line in lines
        ),
        devices=f"{lines[-1]['devices']} x {device or 'unknown'}",
        steps=lines[-1]["step"],
        timed_steps=sum(line["steps"] for line in lines),
    )


def cost_table(runs: Mapping[str, Sequence[RunCost]]) -> TextTable | None:
    """Table 5: the paper's estimates beside what was measured; None without runs.

    `runs` are the costs of the finished runs, by column of Table 5.
    """
    table = TABLES["table5"]
    if not any(runs.get(column) for column in table.columns):
        return None
    rows = []
    notes = ["Finished runs only; mean ± standard deviation of several.", *table.notes]
    for column, label in table.columns.items():
        costs = runs.get(column, ())
        paper = [f"{number:g}" for number in _with_totals(PAPER_COSTS[column])]
        rows.append((label, "paper", *paper, "", "64 x NVIDIA Tesla V100"))
        here = map(_mean, zip(*map(_with_totals, costs), strict=True))
        devices = ", ".join(sorted({cost.devices for cost in costs}))
        texts = [*here, str(len(costs)), devices] if costs else [""] * 8
        rows.append((label, "here", *texts))
        steps = sum(cost.steps for cost in costs)
        untimed = steps - sum(cost.timed_steps for cost in costs)
        if untimed:
            notes.append(
                f"{label}: the time of {untimed} of {steps} steps is not known (the "
                "run was stopped in an epoch) and not counted."
            )
    header = ("method", "", "search (device h)", "training (device h)")
    more = ("total (device h)", "search (d)", "training (d)", "total (d)")
    columns = (*header, *more, "runs", "devices")
    return TextTable(table.title, columns, tuple(rows), tuple(notes))


def _with_totals(cost: RunCost | Cost) -> list[float]:
    """Search, training and their sum in device hours, then in days."""
    hours, days = cost[:2], cost[2:4]
    return [*hours, sum(hours), *days, sum(days)]


def _mean(values: Sequence[float]) -> str:
    """The mean, ± standard deviation of several runs; empty where one is unknown."""
    found = estimate(values)
    if found is None or math.isnan(found.mean):
        return ""
    spread = "" if found.std is None else f" ± {found.std:.2g}"
    return f"{found.mean:.3g}{spread}"
