"""Errors and loss are those of the run's own test, and those that NumPy counts."""

import numpy as np
import pytest

import aaa_jax
from aaa_jax import data
from aaa_jax.data import crops
from aaa_jax.trained import evaluate
from aaa_jax.trained import run as trained
from tests.oracles import by_hand
from tests.support.tfds_folders import PICTURES, png, write_pictures

pytestmark = pytest.mark.usefixtures("light_compiler")

NAMES = ("cat", "dog", "ant", "owl", "bee")  # the pictures' classes among them


@pytest.fixture
def network() -> trained.TrainedRun:
    return by_hand.make_run("monotone")._replace(class_names=NAMES)


def test_on_its_own_split_a_run_has_the_numbers_of_its_last_line(run, capsys):
    workdir, line = run
    found = aaa_jax.load_run(workdir).evaluate()
    for name in ("test_error", "test_top5_error", "test_loss", "test_images"):
        assert getattr(found, name) == line[name]  # bit for bit
    images, wrong = np.sum(list(found.class_errors.values()), axis=0)
    assert (images, wrong) == (599, round(5.99 * line["test_error"]))
    assert evaluate.main([str(workdir)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "599 images of 10 classes (test)"
    assert f"599 images, top-1 error {line['test_error']:.2f} %" in printed[1]
    assert f"loss {line['test_loss']:.4f}" in printed[1]
    assert len(printed) == 14  # two headers, ten classes and what follows
    assert printed[-1] == "as in the line of step 4 in metrics.jsonl"


def test_numbers_that_are_not_the_runs_are_pointed_out(copied, capsys):
    metrics = copied / "metrics.jsonl"
    metrics.write_text(
        metrics.read_text().replace('"test_images": 599', '"test_images": 7')
    )
    assert evaluate.main([str(copied)]) == 0
    printed = capsys.readouterr().out
    assert "metrics.jsonl: test_images 7 there, 599 here" in printed


def test_another_dataset_is_matched_by_the_names_of_its_classes(network, tmp_path):
    write_pictures(tmp_path, bad=[3])
    found = network.evaluate("tiny", data_dir=tmp_path)
    good = [k for k in range(7) if k != 3]
    views = np.zeros((6, by_hand.SIDE, by_hand.SIDE, 3), np.uint8)
    for view, k in zip(views, good, strict=True):
        crops.resize_and_crop(
            PICTURES[k], view, short_side=by_hand.SIDE, resample="area"
        )
    answers = [NAMES[k] for k in by_hand.numpy_answers(network, views)]
    labels = [("ant", "bee", "cat")[k % 3] for k in good]
    wrong = [a != b for a, b in zip(answers, labels, strict=True)]
    assert found.test_error == pytest.approx(100 * np.mean(wrong))
    for name in ("ant", "bee", "cat"):
        own = [w for w, label in zip(wrong, labels, strict=True) if label == name]
        assert found.class_errors[name] == (len(own), sum(own))
    assert found.test_images == 6
    assert found.test_top5_error is None
    [why] = found.bad_images
    assert "n03" in why


def test_of_a_folder_without_a_test_split_all_images_are_used(network, tmp_path):
    for number, picture in enumerate(PICTURES[:9]):
        folder = tmp_path / "pictures" / ("ant", "bee", "cat")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(png(picture))
    name = f"folder:{tmp_path / 'pictures'}"
    found = network.evaluate(name, data_dir=tmp_path / "data")
    assert (found.test_images, found.split) == (9, "train")


def test_classes_that_the_network_does_not_know_are_refused(network, tmp_path):
    write_pictures(tmp_path)
    ignorant = network._replace(class_names=tuple("abcde"))
    with pytest.raises(trained.TrainedError, match=r"3 classes .* such as 'ant'"):
        ignorant.evaluate("tiny", data_dir=tmp_path)
    with pytest.raises(trained.TrainedError, match="does not name its classes"):
        network._replace(class_names=()).evaluate("tiny", data_dir=tmp_path)


def test_what_cannot_be_evaluated_is_refused_in_one_line(run, capsys):
    assert evaluate.main([str(run[0]), "--data=nosuch"]) == 2
    error = capsys.readouterr().err
    assert "nosuch" in error
    assert error.count("\n") == 1


def test_a_split_in_which_every_image_is_bad_is_refused(network, tmp_path):
    write_pictures(tmp_path, bad=range(11))
    with pytest.raises(data.DatasetError, match="no image to test on"):
        network.evaluate("tiny", data_dir=tmp_path)
