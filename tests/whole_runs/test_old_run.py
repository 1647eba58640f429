"""A run that an earlier version wrote goes on, and is reported."""

import json

import pytest

import launch
from aaa_jax.report.__main__ import main
from aaa_jax.workdir import run_directory, run_facts
from tests.support.run_folders import unpack_earlier_run

pytestmark = pytest.mark.usefixtures("digits_here")


def test_a_run_of_an_earlier_version_goes_on_and_is_reported(tmp_path, capsys):
    path = unpack_earlier_run(tmp_path)
    table = path.parents[2]
    assert main([str(table)]) == 0
    page = (table / "report" / "results.md").read_text()
    assert "## Table 4 scaled down: test error on handwritten digits" in page
    assert "Shortened by max_steps: seed0." in page
    # Exactly the config of the run, except that max_steps does not end it any more.
    overrides = {
        "model.name": "shake_shake",
        "model.options": "{'depth': 8, 'width': 2}",
        "controller.hidden_size": 4,
        "controller.embedding_size": 4,
        "data.num_train_images": 16,
        "batch_size": 8,
        "batch_norm.group_size": 8,
        "policies.num_policies": 2,
        "policies.round_steps": 1,
        "epochs": 3,
        "checkpoint.keep": 1,
        "evaluation.batch_size": 600,
        "evaluation.every_epochs": 1,
        "compilation_cache": False,
        "devices.num_devices": 1,
    }
    command = ["launch.py", "--config=configs/table4_digits.py:digits/ours/seed0"]
    command += [f"--config.cell.{key}={value}" for key, value in overrides.items()]
    assert launch.main([*command, f"--workdir={table}"]) == 0
    assert "going on from the checkpoint at step 4 of 6" in capsys.readouterr().out
    line = run_directory.read_lines(path, "metrics")[-1]
    expected = json.loads((path / "went_on.jsonl").read_text())
    assert line.keys() == expected.keys()
    # The earlier version had no word for a controller that has not moved.
    assert (line.pop("state"), expected.pop("state")) == ("uniform", "ok")
    # Equal on the machine that wrote it; elsewhere XLA rounds differently.
    assert line == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert run_facts.load_facts(path)["origin"]["row"] == "digits"
    assert main([str(table)]) == 0
    assert "Shortened" not in (table / "report" / "results.md").read_text()
