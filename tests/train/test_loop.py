"""The loop: resuming, devices, policy sources, what goes wrong, what is written."""

import contextlib
import json
import re
import shutil
import signal
from unittest import mock

import jax
import numpy as np
import pytest

from aaa_jax.augment import ops, policy_json
from aaa_jax.experiments.build import build
from aaa_jax.experiments.splits import open_splits
from aaa_jax.runtime import devices
from aaa_jax.search import collapse
from aaa_jax.train import loop
from aaa_jax.train.compiled import compile_program, init_run_state
from aaa_jax.workdir import checkpoints, run_directory
from configs import arguments, digits
from tests.support.small_runs import (
    TINY,
    assert_equal_runs,
    copy_until,
    finish,
    small_config,
    start,
    wait_until_saved,
)

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")

EVERY_STEP = {"checkpoint.every_steps": 1}


def _config(argument: str = "ours", **changes):
    return small_config(argument, **EVERY_STEP | changes)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("never_stopped")
    line = loop.train_and_evaluate(_config(**{"checkpoint.keep": 30}), workdir)
    return workdir, line


def test_a_run_writes_what_reports_need(never_stopped):
    workdir, line = never_stopped
    assert (line["step"], line["epoch"], line["test_images"]) == (20, 4, 599)
    assert 0 <= line["test_error"] <= 100
    epochs = run_directory.read_lines(workdir, "metrics")
    assert [entry["step"] for entry in epochs] == [5, 10, 15, 20]
    assert ["test_error" in entry for entry in epochs] == [False, True, False, True]
    rounds = run_directory.read_lines(workdir, "policies")
    assert [entry["step"] for entry in rounds] == [3, 6, 9, 12, 15, 18]
    saved = policy_json.from_json(rounds[0])
    assert saved.policies.ops.shape == (2, 5, 2)
    assert len(rounds[0]["losses"]) == 2
    timing = run_directory.read_lines(workdir, "timing")
    assert sum(entry["steps"] for entry in timing) == 20


def test_every_line_of_a_learned_run_has_the_diagnostics_of_collapse(never_stopped):
    names = {
        *("entropy", "op_entropy", "magnitude_entropy", "entropy_weight", "state"),
        *("top_op_share", "top_magnitude_share", "repeated_ops", "kl"),
        *("loss_spread", "loss_spread_ratio", "loss_log_prob_correlation"),
        "gradient_norm",
        *(f"op_share/{op.name}" for op in ops.OPS),
        *(f"magnitude_share/{magnitude}" for magnitude in range(10)),
    }
    rounds = run_directory.read_lines(never_stopped[0], "policies")
    for line in rounds:
        assert names <= line.keys()
        assert line["state"] in collapse.STATES
        assert {"losses", "standard_errors", "log_probs", "rewards"} <= line.keys()
    # An epoch's line has those of its last round that is over: one ends at step 3, …
    for line in run_directory.read_lines(never_stopped[0], "metrics"):
        last = [entry for entry in rounds if entry["step"] <= line["step"]][-1]
        assert {name: line[name] for name in names} == {n: last[n] for n in names}


def test_the_learning_rate_in_the_lines_is_the_schedules(never_stopped):
    for line in run_directory.read_lines(never_stopped[0], "metrics"):
        expected = 0.05 * (1 + np.cos(np.pi * (line["step"] - 1) / 20))
        np.testing.assert_allclose(line["learning_rate"], expected, rtol=1e-5)


@pytest.mark.parametrize("stop", [7, pytest.param(13, marks=pytest.mark.slow)])
def test_a_run_resumed_in_an_epoch_and_a_round_equals_one_never_stopped(
    stop, never_stopped, tmp_path
):
    copy_until(stop, never_stopped[0], tmp_path)
    loop.train_and_evaluate(_config(**{"checkpoint.every_steps": 2}), tmp_path)
    assert_equal_runs(never_stopped[0], tmp_path)


