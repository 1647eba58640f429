"""What a run's lines and messages say, of arrays on the host."""

import types

import numpy as np
import pytest

from aaa_jax.experiments.build import Experiment
from aaa_jax.search import collapse
from aaa_jax.train import records
from aaa_jax.train.compiled import Round
from aaa_jax.workdir import run_directory


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("", False),
        ("--xla_gpu_deterministic_ops=true", True),
        ("--xla_gpu_deterministic_ops=TRUE", True),
        ("--xla_gpu_deterministic_ops=1", True),
        ("--xla_gpu_deterministic_ops", True),
        ("--xla_gpu_deterministic_ops=false", False),
        ("--xla_gpu_deterministic_ops=0", False),
        ("--xla_dump_to=deterministic", False),
        ("--xla_gpu_deterministic_ops=true --xla_gpu_deterministic_ops=false", False),
        ("--a=b --xla_gpu_deterministic_ops=false  --xla_gpu_deterministic_ops", True),
    ],
)
def test_the_last_word_on_determinism_counts(flags, told):
    assert records.is_deterministic(flags) is told


def test_a_run_on_a_gpu_promises_what_its_flags_say(monkeypatch):
    layout = types.SimpleNamespace(num_images=8, num_rows=16)
    experiment = types.SimpleNamespace(
        recipe=types.SimpleNamespace(round_steps=3, layout=layout),
        source=types.SimpleNamespace(name="random", num_policies=2),
        total_steps=20,
        scale=1.0,
    )
    gpu = types.SimpleNamespace(platform="gpu", device_kind="a GPU", process_index=0)
    for value, promise in (("true", "bit for bit"), ("false", records.NEARLY)):
        monkeypatch.setenv("XLA_FLAGS", f"--xla_gpu_deterministic_ops={value}")
        said = records.beginning(experiment, "digits", [gpu], "jit")
        assert said.endswith(f"a resumed run equals one never stopped {promise}")


def _experiment(total_steps: int) -> types.SimpleNamespace:
    """Of epochs of 5 steps."""
    experiment = types.SimpleNamespace(
        total_steps=total_steps, recipe=types.SimpleNamespace(steps_per_epoch=5)
    )
    experiment.ends_epoch = lambda step: Experiment.ends_epoch(experiment, step)
    return experiment


# Of a run of 20 steps that is tested every second epoch: what its line of a step holds.
NEVER_STOPPED = {5: False, 10: True, 15: False, 20: True}


def _kept(tmp_path, lines, step, total=20) -> list[tuple[int, bool]]:
    """Which (step, tested) of a run are left when it goes on from a step."""
    with run_directory.RunDirectory(tmp_path, {}) as run:
        for number, is_tested in lines:
            error = {"test_error": 9.0} if is_tested else {}
            run.write_metrics(number, {"epoch": -(-number // 5)} | error)
            run.write_timing(number, {"steps": 1})
        is_tested = step % 10 == 0 or step == total
        stale = records.stale_lines(step, _experiment(total), is_tested)
        run.truncate_after(step, is_stale=stale)
    timing = [line["step"] for line in run_directory.read_lines(tmp_path, "timing")]
    assert timing == [number for number, _ in lines if number <= step]
    left = run_directory.read_lines(tmp_path, "metrics")
    return [(line["step"], "test_error" in line) for line in left]


def test_going_on_beyond_max_steps_drops_what_was_written_for_its_sake(tmp_path):
    def kept(name, lines, step, total=20):
        return _kept(tmp_path / name, lines, step, total)

    # `max_steps` was 7, within the second epoch; and 5, at an epoch's end, untested.
    assert kept("in an epoch", [(5, False), (7, True)], 7) == [(5, False)]
    assert kept("at its end", [(5, True)], 5) == []
    # It was 10, where a test is due anyhow; and is still 7.
    assert kept("due", [(5, False), (10, True)], 10) == [(5, False), (10, True)]
    lines = [(5, False), (7, True)]
    assert kept("still", lines, 7, total=7) == lines
    # It is 5 now: the last line lacks its test. And an older one is none of ours.
    assert kept("lower", [(5, False)], 5, total=5) == []
    lines = [(5, True), (10, True), (15, False)]
    assert kept("older", lines, 15) == lines


def test_going_on_drops_the_policies_of_a_loss_that_was_not_finite(tmp_path):
    with run_directory.RunDirectory(tmp_path, {}) as run:
        run.write_policies(6, {"round": 1})
        run.write_policies(6, {"nonfinite_loss": True})
        stale = records.stale_lines(6, _experiment(20), False)
        assert run.truncate_after(6, is_stale=stale) == {"policies": 1}
    assert run_directory.read_lines(tmp_path, "policies") == [{"step": 6, "round": 1}]


def test_the_entropy_shown_is_that_of_ops_and_magnitudes_together():
    info = {"op_entropy": np.float32(0.5), "magnitude_entropy": np.float32(0.25)}
    shown = records.entropy(Round(policies=(), info=info))
    assert shown == collapse.joint_entropy(0.5, 0.25)


def test_a_finished_run_says_how_many_steps_it_left_out():
    line = {"test_error": 12.5, "epoch": 3, "test_images": 599, "state": "ok"}
    said = records.ending(line, "runs/x", was_finished=False)
    assert "(599 images), controller ok\n" in said
    said = records.ending(line | {"skipped_steps": 4}, "runs/x", was_finished=False)
    assert "(599 images), controller ok, skipped 4 steps\n" in said
