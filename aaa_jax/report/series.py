"""Curves of several seeds on one axis, and shares averaged over epochs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aaa_jax.report.runs import Run

WINDOW = 5  # epochs of a mean in Figure 6
FEWEST_WINDOWS = 3


class Curves(NamedTuple):
    """One quantity of several runs.

    Attributes:
        x: [T], the places where all runs have a value.
        mean: [T], the mean of the runs at x.
        each: the x and y of every run.
    """

    x: np.ndarray
    mean: np.ndarray
    each: tuple[tuple[np.ndarray, np.ndarray], ...]


class Windows(NamedTuple):
    """Means of consecutive epochs.

    Attributes:
        size: epochs of a window; the last one may have fewer.
        edges: [W + 1], in epochs done.
        means: [W, K].
    """

    size: int
    edges: np.ndarray
    means: np.ndarray


def metric_curves(runs: Sequence[Run], name: str) -> Curves:
    """A number of metrics.jsonl against epochs done, where it was written."""
    each = []
    for run in runs:
        lines = [line for line in run.metrics if line.get(name) is not None]
        x = np.array([line["epoch"] for line in lines], np.float64)
        each.append((x, np.array([line[name] for line in lines], np.float64)))
    return _curves(each)


def round_curves(runs: Sequence[Run], name: str) -> Curves:
    """A number of policies.jsonl against controller updates done."""
    each = []
    for run in runs:
        values = run.rounds.numbers[name]
        x = np.arange(1, len(values) + 1, dtype=np.float64)
        known = np.isfinite(values)
        each.append((x[known], values[known]))
    return _curves(each)


def window_means(
    epochs: np.ndarray, values: np.ndarray, size: int, num_epochs: int
) -> Windows:
    """Means of rows over windows of epochs: the shares of Figure 6.

    Args:
        epochs: int [R], from 1, of each row.
        values: float [R, K]; rows with NaN are left out.
        size: epochs of a window.
        num_epochs: how many there are in all.

    Returns:
        One window for every `size` epochs begun; NaN where no row falls into it.
    """
    count = -(-num_epochs // size)
    edges = np.minimum(np.arange(count + 1) * size, num_epochs)
    known = np.isfinite(values).all(axis=1)
    means = np.full((count, values.shape[1]), np.nan)
    for window in range(count):
        inside = known & (epochs > edges[window]) & (epochs <= edges[window + 1])
        if inside.any():
            means[window] = values[inside].mean(axis=0)
    return Windows(size, edges.astype(np.float64), means)


def window_size(num_epochs: int) -> int:
    """Five epochs, as in Figure 6; one where that would leave fewer than three."""
    return WINDOW if num_epochs > WINDOW * (FEWEST_WINDOWS - 1) else 1


def mean_windows(runs: Sequence[Run], name: str) -> Windows:
    """Shares of the rounds, in windows, averaged over the runs with equal weight.

    Args:
        runs: at least one; windows that some have not reached are left out.
        name: one of the `shares` of `runs.Rounds`.
    """
    num_epochs = min(run.epochs_done for run in runs)
    size = window_size(num_epochs)
    windows = [
        window_means(run.rounds.epochs, run.rounds.shares[name], size, num_epochs)
        for run in runs
    ]
    means = np.mean([window.means for window in windows], axis=0)
    return Windows(size, windows[0].edges, means)


def _curves(each: Sequence[tuple[np.ndarray, np.ndarray]]) -> Curves:
    if not each:
        return Curves(np.zeros(0), np.zeros(0), ())
    shared = set(each[0][0])
    for x, _ in each[1:]:
        shared &= set(x)
    common = np.array(sorted(shared), np.float64)
    rows = [y[np.isin(x, common)] for x, y in each]
    return Curves(common, np.mean(rows, axis=0), tuple(each))
