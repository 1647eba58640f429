"""What a run cost, measured from its directory: device hours of search and training.

Table 5 as accounting. The search is what AAA adds to training: the controller's
sampling and updates (`controller_seconds` of `timing.jsonl`, timed apart once an
epoch); published policies were searched for by others: that search was not run here.
Compilation counts as training; starting up and reading data sets do not count.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from etils import epath

from aaa_jax.experiments.paper_tables import Cost, Table
from aaa_jax.workdir import run_directory, snapshots

HOUR, DAY = 3600.0, 86400.0  # seconds
# Sources whose search happens in the run itself, or that need none.
WITHOUT_EARLIER_SEARCH = ("adversarial", "random", "fixed")


class RunCost(NamedTuple):
    """What a run cost; hours are summed over its devices, days are those of a clock.

    Attributes:
        search_hours: device hours of the policy search; None where it was not timed,
            or was done elsewhere.
        training_hours: device hours of training without the search.
        evaluation_hours: device hours of testing.
        search_days: as `search_hours`.
        training_days: of training without the search.
        num_devices: of the last epoch.
        device: what kind they are; "" where the run does not say.
        steps: of the run so far.
        timed_steps: those of which the time is known; steps after the last saved epoch
            of a run that was killed are done again, and only then timed.
    """

    search_hours: float | None
    training_hours: float
    evaluation_hours: float
    search_days: float | None
    training_days: float
    num_devices: int
    device: str
    steps: int
    timed_steps: int

    @property
    def total_hours(self) -> float | None:
        """Device hours of search and training, as in Table 5; None without a search."""
        if self.search_hours is None:
            return None
        return self.search_hours + self.training_hours


def device_hours(run: epath.PathLike) -> RunCost | None:
    """The cost of the run in a directory; None where no epoch is over yet.

    Raises:
        metrics.RunDirectoryError: a file in it is damaged.
    """
    lines = run_directory.read_lines(run, "timing")
    if not lines:
        return None
    source = run_directory.read_config(run)["policies"]["source"]

    def total(key: str, *, per_device: bool) -> float:
        return math.fsum(
            line[key] * (line["devices"] if per_device else 1) for line in lines
        )

    is_timed = all("controller_seconds" in line for line in lines)
    has_search = source in WITHOUT_EARLIER_SEARCH and is_timed
    search = total("controller_seconds", per_device=True) if has_search else 0.0
    search_clock = total("controller_seconds", per_device=False) if has_search else 0.0
    return RunCost(
        search_hours=search / HOUR if has_search else None,
        training_hours=(total("train_seconds", per_device=True) - search) / HOUR,
        evaluation_hours=total("evaluation_seconds", per_device=True) / HOUR,
        search_days=search_clock / DAY if has_search else None,
        training_days=(total("train_seconds", per_device=False) - search_clock) / DAY,
        num_devices=lines[-1]["devices"],
        device=str(snapshots.load_facts(run).get("device", "")),
        steps=lines[-1]["step"],
        timed_steps=sum(line["steps"] for line in lines),
    )


def cost_table(
    table: Table,
    paper: Mapping[str, Cost],
    runs: Mapping[str, Sequence[epath.PathLike]],
) -> str:
    """Table 5 as Markdown: the paper's estimate and what was measured here.

    Args:
        table: its title, columns and footnotes.
        paper: column -> the paper's numbers.
        runs: column -> directories of its runs; those without a finished epoch are
            left out, and a column without any stays empty.
    """
    lines = [
        f"## {table.title}",
        "",
        "| method | search, device h | training, device h | total, device h "
        "| search, days | training, days | total, days | runs | devices |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes = list(table.notes)
    for column, label in table.columns.items():
        lines.append(_paper_row(label, paper[column]))
        costs = [device_hours(run) for run in runs.get(column, ())]
        measured = [cost for cost in costs if cost is not None]
        lines.append(_measured_row(label, measured))
        untimed = sum(cost.steps - cost.timed_steps for cost in measured)
        if untimed > 0:
            steps = sum(cost.steps for cost in measured)
            notes.append(
                f"{label}: the time of {untimed} of {steps} steps is not known (the "
                "run was stopped in an epoch) and not counted."
            )
    return "\n".join([*lines, "", *[f"- {note}" for note in notes], ""])


def _paper_row(label: str, cost: Cost) -> str:
    hours = (cost.search_hours, cost.training_hours)
    days = (cost.search_days, cost.training_days)
    cells = [f"{value:g}" for value in (*hours, sum(hours), *days, sum(days))]
    return _row([f"{label}, paper's estimate", *cells, "", "64 x V100"])


def _measured_row(label: str, costs: Sequence[RunCost]) -> str:
    if not costs:
        return _row([f"{label}, here", *[""] * 8])
    total_days = [
        None if cost.search_days is None else cost.search_days + cost.training_days
        for cost in costs
    ]
    devices = {
        f"{cost.num_devices} x {cost.device or 'unknown device'}" for cost in costs
    }
    return _row(
        [
            f"{label}, here",
            _mean([cost.search_hours for cost in costs]),
            _mean([cost.training_hours for cost in costs]),
            _mean([cost.total_hours for cost in costs]),
            _mean([cost.search_days for cost in costs]),
            _mean([cost.training_days for cost in costs]),
            _mean(total_days),
            str(len(costs)),
            ", ".join(sorted(devices)),
        ]
    )


def _mean(values: Sequence[float | None]) -> str:
    """Mean, and with several runs ± standard deviation; empty where one is unknown."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    text = f"{statistics.mean(known):.3g}"
    return text if len(known) < 2 else f"{text} ± {statistics.stdev(known):.2g}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
