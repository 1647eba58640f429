"""Transfer end to end: one run records and keeps snapshots, another replays them."""

import itertools
import json

import jax
import pytest

from aaa_jax.experiments import build
from aaa_jax.report.runs import read_runs
from aaa_jax.train import loop
from aaa_jax.workdir import run_directory, run_facts, snapshots
from configs import cifar10_wrn28x10, digits, imagenet_r50
from tests.support.small_runs import assert_equal_runs, copy_until, small_config

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")

# N = 8, 5 steps an epoch; a round is an epoch, as in the paper.
WHOLE_EPOCHS = {
    "policies.round_steps": 0,
    "evaluation.batch_size": 600,
    "evaluation.every_epochs": 4,
}


# M = 6, so that five of them are fewer than all.
SOURCE = {"policies.num_policies": 6, "policies.ranges": "monotone10"}
STEPS = [0, 5, 10, 15, 20]  # the beginning and the epochs' ends


def _config(argument, **changes):
    changes = {"checkpoint.keep": 9} | changes
    return small_config(argument, **WHOLE_EPOCHS | changes)


@pytest.fixture(scope="module")
def source_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("source")
    loop.train_and_evaluate(_config("ours", **SOURCE), workdir)
    return workdir


def test_a_learned_run_keeps_its_controller_at_every_epochs_end(source_run):
    assert snapshots.snapshot_steps(source_run) == STEPS
    kernels = [
        snapshots.load_snapshot(source_run, step)["params"]["op_kernel"]
        for step in STEPS
    ]
    assert all(kernel.shape == (100, 16) for kernel in kernels)
    changed = [(a != b).any() for a, b in itertools.pairwise(kernels)]
    assert all(changed)
    facts = run_facts.load_facts(source_run)
    assert (facts["total_steps"], facts["round_steps"]) == (20, 5)
    assert facts["device"] == jax.devices()[0].device_kind


def test_the_search_is_timed_as_a_part_of_the_training(source_run):
    for line in run_directory.read_lines(source_run, "timing"):
        assert 0 < line["controller_seconds"] < 60
    [run] = read_runs([source_run])
    cost = run.cost
    assert cost.search_hours > 0
    assert cost.timed_steps == cost.steps == 20


def test_a_run_resumed_keeps_the_same_bytes_of_its_controller(source_run, tmp_path):
    """One that died after 15 steps, before the checkpoint of that step."""
    copy_until(10, source_run, tmp_path)
    (tmp_path / "controller" / "20.npz").write_bytes(b"of a step that will be redone")
    (tmp_path / "controller" / "17.npz").write_bytes(b"of a step that has no epoch")
    loop.train_and_evaluate(_config("ours", **SOURCE), tmp_path)
    assert snapshots.snapshot_steps(tmp_path) == STEPS
    for step in STEPS:
        path = f"controller/{step}.npz"
        assert (tmp_path / path).read_bytes() == (source_run / path).read_bytes()
    assert_equal_runs(source_run, tmp_path)


def _expected_chains(line):
    """The sub-policies of the five policies of highest loss, in a recorded round."""
    order = sorted(range(6), key=lambda m: -line["losses"][m])[:5]
    return [chain for m in order for chain in line["policies"][m]]


def test_a_transfer_run_applies_what_the_source_run_recorded(source_run, tmp_path):
    epochs = 6
    changes = {"policies.replay_run": str(source_run), "epochs": epochs}
    config = _config("transfer", **changes)
    line = loop.train_and_evaluate(config, tmp_path)
    assert line["epoch"] == epochs
    recorded = run_directory.read_lines(source_run, "policies")
    replayed = run_directory.read_lines(tmp_path, "policies")
    assert len(replayed) == epochs
    for epoch, replayed_line in enumerate(replayed):
        expected = recorded[epoch * 4 // epochs]
        assert replayed_line["policies"] == [_expected_chains(expected)]
        for key in ("ranges", "order", "fill"):
            assert replayed_line[key] == expected[key]
    assert recorded[0]["ranges"] == "monotone10"
    assert snapshots.snapshot_steps(tmp_path) == []


@pytest.mark.slow  # test_replay.py has the source alone
def test_policies_of_a_file_train_a_network(source_run, tmp_path):
    recorded = run_directory.read_lines(source_run, "policies")[-1]
    path = tmp_path / "policies.json"
    path.write_text(json.dumps(recorded))
    changes = {"policies.source": "file", "policies.file": str(path), "epochs": 1}
    config = _config("ours", **changes, **{"policies.num_policies": 6})
    loop.train_and_evaluate(config, tmp_path / "run")
    [line] = run_directory.read_lines(tmp_path / "run", "policies")
    assert line["policies"] == recorded["policies"]
    assert line["ranges"] == "monotone10"


@pytest.mark.parametrize("preset", [digits, cifar10_wrn28x10, imagenet_r50])
def test_every_kind_of_preset_can_replay_a_run(preset, source_run):
    config = preset.get_config("transfer")
    config.policies.replay_run = str(source_run)
    build.check_config(config)
