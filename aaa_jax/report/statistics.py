"""Means over seeds, and what can be said of them: pure functions of numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over runs.

    Attributes:
        mean: in the unit of the values.
        std: sample standard deviation (n - 1); None for one run.
        num_runs: n.
    """

    mean: float
    std: float | None
    num_runs: int


class Difference(NamedTuple):
    """A mean of differences of runs with the same seed.

    Attributes:
        mean: ours minus the reference's; below 0 our error is smaller.
        low: lower end of the t interval; None for one pair.
        high: its upper end.
        seeds: of the pairs, ascending.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and sample standard deviation; None without values."""
    array = np.asarray(list(values), np.float64)
    if not len(array):
        return None
    std = float(array.std(ddof=1)) if len(array) > 1 else None
    return Estimate(float(array.mean()), std, len(array))


def t_half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % t interval of a mean, t(0.975, n - 1) s / √n; None for n = 1."""
    count = len(values)
    if count < 2:
        return None
    std = float(np.asarray(values, np.float64).std(ddof=1))
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1))
    return quantile * std / math.sqrt(count)


def paired_difference(
    own: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """The mean difference over the seeds that both have; None where they share none.

    Args:
        own: seed -> value.
        reference: seed -> value.
    """
    seeds = tuple(sorted(own.keys() & reference.keys()))
    if not seeds:
        return None
    differences = [own[seed] - reference[seed] for seed in seeds]
    mean, half = float(np.mean(differences)), t_half_width(differences)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Difference(mean, low, high, seeds)


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
