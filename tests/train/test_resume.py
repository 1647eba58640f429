"""What a run directory must still hold for its run to go on there."""

import json

import pytest

from aaa_jax.train.resume import lost, require_data, require_lines
from aaa_jax.workdir import snapshots
from aaa_jax.workdir.run_directory import RunDirectoryError

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
    is_epoch = without in EPOCHS
    # A signal in the evaluation after step 5 leaves its line to the run that goes on.
    needed = without is not None and (without < step if is_epoch else without <= step)
    if not needed:
        require_lines(tmp_path, step, 5, 3)
        return
    name = "metrics" if is_epoch else "policies"
    with pytest.raises(RunDirectoryError, match=f"{name}.jsonl has lines of") as caught:
        require_lines(tmp_path, step, 5, 3)
    assert f"at the checkpoint of step {step}; " in str(caught.value)
    assert f"the first that lacks ended with step {without}." in str(caught.value)


def test_files_that_are_gone_are_named_with_what_they_should_have(tmp_path):
    message = r"metrics\.jsonl has lines of 0 of the 1 epochs .* --workdir"
    with pytest.raises(RunDirectoryError, match=message):
        require_lines(tmp_path, 10, 5, 3)
    require_lines(tmp_path, 2, 5, 3)  # nothing was over then
    _write(tmp_path, epochs=[])
    require_lines(tmp_path, 5, 5, 3)


def test_other_data_are_refused_where_a_checkpoint_is_of_the_first(tmp_path):
    here = {"the images of the train split": 1, "the images of the test split": 2}
    require_data(tmp_path, here)
    snapshots.save_facts(tmp_path, {"data": here | {"the images of the test split": 3}})
    require_data(tmp_path, here)  # nothing was learned from them
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    message = r"other data .* the images of the test split \(3 then, 2 now\) differ"
    with pytest.raises(RunDirectoryError, match=message) as caught:
        require_data(tmp_path, here)
    assert "train split" not in str(caught.value)
    snapshots.save_facts(tmp_path, {"data": here})
    require_data(tmp_path, here)
    with pytest.raises(RunDirectoryError, match=r"train split \(1 then, nothing now\)"):
        require_data(tmp_path, {"the images of the test split": 2})
    snapshots.save_facts(tmp_path, {"device": "cpu"})  # by an older version
    require_data(tmp_path, here)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"run\.json is not JSON"):
        require_data(tmp_path, here)


def test_what_was_taken_out_is_said():
    assert lost({}, None) == lost({}, 7) == ""
    assert "2 of metrics.jsonl, 1 of timing.jsonl" in lost(
        {"metrics": 2, "timing": 1}, 7
    )
    assert "kept as NAME.before-N" in lost({"metrics": 2}, None)