def test_kill_and_resume_equals_never_stopped(tmp_path):
    """SIGKILL, then SIGTERM, then to the end: the bytes of a run left alone.

    What is killed are processes; what they are compared with runs in this one.
    """
    long = {"epochs": 8, "evaluation.every_epochs": 8}
    long |= {"controller.reward": "gain", "controller.credit": "sub_policy"}
    loop.train_and_evaluate(_config(**long), tmp_path / "alone")
    values = TINY | EVERY_STEP | long
    process = start(tmp_path / "stopped", values)
    wait_until_saved(process, tmp_path / "stopped", 8)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = start(tmp_path / "stopped", values)
    wait_until_saved(process, tmp_path / "stopped", 18)
    process.send_signal(signal.SIGTERM)
    printed, code = finish(process, 120)
    assert code == 128 + signal.SIGTERM, printed
    assert "The same command goes on from there" in printed
    loop.train_and_evaluate(_config(**long), tmp_path / "stopped")
    assert_equal_runs(tmp_path / "alone", tmp_path / "stopped")


def test_a_finished_run_says_so_and_changes_nothing(never_stopped, capsys):
    workdir, line = never_stopped
    before = (workdir / "metrics.jsonl").read_bytes()
    assert loop.train_and_evaluate(_config(), workdir) == line
    assert "this run is finished already: test error" in capsys.readouterr().out
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_another_config_in_the_same_workdir_is_refused(never_stopped):
    """And how to train for longer is said."""
    workdir, _ = never_stopped
    changed = _config(epochs=5, **{"optimizer.learning_rate": 0.3})
    with pytest.raises(run_directory.RunDirectoryError) as caught:
        loop.train_and_evaluate(changed, workdir)
    assert "optimizer.learning_rate: 0.1 in the run directory, 0.3" in str(caught.value)
    assert "epochs: 4 in the run directory, 5 now" in str(caught.value)
    assert f"--config.model.init_from={workdir}" in str(caught.value)


