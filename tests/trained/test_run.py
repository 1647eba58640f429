"""A network read back is the one that the run tested, and reading leaves no trace."""

import json
import os
import pathlib
import re

import jax
import numpy as np
import pytest

from aaa_jax import data
from aaa_jax.trained import probe
from aaa_jax.trained import run as trained
from aaa_jax.workdir import checkpoints, run_directory
from tests.oracles import by_hand
from tests.support.damage import flip_a_bit

pytestmark = pytest.mark.usefixtures("light_compiler")


def _contents(folder: pathlib.Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {os.path.relpath(path, folder): path.read_bytes() for path in files}


def test_the_network_has_the_test_error_that_the_run_logged(run):
    workdir, line = run
    loaded = trained.load_run(workdir)
    assert loaded.step == line["step"] == 4
    split = trained.load_images(loaded, 10_000)
    assert len(split.labels) == line["test_images"] == 599
    right = trained.count_correct(loaded, loaded.variables, split.images, split.labels)
    assert 100 * (1 - int(right) / 599) == line["test_error"]
    assert loaded.ranges == "monotone10"
    assert loaded.fill == (78, 78, 78)


@pytest.mark.parametrize(
    ("fill", "color"), [("black", (0, 0, 0)), ("alpha", (78, 78, 78))]
)
def test_moved_in_pixels_have_the_configs_color_or_the_mean(fill, color, copied):
    config = json.loads((copied / "config.json").read_text())
    config["policies"]["fill"] = fill
    (copied / "config.json").write_text(json.dumps(config))
    assert trained.load_run(copied).fill == color


def test_the_directory_alone_says_what_the_network_needs(run, copied):
    config = json.loads((copied / "config.json").read_text())
    config["data"] |= {"dir": "nowhere", "name": "folder:nowhere"}
    (copied / "config.json").write_text(json.dumps(config))
    loaded, here = trained.load_run(copied), trained.load_run(run[0])
    assert loaded.spec == here.spec == data.DATASETS["digits"]
    assert loaded.class_names == here.class_names == tuple("0123456789")
    assert (loaded.stream.image_size, loaded.resize) == (32, 32)


def test_a_run_is_found_by_a_relative_path_too(copied, monkeypatch):
    monkeypatch.chdir(copied.parent)
    assert trained.load_run(copied.name).step == 4


def test_of_a_run_of_an_earlier_version_the_dataset_says_it(run, copied):
    facts = json.loads((copied / "run.json").read_text())
    del facts["dataset"]
    (copied / "run.json").write_text(json.dumps(facts))
    assert trained.load_run(copied).class_names == tuple("0123456789")
    loaded = trained.load_run(copied, data_dir="nowhere")
    assert (loaded.spec, loaded.class_names) == (data.DATASETS["digits"], ())
    assert "does not name its classes" in trained.unnamed_classes(loaded)
    config = json.loads((copied / "config.json").read_text())
    config["data"]["name"] = "folder:nowhere"
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(data.DatasetError, match="says nothing of the dataset"):
        trained.load_run(copied)


def test_images_that_fill_up_a_batch_are_not_counted(monkeypatch):
    monkeypatch.setattr(trained, "BATCH_SIZE", 10)
    network, split = by_hand.make_run("monotone"), by_hand.make_split()
    layer = network.variables["params"]["Dense_0"]
    black = int(by_hand.numpy_answers(network, np.zeros((1, 32, 32, 3)))[0])
    # Black, with which the batch is filled up, becomes class 0.
    layer["kernel"] = np.roll(layer["kernel"], -black, axis=1)
    answers = by_hand.numpy_answers(network, split.images)
    count = trained.make_counter(network)
    assert count(split.images, answers) == by_hand.COUNT
    assert count(split.images, answers + 1) == 0


def test_a_subset_is_stratified_and_always_the_same(run):
    loaded = trained.load_run(run[0])
    split, again = (trained.load_images(loaded, 60) for _ in range(2))
    np.testing.assert_array_equal(split.images, again.images)
    whole = np.bincount(trained.load_images(loaded, 599).labels)
    assert np.all(np.abs(np.bincount(split.labels) - whole * 60 / 599) < 1)


def test_reading_changes_nothing_and_takes_no_lock(copied):
    unfinished = copied / "checkpoints" / "15.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "part").write_text("a save under way")
    held = run_directory.RunDirectory(copied, run_directory.read_config(copied))
    with held:  # as a live run does
        before = _contents(copied)
        assert trained.load_run(copied).step == 4
        assert _contents(copied) == before


def _damage(step: pathlib.Path) -> None:
    """A flipped bit in every file of data."""
    files = [path for path in step.rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        flip_a_bit(path)


def test_a_damaged_checkpoint_is_passed_over_and_left_where_it_is(copied):
    _damage(copied / "checkpoints" / "4")
    before = _contents(copied)
    with pytest.warns(UserWarning, match="step 4 is damaged; the one of step 2"):
        assert trained.load_run(copied).step == 2
    assert _contents(copied) == before
    _damage(copied / "checkpoints" / "2")
    with pytest.raises(trained.TrainedError, match=r"steps \[4, 2\] are damaged"):
        trained.load_run(copied)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(run, monkeypatch):
    def refuse(path):
        raise checkpoints.CheckpointError(f"cannot read {path}: PERMISSION_DENIED")

    monkeypatch.setattr(checkpoints, "read", refuse)
    with pytest.raises(trained.TrainedError, match=r"cannot read .*4: PERMISSION"):
        trained.load_run(run[0])


def test_what_cannot_be_read_is_refused_in_one_line(run, tmp_path, capsys):
    assert probe.main([str(tmp_path / "nowhere")]) == 2
    assert "it has no config.json; give the --workdir" in capsys.readouterr().err
    (tmp_path / "config.json").write_bytes((run[0] / "config.json").read_bytes())
    assert probe.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no sound checkpoint (none is there): let the run save one" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "config.json is not the config of a run .* data.name is missing"),
        ('{"data": 3}', "data.name is missing"),
        ("[]", "config.json is not a JSON object"),
        ('"tests.support.tiny:factory"', '"lenet"'),
        ('"group_size": 4', '"group_size": 3'),
        ('"group_size": 4', '"group_size": "4"'),
    ],
)
def test_a_config_that_no_run_has_is_refused_in_one_line(
    text, message, run, tmp_path, capsys
):
    config = (run[0] / "config.json").read_text()
    if text in config:
        text, message = config.replace(text, message), r"config\.json"
    (tmp_path / "config.json").write_text(text)
    assert probe.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert str(tmp_path) in error


def test_a_checkpoint_of_another_network_is_refused(run, tmp_path):
    (tmp_path / "config.json").write_bytes((run[0] / "config.json").read_bytes())
    state = {"train": {"params": {"Conv_0": {"kernel": jax.numpy.ones((3, 3))}}}}
    with checkpoints.Checkpoints(tmp_path / "checkpoints") as saved:
        saved.save(1, state)
    with pytest.raises(trained.TrainedError, match=r"has nothing for train\.batch"):
        trained.load_run(tmp_path)


def test_the_files_of_a_probe_are_written_into_the_run(copied, capsys):
    assert probe.main([str(copied), "--images=50"]) == 0
    result = json.loads((copied / "probe.json").read_text())
    assert (result["version"], result["step"], result["num_images"]) == (1, 4, 50)
    assert np.shape(result["accuracy"]) == (len(result["ops"]), 10) == (16, 10)
    printed = capsys.readouterr().out
    assert "50 images of 10 classes (test), 549 left out: not in the subset" in printed
    assert "on 50 clean images" in printed
    assert probe.main([str(copied), "--images=3"]) == 2
    assert "a subset of 3 images cannot be taken" in capsys.readouterr().err
