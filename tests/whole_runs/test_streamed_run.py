"""A streamed run, whole: resumed in mid-epoch, on more devices, with bad images."""

import json
import shutil

import cv2
import numpy as np
import optax
import pytest

from aaa_jax import data
from aaa_jax.augment import standard
from aaa_jax.train import errors, loop
from aaa_jax.trained import run as trained
from aaa_jax.workdir import run_directory
from configs import folder as folder_preset
from tests.support.small_runs import assert_equal_runs, copy_until, small_config
from tests.support.tfds_folders import PICTURES, write_pictures

pytestmark = pytest.mark.usefixtures("light_compiler")

# 11 images, N = 2, M = 2: 5 steps an epoch, 2 epochs, a round of 3 steps.
STREAMED = {
    "data.name": "tiny",
    "data.num_train_images": 0,
    "data.image_size": 16,
    "data.num_threads": 2,
    "batch_size": 2,
    "batch_norm.group_size": 2,
    "augment.padding": 0,
    "epochs": 2,
    "checkpoint.every_steps": 1,
    "checkpoint.keep": 20,
    "evaluation.batch_size": 4,
    "evaluation.resize": 20,
    "evaluation.every_epochs": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    write_pictures(folder)
    return folder


def config_of(folder, **changes):
    return small_config(**STREAMED | {"data.dir": str(folder)} | changes)


@pytest.fixture(scope="module")
def never_stopped(folder, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("never_stopped")
    loop.train_and_evaluate(config_of(folder), workdir)
    return workdir


def test_a_streamed_run_has_its_steps_and_tests_every_image(never_stopped):
    lines = run_directory.read_lines(never_stopped, "metrics")
    assert [line["step"] for line in lines] == [5, 10]
    assert [line["test_images"] for line in lines] == [7, 7]
    assert len(run_directory.read_lines(never_stopped, "policies")) == 3


@pytest.mark.parametrize("stop", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_a_streamed_run_goes_on_in_the_middle_of_an_epoch(
    stop, folder, never_stopped, tmp_path
):
    copy_until(stop, never_stopped, tmp_path)
    loop.train_and_evaluate(config_of(folder, **{"data.num_threads": 1}), tmp_path)
    assert_equal_runs(never_stopped, tmp_path)


def test_a_bad_image_stops_the_run_or_is_left_out(tmp_path, caplog):
    write_pictures(tmp_path / "data", bad=[3])
    with pytest.raises(errors.RunFailed, match="n03"):
        loop.train_and_evaluate(config_of(tmp_path / "data"), tmp_path / "a")
    skipping = config_of(tmp_path / "data", **{"data.on_bad_image": "skip"})
    loop.train_and_evaluate(skipping, tmp_path / "b")
    lines = run_directory.read_lines(tmp_path / "b", "metrics")
    assert [line["test_images"] for line in lines] == [6, 6]
    assert "left out a bad image" in caplog.text
    assert run_directory.read_lines(tmp_path / "b", "timing")[-1]["bad_images"] == 1


def test_a_streamed_runs_network_is_asked_about_the_images_of_its_test(
    never_stopped, tmp_path
):
    """Resized and cut as in the run; so does whatever else the config says."""
    run = trained.load_run(never_stopped)
    split = trained.load_images(run, 1000)
    assert split.images.shape == (7, 16, 16, 3)
    floats = standard.normalize(split.images, run.spec.mean, run.spec.std)
    logits = run.model.apply(run.variables, floats, train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, split.labels)
    line = run_directory.read_lines(never_stopped, "metrics")[-1]
    np.testing.assert_allclose(losses.mean(), line["test_loss"], rtol=1e-5)
    right = trained.count_correct(run, run.variables, split.images, split.labels)
    assert 100 * (1 - int(right) / 7) == pytest.approx(line["test_error"])
    few, again = (trained.load_images(run, 3).images for _ in range(2))
    np.testing.assert_array_equal(few, again)
    assert all((image == split.images).all((1, 2, 3)).any() for image in few)
    larger = config_of(run.data_dir, **{"evaluation.image_size": 24})
    larger.evaluation.resize = 28
    shutil.copytree(never_stopped / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "config.json").write_text(larger.to_json())
    images = trained.load_images(trained.load_run(tmp_path), 9).images
    assert images.shape[1:3] == (24, 24)
    with pytest.raises(data.DatasetError, match="0 images cannot be taken"):
        trained.load_images(run, 0)


def test_a_folder_of_ones_own_images_trains_with_no_other_option(tmp_path, capsys):
    for name, count in (("ant", 8), ("bee", 4)):
        for number in range(count):
            path = tmp_path / "in" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), PICTURES[number])
    (tmp_path / "in/ant/.hidden.png").write_bytes(b"")

    def train(**changes):
        config = folder_preset.get_config("random")
        values = {
            "data.name": f"folder:{tmp_path}/in",
            "data.dir": str(tmp_path / "datasets"),
            "model.name": "tests.support.tiny:factory",
            "max_steps": 2,
            "devices.num_devices": 1,
            "compilation_cache": False,
        }
        with config.unlocked():
            config.model.options = {}
            config.update_from_flattened_dict(values | changes)
        return loop.train_and_evaluate(config, tmp_path / "run")

    assert train()["test_images"] == 3
    said = capsys.readouterr().out
    assert "9 images of 2 classes (train), 1 left out: hidden (ant/.hidden.png)" in said
    assert ", 3 left out: held out for testing\n3 images of 2 classes (held out" in said
    held_out = json.loads((tmp_path / "run/held_out.json").read_text())
    assert sorted(name[:4] for name in held_out) == ["ant/", "ant/", "bee/"]
    recorded = run_directory.read_config(tmp_path / "run")
    assert (recorded["batch_size"], recorded["epochs"]) == (8, 600)
    sizes = recorded["data"]["image_size"], recorded["data"]["validation_fraction"]
    assert sizes == (64, 0.2)
    train(max_steps=3)
    assert "going on from the checkpoint at step 2" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/held_out.json").read_text()) == held_out
    images = trained.load_images(trained.load_run(tmp_path / "run"), None)
    assert images.images.shape == (3, 64, 64, 3)
    with pytest.raises(run_directory.RunDirectoryError, match="validation_fraction"):
        train(**{"data.validation_fraction": 0.3})