def test_a_run_begins_with_the_weights_of_another(never_stopped, tmp_path, capsys):
    earlier = tmp_path / "earlier"
    shutil.copytree(never_stopped[0], earlier)
    changes = {"model.init_from": str(earlier), "optimizer.learning_rate": 1e-30}
    config = _config("fixed", max_steps=1, **changes)
    loop.train_and_evaluate(config, tmp_path / "new")
    assert (
        "7 leaves came (GroupBatchNorm_0, Conv_0, Dense_0)" in capsys.readouterr().out
    )
    _, before = checkpoints.read_newest(earlier)
    _, after = checkpoints.read_newest(tmp_path / "new")
    params = [name for name in after if name.startswith("train.params.")]
    assert len(params) == 5
    for name in params:  # which a step of size 1e-30 leaves as they are
        np.testing.assert_array_equal(after[name], before[name])
    # What is saved goes on without them; a new run needs them, and leaves no trace.
    shutil.rmtree(earlier)
    config.max_steps = 2
    assert loop.train_and_evaluate(config, tmp_path / "new")["step"] == 2
    assert "leaves came" not in capsys.readouterr().out
    with pytest.raises(
        loop.ConfigError, match=r"^model\.init_from: there is no .*earlier;"
    ):
        loop.train_and_evaluate(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_quick_look_at_a_part_of_the_test_split_says_so(tmp_path, capsys):
    for most, tested in ((20, 20), (100_000, 599)):
        changes = {"evaluation.max_images": most, "checkpoint.every_steps": 0}
        config = _config("fixed", max_steps=1, **changes)
        line = loop.train_and_evaluate(config, tmp_path / str(most))
        said, is_part = capsys.readouterr().out, tested == most
        assert line["test_images"] == tested
        assert line.get("max_test_images") == (most if is_part else None)
        assert (f"({tested} images of the test split: a quick look)" in said) == is_part
        assert ("579 left out: not in the subset asked for" in said) == is_part


def test_a_run_of_explicit_sizes_goes_on_with_what_stands_for_them(tmp_path):
    explicit = {"batch_norm.group_size": 8, "policies.round_steps": 1}
    explicit |= {"evaluation.resize": 256, "epochs": 1, "max_steps": 2}
    loop.train_and_evaluate(_config(**explicit), tmp_path)
    automatic = {"batch_norm.group_size": 0, "policies.round_steps": -1}
    automatic |= {"evaluation.resize": 0, "epochs": 1}
    assert loop.train_and_evaluate(_config(**automatic), tmp_path)["step"] == 5
    with pytest.raises(run_directory.RunDirectoryError, match="group_size: 0 in"):
        loop.train_and_evaluate(
            _config(**automatic | {"batch_norm.group_size": 4}), tmp_path
        )


@pytest.mark.parametrize(
    "argument",
    sorted(set(arguments.ARGUMENTS) - {"ours", "transfer"}),  # which test_replay runs
)
def test_the_loop_runs_every_source_without_knowing_which(argument, tmp_path):
    config = _config(argument, max_steps=4, **{"checkpoint.every_steps": 0})
    line = loop.train_and_evaluate(config, tmp_path)
    assert line["step"] == 4
    assert np.isfinite(line["train_loss"])
    assert ("state" in line) is (argument in ("guarded", "fast", "gain"))


@pytest.mark.parametrize("mapping", ["jit", "pmap", "shard_map"])
def test_a_run_compiles_nothing_after_its_first_epoch(
    mapping, tmp_path, monkeypatch, compiled
):
    seen = []
    epoch_of_a_run = loop.train_epoch

    def train_epoch(*args):
        compiled.clear()
        state = epoch_of_a_run(*args)
        seen.append(len(compiled))
        return state

    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    changes = {"devices.num_devices": 1 if mapping == "jit" else 2}
    changes |= {"devices.mapping": mapping, "evaluation.every_epochs": 1}
    loop.train_and_evaluate(_config(epochs=3, **changes), tmp_path)
    assert seen[0] > 0
    assert seen[1:] == [0, 0]


def test_policies_of_a_round_are_equal_on_any_number_of_devices():
    sampled = []
    for count, mapping in [(1, "jit"), (2, "pmap"), (4, "shard_map")]:
        config = _config(**{"devices.num_devices": count})
        splits = open_splits(config)
        experiment = build(config, splits.spec, splits.num_images)
        used = devices.pick_devices(count)
        program = compile_program(experiment, used, mapping, splits.num_images)
        root = program.place(jax.random.key(0))
        state = program.place(init_run_state(experiment, root, (32, 32, 3)))
        order = program.order(root, np.int32(3))
        drawn = program.sample(state.source, root, np.int32(0))
        sampled.append(jax.device_get((order, drawn)))
    for other in sampled[1:]:
        jax.tree.map(np.testing.assert_array_equal, sampled[0], other)


def test_of_the_initial_state_only_its_compilation_is_not_watched(monkeypatch):
    paused = []

    @contextlib.contextmanager
    def pause():
        paused.append(True)
        yield
        paused.pop()

    def place(state):
        assert not paused  # here it is waited for
        raise InterruptedError(state)

    run = mock.Mock()
    run.watchdog.pause, run.program.place = pause, place
    monkeypatch.setattr(loop, "init_run_state", lambda *_: f"paused {len(paused)}")
    with pytest.raises(InterruptedError, match="paused 1"):
        loop._initial_state(run, None)


DIVERGING = {"optimizer.learning_rate": 1e30, "optimizer.clip_norm": 0.0}
DIVERGING |= {"checkpoint.every_steps": 0}


def test_a_diverging_run_stops_before_the_bad_step_and_names_it(tmp_path):
    config = _config(**DIVERGING)
    with pytest.raises(loop.NonFiniteLoss, match="not finite in epoch 1, after step"):
        loop.train_and_evaluate(config, tmp_path)
    rounds = run_directory.read_lines(tmp_path, "policies")
    assert rounds[-1]["nonfinite_loss"]
    step, leaves = checkpoints.read_newest(tmp_path)
    assert step == rounds[-1]["step"]
    params = [leaf for name, leaf in leaves.items() if "params" in name]
    assert params
    assert all(np.isfinite(leaf).all() for leaf in params)
    before = (tmp_path / "policies.jsonl").read_bytes()
    with pytest.raises(loop.NonFiniteLoss, match=f"after step {step};"):
        loop.train_and_evaluate(config, tmp_path)  # tried again, and written once
    assert (tmp_path / "policies.jsonl").read_bytes() == before


def test_bad_steps_can_be_left_out_and_are_counted(tmp_path, capsys):
    """A run that diverges at once, told to go on, says what it does not know."""
    diverging = DIVERGING | {"max_steps": 10}
    with pytest.raises(loop.NonFiniteLoss):
        loop.train_and_evaluate(_config(**diverging), tmp_path)
    step = run_directory.read_lines(tmp_path, "policies")[-1]["step"]
    assert step < 3
    config = _config(**diverging, on_nonfinite_loss="skip")
    capsys.readouterr()
    line = loop.train_and_evaluate(config, tmp_path)
    printed = capsys.readouterr().out
    first, second = run_directory.read_lines(tmp_path, "metrics")
    assert second == line
    assert (first["skipped_steps"], second["skipped_steps"]) == (5 - step, 10 - step)
    assert np.isfinite(first["train_loss"])
    assert second["train_loss"] is None
    assert (
        f"epoch 2/2  train loss n/a  test error {line['test_error']:.2f} %" in printed
    )
    assert re.search(rf"epoch 2/2 .*  skipped {10 - step}\n", printed)
    assert f", skipped {10 - step} steps\nmetrics, policies" in printed
    rounds = run_directory.read_lines(tmp_path, "policies")
    assert [entry["step"] for entry in rounds] == [3, 6, 9]  # none of the first try
    assert np.isfinite(rounds[0]["losses"]).all()
    for entry in rounds[1:]:
        assert entry["losses"] == entry["standard_errors"] == [None, None]
        assert entry["rewards"] == [0, 0]
        assert entry["loss_spread"] is None
    one, other = (tmp_path / "controller" / f"{step}.npz" for step in (5, 10))
    assert one.read_bytes() == other.read_bytes()  # which learns nothing of them


def test_groups_that_do_not_divide_are_refused_before_anything_is_read(tmp_path):
    config = _config(num_passes=3, **{"data.dir": str(tmp_path / "nowhere")})
    with pytest.raises(loop.ConfigError, match="do not divide over 1 devices x 3"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_quick_start_ends_below_the_error_the_readme_states(tmp_path):
    line = loop.train_and_evaluate(digits.get_config(), tmp_path)
    assert line["test_error"] < 5.0
    rounds = run_directory.read_lines(tmp_path, "policies")
    assert len(rounds) >= 200
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


def test_a_device_that_runs_out_of_memory_gets_twice_the_passes(
    tmp_path, monkeypatch, capsys
):
    """And the same checkpoints go on: nothing that was done is lost."""
    changes = {"epochs": 2, "evaluation.every_epochs": 2}
    loop.train_and_evaluate(_config(num_passes=4, **changes), tmp_path / "explicit")
    compiled = loop.compile_program

    def compile_for_a_small_device(experiment, *arguments, **options):
        program = compiled(experiment, *arguments, **options)
        if experiment.recipe.num_passes >= 4:
            return program

        def step(state, *rest):
            if experiment.recipe.num_passes == 1 or int(state.step) == 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
            return program.step(state, *rest)

        return program._replace(step=step)

    monkeypatch.setattr(loop, "compile_program", compile_for_a_small_device)
    config = _config(num_passes=0, **changes)
    line = loop.train_and_evaluate(config, tmp_path / "small")
    said = capsys.readouterr().out
    assert "ran out of memory with num_passes 1: going on with 2" in said
    assert "ran out of memory with num_passes 2: going on with 4" in said
    assert "going on from the checkpoint at step 4" in said
    assert json.loads((tmp_path / "small" / "run.json").read_text())["num_passes"] == 4
    explicit = run_directory.read_lines(tmp_path / "explicit", "metrics")[-1]
    np.testing.assert_allclose(line["train_loss"], explicit["train_loss"], rtol=1e-4)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        loop.train_and_evaluate(_config(num_passes=2, **changes), tmp_path / "told")
