"""Means over seeds, and what can be said of them: pure functions of numbers."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over runs, in the unit of the values."""

    mean: float
    std: float | None  # of the sample (n - 1); None for one run
    num_runs: int  # n


class Difference(NamedTuple):
    """A mean of differences of runs with the same seed."""

    mean: float  # ours minus the reference's; below 0 our error is smaller
    low: float | None  # lower end of the t interval; None for one pair
    high: float | None  # its upper end
    seeds: tuple[int, ...]  # of the pairs, ascending


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and sample standard deviation; None without values."""
    array = np.asarray(list(values), np.float64)
    if not len(array):
        return None
    std = float(array.std(ddof=1)) if len(array) > 1 else None
    return Estimate(float(array.mean()), std, len(array))


def paired_difference(
    own: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """The mean difference over the seeds that both have; None where they share none.

    Both are seed -> value. The interval is mean ± t(0.975, n - 1) s / √n.
    """
    seeds = tuple(sorted(own.keys() & reference.keys()))
    if not seeds:
        return None
    differences = [own[seed] - reference[seed] for seed in seeds]
    mean, count = float(np.mean(differences)), len(seeds)
    if count == 1:
        return Difference(mean, None, None, seeds)
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)
    half = float(quantile * stats.sem(differences))
    return Difference(mean, mean - half, mean + half, seeds)


def show_estimate(value: Estimate | None, digits: int = 2) -> str:
    """`2.45 ± 0.13 (n = 5)`, `2.45 (1 run)`, or nothing."""
    if value is None:
        return ""
    if value.std is None:
        return f"{value.mean:.{digits}f} (1 run)"
    return f"{value.mean:.{digits}f} ± {value.std:.{digits}f} (n = {value.num_runs})"


def show_difference(value: Difference | None, digits: int = 2) -> str:
    """`-0.53 [-0.90, -0.16] (n = 5)`, `-0.53 (1 pair)`, or nothing."""
    if value is None:
        return ""
    mean, count = f"{value.mean:+.{digits}f}", len(value.seeds)
    if value.low is None or value.high is None:
        return f"{mean} (1 pair)"
    return f"{mean} [{value.low:+.{digits}f}, {value.high:+.{digits}f}] (n = {count})"
