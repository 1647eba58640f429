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


def quick_sets(split):
    """Sets of the quick corruptions only, and a list of what is made of them."""
    made = []
    sets = corrupted_images.make_sets(split, None, 1)

    def images(names):
        for name, corrupted in sets.images(names):
            made.append(name)
            yield name, corrupted

    sides = {name: sets.sides[name] for name in QUICK}
    return sets._replace(sides=sides, images=images), made


def two_runs(folder):
    runs = [make_run("monotone")._replace(path=epath.Path(folder / k)) for k in "ab"]
    for run in runs:
        run.path.mkdir()
    runs[1].variables["params"]["Dense_0"]["kernel"] *= -1
    return runs


def test_errors_are_those_that_numpy_counts(tmp_path, capsys):
    runs, split = two_runs(tmp_path), make_split()
    labels = numpy_answers(runs[0], split.images).astype(np.int32)
    labels[0] = (labels[0] + 1) % NUM_CLASSES
    split = split._replace(labels=labels)
    sets, _ = quick_sets(split)
    results = corruptions.evaluate_runs(runs, split, sets)
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
        assert json.loads((run.path / corruptions.FILE).read_text()) == result
    assert results[0]["clean_error"] == pytest.approx(100 / COUNT)
    assert results[0]["mean_error"] != results[1]["mean_error"]
    *lines, summary, _ = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(QUICK)
    assert f"5 corruptions x 5 severities ({COUNT} images)" in summary


@pytest.mark.parametrize(
    ("changed", "left"), [({}, QUICK[2:]), ({"step": 8}, QUICK), ({"a": 1}, QUICK)]
)
def test_a_command_that_was_stopped_goes_on_with_the_next(
    changed, left, tmp_path, monkeypatch
):
    """The first run has noise already; what was measured otherwise is not used."""
    runs, split = two_runs(tmp_path), make_split()
    sets, made = quick_sets(split)
    write = trained.write_json
    for some, last in ((runs[:1], 1), (runs, 2)):

        def stopped(run, name, record, some=some, last=last):
            write(run, name, record)
            if run is some[-1] and len(record["errors"]) == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(trained, "write_json", stopped)
            with pytest.raises(KeyboardInterrupt):
                corruptions.evaluate_runs(some, split, sets)
    for run in runs:
        part = json.loads((run.path / corruptions.PART).read_text())
        assert set(part["errors"]) == set(QUICK[:2])
        (run.path / corruptions.PART).write_text(json.dumps(part | changed))
    made.clear()
    again = corruptions.evaluate_runs(runs, split, sets)
    assert set(made) == set(left)
    assert [[path.name for path in run.path.iterdir()] for run in runs] == [
        [corruptions.FILE]
    ] * 2
    assert again == corruptions.evaluate_runs(runs, split, sets)


def with_one_run(monkeypatch, folder="nowhere"):
    """The commands see this run, whatever they are given."""
    run = make_run("monotone")._replace(path=epath.Path(folder))
    monkeypatch.setattr(trained, "load_run", lambda *_, **__: run)
    monkeypatch.setattr(trained, "load_images", lambda *_: make_split())
    return run


def test_the_command_says_what_the_mean_is_over(tmp_path, monkeypatch, capsys):
    with_one_run(monkeypatch, tmp_path)
    sets, _ = quick_sets(make_split())
    monkeypatch.setattr(corruptions, "make_sets", lambda *_: sets)
    assert corruptions.main(["run"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{COUNT} images of {NUM_CLASSES} classes (test)\n")
    assert f"the mean is over {', '.join(QUICK)}\nleft out: frost (" in printed


def test_a_published_set_is_tested_on_and_named(
    published, tmp_path, monkeypatch, capsys
):
    run = with_one_run(monkeypatch, tmp_path)
    assert corruptions.main(["run", f"--corrupted={published}"]) == 0
    result = json.loads((tmp_path / corruptions.FILE).read_text())
    labels = np.load(published / "labels.npy")
    for name in NAMES:
        wrong = numpy_answers(run, np.load(published / f"{name}.npy")) != labels
        expected = 100 * wrong.reshape(5, -1).mean(axis=1)
        assert result["errors"][name] == pytest.approx(expected)
    errors = list(result["errors"].values())
    assert np.shape(errors) == (15, len(SEVERITIES))
    assert result["mean_error"] == pytest.approx(np.mean(errors))
    assert (result["published"], result["num_images"]) == ("TINY-C", 15)
    clean = np.mean(numpy_answers(run, make_split().images) != make_split().labels)
    assert result["clean_error"] == pytest.approx(100 * clean)
    printed = capsys.readouterr().out
    assert "15 corruptions x 5 severities (15 images of TINY-C)" in printed
    assert f"the mean is over {', '.join(NAMES)}\n" in printed


@pytest.mark.parametrize("option", ["frost", "corrupted"])
def test_a_folder_that_does_not_fit_is_refused_in_one_line(
    option, tmp_path, monkeypatch, capsys
):
    with_one_run(monkeypatch)
    assert corruptions.main([f"--{option}={tmp_path}", "run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aaa-jax corruptions: {tmp_path}")
    assert f"--{option} needs" in error
    assert error.count("\n") == 1
