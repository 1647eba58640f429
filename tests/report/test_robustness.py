"""Probes and corruption errors: what is averaged, and what is said of the rest."""

import pytest

from aaa_jax.report import csv_file, result_tables
from aaa_jax.report.figures import robustness
from aaa_jax.report.measures import CORRUPTION_ERROR
from tests.support.run_folders import (
    family_of,
    write_corruption,
    write_probe,
    write_run,
)


def csv_row(family, column):
    """The line of the mean corruption error of a group."""
    wanted = (column, "mean_corruption_error")
    rows = csv_file.family_lines(family)
    return next(row for row in rows if (row["column"], row["measure"]) == wanted)


def test_corruption_errors_are_compared_in_pairs(tmp_path):
    for seed, (own, other) in enumerate(((20.0, 22.0), (30.0, 31.0))):
        for argument, value in (("ours", own), ("random", other)):
            run = write_run(tmp_path / f"{argument}{seed}", argument, seed=seed)
            write_corruption(run, {"fog": [value] * 5, "snow": [value + 2] * 5})
    family = family_of(tmp_path)
    found = CORRUPTION_ERROR.difference(family, family.group("ours"))
    assert found.mean == pytest.approx(-1.5, abs=1e-9)
    row = csv_row(family, "ours")
    assert (row["mean"], row["seeds"]) == ("26", "0 1")  # of 21 and 31


def test_corruptions_that_not_all_runs_have_are_left_out_by_name(tmp_path):
    """Means are over what all have, and what is left out stands on the page."""
    of_ours = {"fog": [10.0] * 5, "snow": [90.0] * 5, "pixelate": [4.0] * 5}
    sides = {"fog": 224, "snow": 224, "pixelate": 32}
    ours = write_run(tmp_path / "ours", "ours")
    write_corruption(ours, of_ours, side=sides, left_out={"frost": "why"})
    random = write_run(tmp_path / "random", "random")
    of_random = {"fog": [8.0] * 5, "pixelate": [2.0] * 5, "contrast": [3.0] * 5}
    sides = {"fog": 224, "pixelate": 224, "contrast": 32}
    write_corruption(random, of_random, side=sides, left_out={"frost": "", "snow": ""})
    family = family_of(tmp_path)
    row = csv_row(family, "ours")
    assert (row["mean"], row["difference_to_random"]) == ("10", "2")
    notes = " ".join(result_tables.results(family).notes)
    for text in (robustness.corruption_bars(family).caption, notes):
        assert "alike in all runs, and left out: pixelate, contrast, snow." in text
        assert "Not measured: frost." in text
    assert "over 1 corruptions of 5 severities, 50 test images" in notes


def test_measurements_on_other_images_or_steps_are_named_and_not_averaged(tmp_path):
    measured = ((10.0, {}), (20.0, {}), (90.0, {"num_images": 9}), (80.0, {"step": 6}))
    measured += ((70.0, {"published": "CIFAR-10-C"}),)
    for seed, (error, more) in enumerate(measured):
        run = write_run(tmp_path / f"ours{seed}", seed=seed)
        write_corruption(run, {"fog": [error] * 5}, **more)
        write_probe(run, [[error / 100] * 10] * 16, **more)
    run = write_run(tmp_path / "ours5", seed=5, errors=(50.0,), epochs=2)  # unfinished
    write_probe(run, [[1.0] * 10] * 16)
    family = family_of(tmp_path)
    line = csv_row(family, "ours")
    assert (line["n"], line["seeds"], line["mean"]) == ("2", "0 1", "15")
    bars = robustness.corruption_bars(family)
    heat = robustness.probe_map(family, family.groups[0])
    assert "the lowest is 15.0 %" in heat.alternative
    for caption in (bars.caption, heat.caption):
        assert "Measured before the last step, and in no mean: ours3." in caption
        others = "ours2 (9), ours4 (50 of CIFAR-10-C)"
        assert f"On other images, and in no mean: {others}." in caption
    said = "50 test images under one op each, after step 12; n = 2, seeds 0, 1"
    assert said in heat.caption
    assert "ours (n = 2, seeds 0, 1)" in bars.svg.decode()
    assert "50 test images;" in bars.caption
