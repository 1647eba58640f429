"""What a run directory must still hold for its run to go on there, and what goes."""

import json
import types

import jax
import pytest

from aaa_jax.train import records, resume
from aaa_jax.workdir import run_directory, run_facts, snapshots
from aaa_jax.workdir.run_directory import RunDirectoryError
from tests.support.small_runs import bare_experiment

# Five steps an epoch and three a round, up to the checkpoint of step 10.
EPOCHS, ROUNDS = [5, 10], [3, 6, 9]


def _write(path, epochs=EPOCHS, rounds=ROUNDS):
    lines = [{"step": step, "epoch": step // 5} for step in epochs]
    (path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    lines = [{"step": step, "round": step // 3 - 1} for step in rounds]
    lines.append({"step": 10, "nonfinite_loss": True, "epoch": 3})
    (path / "policies.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


@pytest.mark.parametrize("step", range(11))
@pytest.mark.parametrize("without", [*EPOCHS, *ROUNDS, None])
def test_every_line_before_the_checkpoint_is_needed_but_the_last_epochs(
    step, without, tmp_path
):
    epochs, rounds = ([s for s in kept if s != without] for kept in (EPOCHS, ROUNDS))
    _write(tmp_path, epochs, rounds)
    if without in EPOCHS:
        # A signal in the last one's evaluation leaves its line to the run that goes on.
        name, what, over = "metrics", "epoch", [s for s in EPOCHS if s < step]
    else:
        name, what, over = "policies", "round", [s for s in ROUNDS if s <= step]
    if without not in over:
        resume.require_lines(tmp_path, step, bare_experiment())
        return
    message = (
        rf"{name}\.jsonl has lines of {len(over) - 1} of the {len(over)} {what}s .* at "
        rf"the checkpoint of step {step}; .* missing one ended with step {without}\."
    )
    with pytest.raises(RunDirectoryError, match=message):
        resume.require_lines(tmp_path, step, bare_experiment())


def test_other_data_are_refused_where_a_checkpoint_is_of_the_first(tmp_path):
    here = {"the images of the train split": 1, "the images of the test split": 2}
    resume._compare_data(tmp_path, here)
    run_facts.save_facts(tmp_path, {"data": here | {"the images of the test split": 3}})
    resume._compare_data(tmp_path, here)  # nothing was learned from them
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    message = r"other data .* the images of the test split \(3 then, 2 now\) differ"
    with pytest.raises(RunDirectoryError, match=message) as caught:
        resume._compare_data(tmp_path, here)
    assert "train split" not in str(caught.value)
    run_facts.save_facts(tmp_path, {"data": here})
    resume._compare_data(tmp_path, here)
    with pytest.raises(RunDirectoryError, match=r"train split \(1 then, nothing now\)"):
        resume._compare_data(tmp_path, {"the images of the test split": 2})
    run_facts.save_facts(tmp_path, {"device": "cpu"})  # by an older version
    resume._compare_data(tmp_path, here)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"run\.json is not a JSON object"):
        resume._compare_data(tmp_path, here)


def _kept(path, lines, step, total=20) -> list[tuple[int, bool]]:
    """Which (step, tested) of a run are left when it goes on from a step."""
    experiment = bare_experiment(total)
    with run_directory.RunDirectory(path, {}) as run:
        for number, is_tested in lines:
            error = {"test_error": 9.0} if is_tested else {}
            run.write_metrics(number, {"epoch": -(-number // 5)} | error)
            run.write_timing(number, {"steps": 1})
        run.truncate_after(
            step, is_stale=lambda name, x: resume.is_stale(name, x, step, experiment)
        )
    timing = [line["step"] for line in run_directory.read_lines(path, "timing")]
    assert timing == [number for number, _ in lines if number <= step]
    left = run_directory.read_lines(path, "metrics")
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


def _restore(path, step, total=20):
    """What is said when the newest checkpoint is that of a step, or there is none."""
    found = None if step is None else (step, "the state")
    checkpoints = types.SimpleNamespace(restore_latest=lambda state: found)
    with run_directory.RunDirectory(path, {}) as run:
        return resume.restore("fresh", checkpoints, run, bare_experiment(total))


def test_going_on_drops_later_lines_and_snapshots_and_says_so(tmp_path):
    with run_directory.RunDirectory(tmp_path, {}) as run:
        for step in (3, 6, 9):
            run.write_policies(step, {"round": step // 3 - 1})
        run.write_policies(6, {"nonfinite_loss": True})
        run.write_metrics(5, {"epoch": 1})
        run.write_metrics(7, {"epoch": 2, "test_error": 9.0})
    for step in (0, 5, 7, 10):
        snapshots.save_snapshot(tmp_path, step, {"x": 1.0})
    state, said = _restore(tmp_path, 7)
    assert state == "the state"
    assert said.startswith("going on from the checkpoint at step 7 of 20\n")
    assert "written again: 1 of metrics.jsonl, 2 of policies.jsonl" in said
    rounds = run_directory.read_lines(tmp_path, "policies")
    assert rounds == [{"step": 3, "round": 0}, {"step": 6, "round": 1}]
    # The snapshot of step 7 is one of `max_steps`, within an epoch.
    assert snapshots.snapshot_steps(tmp_path) == [0, 5]
    assert "\n" not in _restore(tmp_path, 6)[1]
    assert snapshots.snapshot_steps(tmp_path) == [0, 5]


def test_other_versions_and_settings_than_at_the_last_start_are_named(tmp_path):
    now = records.numerics()
    older = {name: dict(part) for name, part in now.items()}
    older["versions"]["jax"] = "0.1"
    older["numbers"]["enable_x64"] = True
    run_facts.save_facts(tmp_path, older)
    said = _restore(tmp_path, 2)[1]
    assert f"last start: jax is {jax.__version__}, was 0.1; enable_x64 is False" in said
    for same in (now, {}, {"numbers": 1}):
        run_facts.save_facts(tmp_path, same)
        assert "last start" not in _restore(tmp_path, 2)[1]


@pytest.mark.parametrize(
    ("step", "written", "epochs"),
    [
        (0, [], range(4)),
        (5, [5], range(1, 4)),
        (5, [], range(4)),  # its test was interrupted
        (7, [5], range(1, 4)),
        (20, [5, 10, 15], range(3, 4)),
        (20, [5, 10, 15, 20], range(0)),
    ],
)
def test_epochs_left_begin_with_one_whose_line_is_missing(
    step, written, epochs, tmp_path
):
    with run_directory.RunDirectory(tmp_path, {}) as run:
        for number in written:
            run.write_metrics(number, {"epoch": number // 5})
    left = resume.epochs_left(tmp_path, bare_experiment(), step)
    assert list(left) == list(epochs)
