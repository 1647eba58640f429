"""The numbers by which groups are judged, for tables, figures and the CSV."""

from collections.abc import Callable
from typing import NamedTuple

from aaa_jax.report.figures.robustness import corruption_errors
from aaa_jax.report.grouping import Family, Group
from aaa_jax.report.statistics import (
    Difference,
    Estimate,
    estimate,
    paired_difference,
    show_estimate,
)


class Measure(NamedTuple):
    """A number of finished runs."""

    name: str  # in the CSV
    unit: str
    values: Callable[[Family, Group], dict[int, float]]  # by seed, of runs that have it
    is_compared: bool = False  # whether groups are compared with `random` by it
    digits: int = 2  # shown after the point

    def mean(self, family: Family, group: Group) -> Estimate | None:
        """The mean over the runs of a group; None where no run has the number."""
        return estimate(self.values(family, group).values())

    def show_mean(self, family: Family, group: Group) -> str:
        """The mean in words; empty where no run has the number."""
        return show_estimate(self.mean(family, group), self.digits)

    def difference(self, family: Family, group: Group) -> Difference | None:
        """The paired difference to the `random` group, where there is one."""
        reference = family.reference(group)
        if reference is None or not self.is_compared:
            return None
        own, others = self.values(family, group), self.values(family, reference)
        return paired_difference(own, others)


def _final_entropies(family: Family, group: Group) -> dict[int, float]:
    """Entropy after the last update, of runs in which a controller learned."""
    learned = [run for run in group.finished if run.is_learned]
    return {run.seed: float(run.rounds.numbers["entropy"][-1]) for run in learned}


def _device_hours(family: Family, group: Group) -> dict[int, float]:
    """Device hours of training and search, of runs that were timed."""
    return {run.seed: run.cost.device_hours for run in group.finished if run.cost}


def _final(name: str) -> Callable[[Family, Group], dict[int, float]]:
    """A number of the last line of metrics.jsonl; runs that lack it are left out."""
    return lambda family, group: group.final(name)


TEST_ERROR = Measure("test_error", "percent", _final("test_error"), True)
TOP5_ERROR = Measure("test_top5_error", "percent", _final("test_top5_error"))
TEST_LOSS = Measure("test_loss", "nats", _final("test_loss"), True, digits=4)
CORRUPTION_ERROR = Measure("mean_corruption_error", "percent", corruption_errors, True)
ENTROPY = Measure("final_entropy", "fraction", _final_entropies)
DEVICE_HOURS = Measure("search_and_training_time", "device hours", _device_hours)
MEASURES = (
    *(TEST_ERROR, TOP5_ERROR, TEST_LOSS),
    *(CORRUPTION_ERROR, ENTROPY, DEVICE_HOURS),
)
