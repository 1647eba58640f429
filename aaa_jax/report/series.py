"""Curves of several seeds on one axis, and shares averaged over epochs."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aaa_jax.report.runs import Run

WINDOW = 5  # epochs of a mean in Figure 6
FEWEST_WINDOWS = 3


class Curves(NamedTuple):
    """One quantity of several runs."""

    x: np.ndarray  # [T], the places where all runs have a value
    mean: np.ndarray  # [T], of the runs at x
    each: tuple[tuple[np.ndarray, np.ndarray], ...]  # the x and y of every run


class Windows(NamedTuple):
    """Means of consecutive epochs."""

    size: int  # epochs of a window; the last one may have fewer
    edges: np.ndarray  # [W + 1], in epochs done
    means: np.ndarray  # [W, K]


def metric_curves(runs: Sequence[Run], name: str) -> Curves:
    """A number of metrics.jsonl against epochs done, where it was written."""
    each = []
    for run in runs:
        pairs = [(line["epoch"], line.get(name)) for line in run.metrics]
        each.append(np.array(pairs, np.float64).reshape(-1, 2).T)
    return _curves(each)


def round_curves(runs: Sequence[Run], name: str) -> Curves:
    """A number of policies.jsonl against controller updates done."""
    values = [run.rounds.numbers[name] for run in runs]
    return _curves([np.stack([1.0 + np.arange(len(y)), y]) for y in values])


def window_means(
    epochs: np.ndarray, values: np.ndarray, size: int, num_epochs: int
) -> Windows:
    """Means of rows over windows of so many epochs: the shares of Figure 6.

    Args:
        epochs: int [R], from 1, of each row.
        values: float [R, K]; rows with NaN are left out.
        size: of a window; the mean is NaN where no row falls into it.
        num_epochs: in all; the last window may be shorter.
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
    """One of the `shares` of `Rounds` in windows, averaged over runs of equal weight.

    Windows that some of the runs have not reached are left out.
    """
    num_epochs = min(run.epochs_done for run in runs)
    size = window_size(num_epochs)
    windows = [
        window_means(run.rounds.epochs, run.rounds.shares[name], size, num_epochs)
        for run in runs
    ]
    means = np.mean([window.means for window in windows], axis=0)
    return Windows(size, windows[0].edges, means)


def _curves(each: Sequence[np.ndarray]) -> Curves:
    """Of the x and y of every run, [2, R]; a y that is NaN is left out."""
    if not each:
        return Curves(np.zeros(0), np.zeros(0), ())
    known = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in each]
    shared = functools.reduce(np.intersect1d, [x for x, _ in known])
    rows = [y[np.isin(x, shared)] for x, y in known]
    return Curves(shared, np.mean(rows, axis=0), tuple(known))
