"""What runs cost, from lines written here by hand, and Table 5 of it."""

import math

import pytest

from aaa_jax.report import costs, runs, write
from aaa_jax.report.figures import efficiency
from aaa_jax.report.measures import DEVICE_HOURS
from tests.support.run_folders import family_of, write_cell, write_run


def epoch(step, train, controller=None, devices=8, steps=10):
    line = {"step": step, "devices": devices, "steps": steps, "train_seconds": train}
    return line if controller is None else line | {"controller_seconds": controller}


def test_hours_are_summed_over_devices_and_days_are_not():
    lines = [epoch(10, 3600.0, 36.0), epoch(20, 1800.0, 18.0, 4)]
    cost = costs.run_cost(lines, "adversarial", "NVIDIA H100")
    assert cost.search_hours == pytest.approx((36 * 8 + 18 * 4) / 3600)
    assert cost.training_hours == pytest.approx(8 * 0.99 + 4 * 0.495)
    assert cost.device_hours == pytest.approx(8 + 4 * 0.5)
    assert cost.search_days == pytest.approx(54 / 86400)
    assert cost.training_days == pytest.approx((5400 - 54) / 86400)
    assert cost.days == pytest.approx(5400 / 86400)
    assert cost.devices == "4 x NVIDIA H100"
    assert (cost.steps, cost.timed_steps) == (20, 20)
    assert costs.run_cost([], "adversarial", "") is None


def test_a_search_done_elsewhere_or_not_timed_is_unknown():
    published = costs.run_cost([epoch(10, 3600.0, 36.0)], "published", "")
    untimed = costs.run_cost([epoch(10, 3600.0)], "adversarial", "")
    for cost in (published, untimed):
        assert math.isnan(cost.search_hours + cost.search_days)
        assert cost.training_hours == pytest.approx(8)


def rows_of(table):
    """The cells that follow the names of each row."""
    return {row[:2]: row[2:] for row in table.rows}


def test_table_5_has_the_papers_numbers_beside_the_measured_ones():
    ours = [
        costs.run_cost([epoch(10, hours * 3600, 0.0)], "adversarial", "NVIDIA H100")
        for hours in (1.0, 2.0)
    ]
    other = costs.run_cost([epoch(10, 1800.0)], "published", "")
    table = costs.cost_table({"ours": ours, "autoaugment": [other], "random": ours})
    rows = rows_of(table)
    papers = [" ".join(rows[name, "paper"][:6]) for name in ("AutoAugment", "Ours")]
    assert papers == ["15000 160 15160 10 1 11", "0 1280 1280 0 1 1"]
    # 8 and 16 device hours: mean 12, standard deviation sqrt(32).
    assert rows["Ours", "here"][:3] == ("0 ± 0", "12 ± 5.7", "12 ± 5.7")
    assert rows["Ours", "here"][6:] == ("2", "8 x NVIDIA H100")
    assert rows["AutoAugment", "here"][:3] == ("", "4", "")
    assert "was not run here" in " ".join(table.notes)
    alone = rows_of(costs.cost_table({"ours": ours}))
    assert alone["AutoAugment", "here"] == ("",) * 8
    assert costs.cost_table({"random": ours}) is None


def test_steps_whose_time_is_not_known_are_told():
    lines = [epoch(10, 60.0, 0.0), epoch(20, 60.0, 0.0, steps=7)]
    table = costs.cost_table({"ours": [costs.run_cost(lines, "adversarial", "")]})
    assert "the time of 3 of 20 steps is not known" in " ".join(table.notes)


def test_table_5_counts_the_finished_runs_of_table_3(tmp_path):
    cell = (tmp_path, "table3", "resnet50")
    for seed, errors in enumerate(((9.0,), (9.0, 8.0, 7.0))):
        write_cell(*cell, "autoaugment", seed=seed, errors=errors)
    write_cell(*cell, "ours", errors=(9.0,), epochs=2)
    sections, _ = write._tables(runs.read_runs([tmp_path]), [])
    rows = rows_of(sections[0].parts[1])
    here = rows["AutoAugment", "here"]
    # One epoch and three, of 36 s on 2 devices: two epochs in the mean.
    assert float(here[1].split(" ± ")[0]) == pytest.approx(2 * 2 * 36 / 3600)
    assert here[6] == "2"
    assert not any(rows["Ours", "here"])


def test_efficiency_is_relative_to_autoaugment(tmp_path):
    write_run(tmp_path / "a", "autoaugment", errors=(20.0,))
    write_run(tmp_path / "b", "ours", errors=(10.0, 4.0))
    family = family_of(tmp_path)
    # An epoch of 36 s on 2 devices, one for AutoAugment and two for ours.
    found = DEVICE_HOURS.mean(family, family.group("ours"))
    assert found.mean == pytest.approx(2 * 2 * 36 / 3600, rel=1e-12)
    groups = family.group("ours"), family.group("autoaugment")
    assert efficiency.relative_efficiency(*groups) == pytest.approx(
        (96 / 80, 1 / 2, 1 / 2), rel=1e-12
    )
    # Table 5's 12 times less computing and 11 times less time.
    _, computing, time = efficiency.paper_efficiency()
    assert computing == pytest.approx(15160 / 1280)
    assert time == 11
