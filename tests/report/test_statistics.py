"""Means, intervals, windows and the places of labels, against formulas."""

import math
import statistics

import numpy as np
import pytest

from aaa_jax.report import series
from aaa_jax.report import statistics as estimates
from aaa_jax.report.figures import style


def test_the_mean_and_its_spread_are_those_of_the_statistics_module():
    values = [1.5, 2.75, 2.5, 9.0]
    found = estimates.estimate(values)
    assert found.mean == pytest.approx(statistics.mean(values), rel=1e-12)
    assert found.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert estimates.show_estimate(found) == "3.94 ± 3.42 (n = 4)"
    assert estimates.show_estimate(estimates.estimate([2.0])) == "2.00 (1 run)"
    assert estimates.show_estimate(estimates.estimate([])) == ""


def test_the_t_interval_of_two_and_three_values_is_the_closed_form():
    # The quantile of Student's t is closed with one and two degrees of freedom.
    p = 0.975
    one = math.tan(math.pi * (p - 0.5))
    two = (2 * p - 1) * math.sqrt(2 / (4 * p * (1 - p)))
    for quantile, values in ((one, [1.0, 4.0]), (two, [1.0, 4.0, 2.0])):
        zeros = dict.fromkeys(range(len(values)), 0.0)
        found = estimates.paired_difference(dict(enumerate(values)), zeros)
        half = quantile * statistics.stdev(values) / math.sqrt(len(values))
        assert found.high == pytest.approx(found.mean + half, rel=1e-9)
        assert found.low == pytest.approx(found.mean - half, rel=1e-9)


def test_differences_are_paired_by_the_seeds_that_both_have():
    found = estimates.paired_difference({0: 1.0, 1: 6.0, 7: 9.0}, {1: 4.0, 0: 2.0})
    assert (found.seeds, found.mean) == ((0, 1), 0.5)
    assert estimates.paired_difference({0: 1.0}, {1: 1.0}) is None
    alone = estimates.paired_difference({0: 1.0}, {0: 2.0})
    assert estimates.show_difference(alone) == "-1.00 (1 pair)"


def test_windows_are_means_of_five_epochs_and_the_last_may_be_shorter():
    epochs = np.repeat(np.arange(1, 13), 2)
    values = np.random.RandomState(0).rand(24, 3)
    values[5] = np.nan  # a line that lacks them
    found = series.window_means(epochs, values, 5, 12)
    assert found.edges.tolist() == [0, 5, 10, 12]
    for window, (first, last) in enumerate(((1, 5), (6, 10), (11, 12))):
        rows = [
            values[i]
            for i in range(24)
            if first <= epochs[i] <= last and not np.isnan(values[i]).any()
        ]
        assert found.means[window] == pytest.approx(np.mean(rows, axis=0), abs=1e-12)
    assert series.window_size(34) == 5
    assert series.window_size(10) == 1


def test_shares_of_several_seeds_weigh_every_seed_alike(family):
    members = list(family.group("ours").finished)
    found = series.mean_windows(members, "expected_ops")
    each = [run.rounds.shares["expected_ops"][2:4].mean(axis=0) for run in members]
    assert found.size == 1
    assert found.means[1] == pytest.approx(np.mean(each, axis=0), abs=1e-12)
    assert found.means.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-9)


def test_curves_average_where_all_runs_have_a_value(family, final_errors):
    ours = family.group("ours")
    found = series.metric_curves(ours.finished, "test_error")
    assert found.x.tolist() == [1, 3, 4]
    mean = statistics.mean(final_errors["ours"])
    assert found.mean[-1] == pytest.approx(mean, rel=1e-12)
    assert series.metric_curves(ours.runs, "test_error").x.tolist() == [1]


def test_labels_keep_their_distance_and_stay_inside():
    random = np.random.RandomState(0)
    for count in (1, 3, 16, 40):
        places = style.spread(sorted(100 * random.rand(count)), 5.0, 0, 100)
        least = min(5.0, 100 / max(count - 1, 1))
        assert (np.diff(places) >= least - 1e-9).all()
        assert 0 <= min(places) <= max(places) <= 100 + 1e-9
    assert style.spread([10.0, 50.0], 5, 0, 100) == [10.0, 50.0]
