"""What a run cost, from lines written here by hand."""

import pytest

from aaa_jax.experiments import costs
from aaa_jax.experiments.paper_tables import PAPER_COSTS, TABLES
from aaa_jax.workdir import run_directory, snapshots


def _write(path, lines, source="adversarial", device="NVIDIA H100"):
    with run_directory.RunDirectory(
        path, {"policies": {"source": source}}
    ) as directory:
        for step, line in lines:
            directory.write_timing(step, line)
    snapshots.save_facts(path, {"device": device})
    return path


def _epoch(train, evaluation, controller=None, devices=8, steps=10):
    line = {"devices": devices, "steps": steps, "train_seconds": train}
    line["evaluation_seconds"] = evaluation
    return line if controller is None else line | {"controller_seconds": controller}


def test_hours_are_summed_over_devices_and_days_are_not(tmp_path):
    lines = [(10, _epoch(3600.0, 60.0, 36.0)), (20, _epoch(1800.0, 60.0, 18.0, 4))]
    cost = costs.device_hours(_write(tmp_path, lines))
    assert cost.search_hours == pytest.approx((36 * 8 + 18 * 4) / 3600)
    assert cost.training_hours == pytest.approx(8 * 0.99 + 4 * 0.495)
    assert cost.evaluation_hours == pytest.approx(60 * 12 / 3600)
    assert cost.total_hours == pytest.approx(8 + 4 * 0.5)
    assert cost.search_days == pytest.approx(54 / 86400)
    assert cost.training_days == pytest.approx((5400 - 54) / 86400)
    assert (cost.num_devices, cost.device) == (4, "NVIDIA H100")
    assert (cost.steps, cost.timed_steps) == (20, 20)


def test_a_search_done_elsewhere_or_not_timed_is_unknown(tmp_path):
    line = (10, _epoch(3600.0, 0.0, 36.0))
    published = costs.device_hours(_write(tmp_path / "a", [line], "published"))
    untimed = costs.device_hours(_write(tmp_path / "b", [(10, _epoch(3600.0, 0.0))]))
    for cost in (published, untimed):
        assert cost.search_hours is None
        assert cost.search_days is None
        assert cost.total_hours is None
        assert cost.training_hours == pytest.approx(8)


def test_a_run_without_an_epoch_has_no_cost(tmp_path):
    assert costs.device_hours(_write(tmp_path, [])) is None


def _rows(text):
    """The table's cells by the first one of each row."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if "|" in line]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_table_5_has_the_papers_numbers_beside_the_measured_ones(tmp_path):
    ours = [
        _write(tmp_path / f"ours{seed}", [(10, _epoch(hours * 3600, 9.0, 0.0))])
        for seed, hours in enumerate((1.0, 2.0))
    ]
    other = _write(tmp_path / "a", [(10, _epoch(1800.0, 9.0))], "published")
    empty = _write(tmp_path / "empty", [])
    text = costs.cost_table(
        TABLES["table5"], PAPER_COSTS, {"ours": [*ours, empty], "autoaugment": [other]}
    )
    rows = _rows(text)
    paper = rows["AutoAugment, paper's estimate"]
    assert paper[:6] == ["15000", "160", "15160", "10", "1", "11"]
    assert rows["Ours, paper's estimate"][:6] == ["0", "1280", "1280", "0", "1", "1"]
    measured = rows["Ours, here"]
    # 8 and 16 device hours: mean 12, standard deviation sqrt(32).
    assert measured[:3] == ["0 ± 0", "12 ± 5.7", "12 ± 5.7"]
    assert measured[6:] == ["2", "8 x NVIDIA H100"]
    assert rows["AutoAugment, here"][:3] == ["", "4", ""]
    assert "was not run here" in text


def test_cells_without_runs_stay_empty():
    rows = _rows(costs.cost_table(TABLES["table5"], PAPER_COSTS, {}))
    for label in ("AutoAugment, here", "Ours, here"):
        assert rows[label] == [""] * 8


def test_steps_whose_time_is_not_known_are_told(tmp_path):
    lines = [(10, _epoch(60.0, 0.0, 0.0)), (20, _epoch(60.0, 0.0, 0.0, steps=7))]
    run = _write(tmp_path, lines)
    text = costs.cost_table(TABLES["table5"], PAPER_COSTS, {"ours": [run]})
    assert "the time of 3 of 20 steps is not known" in text
