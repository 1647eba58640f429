"""Errors on corrupted images are counted right, once, and where a command stopped."""

import json

import numpy as np
import pytest
from etils import epath

from aaa_jax.trained import corrupted_images, corruptions
from aaa_jax.trained import run as trained
from aaa_jax.trained.corruption_functions import NAMES, SEVERITIES
from tests.oracles.by_hand import (
    COUNT,
    NUM_CLASSES,
    make_run,
    make_split,
    numpy_answers,
)

QUICK = ("gaussian_noise", "shot_noise", "impulse_noise", "contrast", "pixelate")


def quick_sets(split, *, published=""):
    """Sets of the quick corruptions only, and a list of what is made of them."""
    made = []
    sets = corrupted_images.make_sets(split, None, 1)

    def images(names):
        for name, corrupted in sets.images(names):
            made.append(name)
            yield name, corrupted

    sides = {name: sets.sides[name] for name in QUICK}
    return sets._replace(sides=sides, images=images, published=published), made


def two_runs():
    runs = [make_run("monotone"), make_run("monotone")]
    runs[1].variables["params"]["Dense_0"]["kernel"] *= -1
    return runs


def silent(line):
    del line


def test_errors_are_those_that_numpy_counts():
    runs, split = two_runs(), make_split()
    labels = numpy_answers(runs[0], split.images).astype(np.int32)
    labels[0] = (labels[0] + 1) % NUM_CLASSES
    split = split._replace(labels=labels)
    lines = []
    sets, _ = quick_sets(split)
    results = corruptions.evaluate_runs(runs, split, sets, say=lines.append)
    for run, result in zip(runs, results, strict=True):
        errors = [
            100 * np.mean(numpy_answers(run, images) != labels)
            for _, images in sets.images(QUICK)
        ]
        expected = dict(zip(QUICK, np.reshape(errors, (-1, 5)), strict=True))
        assert list(result["errors"]) == list(QUICK)
        for name in QUICK:
            assert result["errors"][name] == pytest.approx(expected[name])
        assert result["mean_error"] == pytest.approx(np.mean(errors))
        clean = np.mean(numpy_answers(run, split.images) != labels)
        assert result["clean_error"] == pytest.approx(100 * clean)
        assert (result["version"], result["step"]) == (1, 7)
        assert result["num_images"] == COUNT
        assert result["side"] == dict.fromkeys(QUICK, 32)
        assert set(result["left_out"]) == {"frost"}
        assert "published" not in result
    assert results[0]["clean_error"] == pytest.approx(100 / COUNT)
    assert results[0]["mean_error"] != results[1]["mean_error"]
    assert [line.split(":")[0] for line in lines] == list(QUICK)
    summary = corruptions.summary(results[0])
    assert f"5 corruptions x 5 severities ({COUNT} images)" in summary


def test_what_was_measured_before_a_stop_is_not_measured_again():
    """The first run has noise already, and both have what the stop came after."""
    runs, split = two_runs(), make_split()
    sets, made = quick_sets(split)
    whole = corruptions.evaluate_runs(runs, split, sets, say=silent)
    kept = {}

    def keep(place, errors):
        kept[place] = dict(errors)
        if place == 1 and len(errors) == 2:
            raise KeyboardInterrupt

    known = [{QUICK[0]: whole[0]["errors"][QUICK[0]]}, {}]
    with pytest.raises(KeyboardInterrupt):
        corruptions.evaluate_runs(runs, split, sets, known=known, keep=keep, say=silent)
    assert [list(kept[place]) for place in (0, 1)] == [list(QUICK[:2])] * 2
    made.clear()
    again = corruptions.evaluate_runs(
        runs, split, sets, known=[kept[0], kept[1]], say=silent
    )
    assert again == whole
    assert set(made) == set(QUICK[2:])


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Calls the command on a run of one network; a list of what it made."""
    run = make_run("monotone")._replace(path=epath.Path(tmp_path))
    monkeypatch.setattr(trained, "load_run", lambda *_, **__: run)
    monkeypatch.setattr(trained, "load_images", lambda *_: make_split())
    sets, made = quick_sets(make_split())
    monkeypatch.setattr(corruptions, "make_sets", lambda *_: sets)

    def call(*options):
        made.clear()
        assert corruptions.main(["run", *options]) == 0
        assert [path.name for path in tmp_path.iterdir()] == [corruptions.FILE]
        return set(made), (tmp_path / corruptions.FILE).read_text()

    return call


def test_a_command_that_was_stopped_goes_on_with_the_next(
    command, tmp_path, monkeypatch, capsys
):
    write = trained.write_json

    def stopped(run, name, record):
        write(run, name, record)
        if QUICK[1] in record["errors"]:
            raise KeyboardInterrupt

    whole = command()
    assert whole[0] == set(QUICK)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{COUNT} images of {NUM_CLASSES} classes (test)\n")
    assert f"the mean is over {', '.join(QUICK)}\nleft out: frost (" in printed
    for changed, left in (({}, QUICK[2:]), ({"step": 8}, QUICK), ({"a": 1}, QUICK)):
        with monkeypatch.context() as patch:
            patch.setattr(trained, "write_json", stopped)
            with pytest.raises(KeyboardInterrupt):
                corruptions.main(["run"])
        part = json.loads((tmp_path / corruptions.PART).read_text())
        assert set(part["errors"]) == set(QUICK[:2])
        # What was measured of another checkpoint, or otherwise, is not used.
        (tmp_path / corruptions.PART).write_text(json.dumps(part | changed))
        assert command() == (set(left), whole[1])


def test_a_published_set_is_tested_on_and_named(command, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("data") / "TINY-C"
    folder.mkdir()
    labels = np.arange(10) % NUM_CLASSES
    np.save(folder / "labels.npy", np.tile(labels, 5))
    random = np.random.default_rng(3)
    files = {name: random.integers(0, 256, (50, 32, 32, 3), np.uint8) for name in NAMES}
    for name, images in files.items():
        np.save(folder / f"{name}.npy", images)
    made, text = command(f"--corrupted={folder}")
    result = json.loads(text)
    assert not made
    run = make_run("monotone")
    for name in NAMES:
        wrong = numpy_answers(run, files[name]) != np.tile(labels, 5)
        expected = 100 * wrong.reshape(5, 10).mean(axis=1)
        assert result["errors"][name] == pytest.approx(expected)
    errors = list(result["errors"].values())
    assert np.shape(errors) == (15, len(SEVERITIES))
    assert result["mean_error"] == pytest.approx(np.mean(errors))
    assert (result["published"], result["num_images"]) == ("TINY-C", 10)
    clean = np.mean(numpy_answers(run, make_split().images) != make_split().labels)
    assert result["clean_error"] == pytest.approx(100 * clean)
    printed = capsys.readouterr().out
    assert "15 corruptions x 5 severities (10 images of TINY-C)" in printed
    assert f"the mean is over {', '.join(NAMES)}\n" in printed


@pytest.mark.parametrize("option", ["frost", "corrupted"])
def test_a_folder_that_does_not_fit_is_refused_in_one_line(
    option, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(trained, "load_run", lambda *_, **__: make_run("monotone"))
    monkeypatch.setattr(trained, "load_images", lambda *_: make_split())
    assert corruptions.main([f"--{option}={tmp_path}", "run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aaa-jax corruptions: {tmp_path}")
    assert f"--{option} needs" in error
    assert error.count("\n") == 1


def test_a_directory_that_is_no_run_is_refused(tmp_path, capsys):
    assert corruptions.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aaa-jax corruptions: {tmp_path} is no run directory")
    assert error.count("\n") == 1
