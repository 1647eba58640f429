"""Predictions are those that NumPy makes, whatever the images come from."""

import csv

import cv2
import numpy as np
import pytest

import aaa_jax
from aaa_jax.trained import predict
from aaa_jax.trained import run as trained
from tests.oracles import by_hand

pytestmark = pytest.mark.usefixtures("light_compiler")


def softmax(images) -> np.ndarray:
    logits = by_hand.numpy_logits(by_hand.make_run("monotone"), images)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture
def images() -> np.ndarray:
    return by_hand.make_split().images


@pytest.mark.parametrize("batch_size", [4, 100])
def test_probabilities_are_those_of_numpy_on_all_devices(images, batch_size):
    found = by_hand.make_run("monotone").predict(images, batch_size=batch_size)
    assert found.names == tuple(map(str, range(by_hand.COUNT)))
    assert not found.bad
    # float32 against double, of logits of size 50.
    np.testing.assert_allclose(found.probabilities, softmax(images), atol=1e-4)
    best = found.top(1)[3]
    k = int(softmax(images)[3].argmax())
    assert best == [("abcde"[k], pytest.approx(softmax(images)[3][k], abs=1e-4))]
    assert [len(row) for row in found.top(9)] == [5] * by_hand.COUNT


def test_images_of_other_sizes_are_resized_and_cut_out_of_the_middle(images):
    twice = images[0].repeat(2, axis=0).repeat(2, axis=1)  # its area mean is the image
    wide = np.concatenate([images[2][:, -9:], images[1], images[3][:, :9]], axis=1)
    found = by_hand.make_run("monotone").predict([twice, wide, images[4]])
    expected = softmax(images[[0, 1, 4]])
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)


def test_a_second_call_compiles_nothing(images, compiled):
    run = by_hand.make_run("monotone")
    run.predict(images[:5])
    compiled.clear()
    run.predict(images[5:12])
    assert not compiled


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no image"),
        (np.zeros((2, 8, 8, 3), np.float32), r"image 0 is float32 \[8, 8, 3\]"),
        (np.zeros((8, 8, 3), np.uint8), r"image 0 is uint8 \[8, 3\]; it must be"),
        ([np.zeros((8, 8), np.uint8)], "three equal channels"),
        ([np.zeros((0, 8, 3), np.uint8)], r"\[0, 8, 3\]"),
    ],
)
def test_what_is_no_image_is_named(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        by_hand.make_run("monotone").predict(wrong)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """Three good images in two folders, one cut short, and what is no image."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    split = by_hand.make_split().images
    for place, name in enumerate(("b.png", "a.PNG", "more/c.bmp")):
        cv2.imwrite(str(folder / name), split[place][..., ::-1])
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:50])
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_files_and_folders_are_read_and_bad_ones_named(folder, images, tmp_path):
    (tmp_path / "empty").mkdir()
    given = [folder, str(folder / "b.png"), images[3], tmp_path / "empty", "nowhere"]
    found = by_hand.make_run("monotone").predict(given, batch_size=4)
    names = [folder / "a.PNG", folder / "b.png", folder / "more" / "c.bmp"]
    assert found.names == (*map(str, names), str(folder / "b.png"), "2")
    expected = softmax(images[[1, 0, 2, 0, 3]])
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    assert found.bad == {
        str(folder / "broken.png"): "its PNG data stop early, after 50 bytes",
        str(tmp_path / "empty"): "it is a folder without image files",
        "nowhere": "it cannot be read (No such file or directory)",
    }


def test_the_command_predicts_with_a_run(folder, run, tmp_path, capsys):
    table = tmp_path / "found.csv"
    words = [str(run[0]), str(folder), "--top=2", f"--csv={table}"]
    assert predict.main(words) == 1  # one image is bad
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert "broken.png: its PNG data stop early" in printed.err
    assert "1 of 4 images could not be read" in printed.err
    found = aaa_jax.load_run(run[0]).predict(folder)
    with open(table) as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "class_1", "probability_1", "class_2", "probability_2"]
    for row, name, best in zip(rows[1:], found.names, found.top(2), strict=True):
        assert row[:2] == [name, best[0][0]]
        assert [float(value) for value in row[2::2]] == [p for _, p in best]
    assert predict.main([str(run[0]), str(folder / "b.png")]) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [("--top=0", "--top is 0; it must be at least 1"), ("--csv=no/x.csv", "no folder")],
)
def test_wrong_options_are_refused_before_any_work(option, message, capsys):
    with pytest.raises(SystemExit) as ended:
        predict.main(["nowhere", "x.png", option])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_classes_that_nobody_names_are_numbers(folder, run, monkeypatch, capsys):
    load = trained.load_run
    monkeypatch.setattr(
        trained, "load_run", lambda *a, **k: load(*a, **k)._replace(class_names=())
    )
    assert predict.main([str(run[0]), str(folder / "b.png"), "--top=1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.split(": ")[1][0] in "0123456789"
    assert "--data-dir=DIR says where" in printed.err
