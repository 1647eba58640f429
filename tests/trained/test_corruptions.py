"""Corrupted images are TFDS's, always the same, and their errors counted right."""

import io
import json
import os
import pathlib
import stat

import numpy as np
import pytest
from etils import epath
from PIL import Image
from tensorflow_datasets.image_classification import corruptions as of_tfds

from aaa_jax.trained import corrupted_images, corruptions
from aaa_jax.trained import run as trained
from tests.oracles.by_hand import (
    COUNT,
    NUM_CLASSES,
    make_run,
    make_split,
    numpy_answers,
)

IMAGES = make_split().images
# In no need of ImageMagick, and quick.
QUICK = ("gaussian_noise", "shot_noise", "impulse_noise", "contrast", "pixelate")


NOTHING = corrupted_images.Tools()


def task(name, severity=1, first=0, images=IMAGES, tools=NOTHING):
    return corrupted_images.Task(name, severity, first, images, tools)


def test_the_names_are_tfds_functions_and_those_of_imagenet_c():
    assert len(set(corrupted_images.NAMES)) == len(corrupted_images.NAMES) == 15
    for name in corrupted_images.NAMES:
        assert callable(getattr(of_tfds, name))
    for group in (corrupted_images.AT_224, corrupted_images.NEEDS_IMAGEMAGICK):
        assert set(group) < set(corrupted_images.NAMES)


@pytest.mark.parametrize("severity", corrupted_images.SEVERITIES)
def test_those_without_random_numbers_equal_pillow_and_numpy(severity):
    quality = [25, 18, 15, 10, 7][severity - 1]
    share = [0.6, 0.5, 0.4, 0.3, 0.25][severity - 1]
    factor = [0.4, 0.3, 0.2, 0.1, 0.05][severity - 1]
    side = int(32 * share)
    for place, image in enumerate(IMAGES[:9]):
        picture = Image.fromarray(image)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        mean = image.mean(axis=(0, 1), keepdims=True) / 255
        contrast = np.around(255 * ((image / 255 - mean) * factor + mean))
        expected = {
            "jpeg_compression": np.asarray(Image.open(stream)),
            "pixelate": np.asarray(picture.resize((side, side)).resize((32, 32))),
            "contrast": contrast,
        }
        for name, pixels in expected.items():
            found = corrupted_images.corrupt(task(name, severity, place, image[None]))
            np.testing.assert_array_equal(found[0], pixels, err_msg=name)


def test_noise_grows_as_its_constants_say():
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    for severity, sigma in zip(
        corrupted_images.SEVERITIES, (8, 12, 18, 26, 38), strict=True
    ):
        noisy = corrupted_images.corrupt(task("gaussian_noise", severity, images=grey))
        # The share within one sigma, far from the clipping at 0 and 255.
        inside = np.abs(noisy.astype(int) - 128) <= 255 * sigma / 100
        assert abs(inside.mean() - 0.6827) < 0.01
    flipped = corrupted_images.corrupt(task("impulse_noise", 5, images=grey)) != 128
    assert abs(flipped.mean() - 0.27) < 0.01


@pytest.mark.parametrize("name", [*QUICK, "glass_blur", "fog", "elastic_transform"])
def test_an_image_is_corrupted_alike_in_any_company(name):
    alone = corrupted_images.corrupt(task(name, 3, first=4, images=IMAGES[4:5]))
    before = np.random.get_state()[1].copy()
    together = corrupted_images.corrupt(task(name, 3, first=2, images=IMAGES[2:6]))
    np.testing.assert_array_equal(alone[0], together[2])
    assert together.dtype == np.uint8
    assert together.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    if "noise" in name:
        elsewhere = corrupted_images.corrupt(task(name, 3, first=5, images=IMAGES[4:5]))
        assert np.any(elsewhere != alone)


@pytest.mark.parametrize("side", [16, 28, 32, 56, 224])
def test_enlarging_and_reducing_alone_change_nothing(side, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        of_tfds, "fog", lambda image, severity: sizes.append(image.shape) or image
    )
    images = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), np.uint8)
    np.testing.assert_array_equal(
        corrupted_images.corrupt(task("fog", images=images)), images
    )


def _program(folder: pathlib.Path, name: str, text: str) -> pathlib.Path:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(stat.S_IRWXU)
    return path


def test_imagemagick_is_found_by_what_it_says_of_itself(tmp_path, monkeypatch):
    impostor, real = tmp_path / "impostor", tmp_path / "real"
    impostor.mkdir()
    real.mkdir()
    monkeypatch.setenv("PATH", f"{impostor}{os.pathsep}{real}")
    assert corrupted_images.find_imagemagick() is None
    _program(impostor, "convert", "echo ImageMagick is not installed here\n")
    assert corrupted_images.find_imagemagick() is None
    path = _program(real, "convert", "echo 'Version: ImageMagick 6.9.11-60'\n")
    assert corrupted_images.find_imagemagick() == str(path)


def test_imagemagick_gets_the_enlarged_image_and_tfds_options(tmp_path):
    """A program that copies its input: motion blur then changes nothing."""
    log = tmp_path / "log"
    text = f'echo "$2 $3" >> {log}\n/bin/cp "$1" "$4"\n'
    tools = corrupted_images.Tools(str(_program(tmp_path, "copy", text)))
    path = os.environ["PATH"]
    for severity, said in ((1, "10x3"), (5, "20x15")):
        found = corrupted_images.corrupt(
            task("motion_blur", severity, images=IMAGES[:2], tools=tools)
        )
        np.testing.assert_array_equal(found, IMAGES[:2])
        assert log.read_text().splitlines()[-1].startswith(f"-motion-blur {said}")
    assert len(log.read_text().splitlines()) == 4
    assert os.environ["PATH"] == path


def test_what_cannot_be_made_is_left_out_by_name():
    convert = corrupted_images.Tools("convert")
    assert set(corrupted_images.left_out(32, convert)) == {"frost"}
    assert not corrupted_images.left_out(
        32, convert._replace(frost=corrupted_images.FROST)
    )
    without = corrupted_images.left_out(32, NOTHING)
    assert set(without) == {"frost", "motion_blur", "snow"}
    assert "ImageMagick, which is not installed" in without["snow"]
    large = corrupted_images.left_out(256, convert)
    assert set(large) == {"frost", "snow"}
    assert "224 px only, these have 256 px" in large["snow"]


def test_errors_are_those_that_numpy_counts():
    runs, split = [make_run("monotone"), make_run("monotone")], make_split()
    runs[1].variables["params"]["Dense_0"]["kernel"] *= -1
    labels = numpy_answers(runs[0], split.images).astype(np.int32)
    labels[0] = (labels[0] + 1) % NUM_CLASSES
    split = split._replace(labels=labels)
    lines = []
    results = corruptions.evaluate_runs(
        runs, split, tools=NOTHING, processes=1, names=QUICK, say=lines.append
    )
    for run, result in zip(runs, results, strict=True):
        expected = {
            name: [
                100 * np.mean(numpy_answers(run, images) != labels)
                for images in (
                    corrupted_images.corrupt(task(name, severity))
                    for severity in corrupted_images.SEVERITIES
                )
            ]
            for name in QUICK
        }
        assert list(result["errors"]) == list(QUICK)
        for name in QUICK:
            assert result["errors"][name] == pytest.approx(expected[name])
        assert result["mean_error"] == pytest.approx(np.mean(list(expected.values())))
        clean = np.mean(numpy_answers(run, split.images) != labels)
        assert result["clean_error"] == pytest.approx(100 * clean)
        assert (result["version"], result["step"]) == (1, 7)
        assert result["num_images"] == COUNT
        assert set(result["left_out"]) == {"frost", "motion_blur", "snow"}
    assert results[0]["clean_error"] == pytest.approx(100 / COUNT)
    assert results[0]["mean_error"] != results[1]["mean_error"]
    assert [line.split(":")[0] for line in lines] == list(QUICK)
    summary = corruptions.summary(results[0])
    assert f"5 corruptions x 5 severities ({COUNT} images)" in summary


def test_what_was_measured_before_a_stop_is_not_measured_again(monkeypatch):
    """The first run has noise already, and both have what the stop came after."""
    runs, split = [make_run("monotone"), make_run("monotone")], make_split()
    runs[1].variables["params"]["Dense_0"]["kernel"] *= -1
    options = {"tools": NOTHING, "processes": 1, "names": QUICK}
    whole = corruptions.evaluate_runs(runs, split, say=lambda line: None, **options)
    kept = {}

    def keep(place, errors):
        kept[place] = dict(errors)
        if place == 1 and len(errors) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corruptions.evaluate_runs(
            runs,
            split,
            known=[{QUICK[0]: whole[0]["errors"][QUICK[0]]}, {}],
            keep=keep,
            say=lambda line: None,
            **options,
        )
    assert [list(kept[place]) for place in (0, 1)] == [list(QUICK[:2])] * 2
    made = []
    corrupt = corrupted_images.corrupt
    monkeypatch.setattr(
        corrupted_images,
        "corrupt",
        lambda task: made.append(task.name) or corrupt(task),
    )
    again = corruptions.evaluate_runs(
        runs, split, known=[kept[0], kept[1]], say=lambda line: None, **options
    )
    assert again == whole
    assert set(made) == set(QUICK[2:])


def test_a_command_that_was_stopped_goes_on_with_the_next(tmp_path, monkeypatch):
    run = make_run("monotone")._replace(path=epath.Path(tmp_path))
    names, made = QUICK[:3], []
    why = {name: "slow" for name in corrupted_images.NAMES if name not in names}
    corrupt, write = corrupted_images.corrupt, trained.write_json
    monkeypatch.setattr(trained, "load", lambda *_, **__: run)
    monkeypatch.setattr(trained, "load_images", lambda *_: make_split())
    monkeypatch.setattr(corruptions, "left_out", lambda *_: why)
    monkeypatch.setattr(
        corrupted_images,
        "corrupt",
        lambda task: made.append(task.name) or corrupt(task),
    )

    def stopped(path, text):
        write(path, text)
        if names[1] in text:
            raise KeyboardInterrupt

    def measured():
        made.clear()
        assert corruptions.main(["run", "--processes=1"]) == 0
        assert [path.name for path in tmp_path.iterdir()] == [corruptions.FILE]
        return set(made), (tmp_path / corruptions.FILE).read_text()

    whole = measured()
    assert whole[0] == set(names)
    for step, left in ((run.step, {names[2]}), (run.step + 1, set(names))):
        with monkeypatch.context() as patch:
            patch.setattr(trained, "write_json", stopped)
            with pytest.raises(KeyboardInterrupt):
                corruptions.main(["run", "--processes=1"])
        part = json.loads((tmp_path / corruptions.PART).read_text())
        assert set(part["errors"]) == set(names[:2])
        # What was measured of another checkpoint is not used.
        (tmp_path / corruptions.PART).write_text(json.dumps(part | {"step": step}))
        assert measured() == (left, whole[1])


def test_frost_is_one_of_the_users_pictures_laid_over_the_image(tmp_path):
    random = np.random.RandomState(0)
    for name in corrupted_images.FROST:
        pixels = random.randint(0, 256, (230, 240, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    tools = corrupted_images.Tools(frost=corrupted_images.find_frost(str(tmp_path)))
    images = random.randint(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    weights = [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)]
    for severity, (own, frost) in enumerate(weights, start=1):
        found = corrupted_images.corrupt(
            task("frost", severity, first=4, images=images, tools=tools)
        )
        for place, image in enumerate(images, start=4):
            draws = np.random.RandomState(
                (corrupted_images.NAMES.index("frost"), severity, place)
            )
            path = tmp_path / corrupted_images.FROST[draws.randint(5)]
            top, left = draws.randint(0, 230 - 224), draws.randint(0, 240 - 224)
            picture = np.asarray(Image.open(path).convert("RGB"))
            cut = picture[top : top + 224, left : left + 224].astype(float)
            mixed = np.around(np.clip(own * image + frost * cut, 0, 255))
            # OpenCV and Pillow may decode JPEG by a level apart.
            most = 1 if path.suffix == ".jpg" else 0
            assert np.abs(found[place - 4] - mixed).max() <= most


def test_pictures_that_frost_cannot_use_are_named(tmp_path, capsys):
    assert corruptions.main([f"--frost={tmp_path}", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/frost1.png is not there: --frost needs" in error
    Image.fromarray(IMAGES[0]).save(tmp_path / "frost1.png")
    assert corruptions.main([f"--frost={tmp_path}", str(tmp_path)]) == 2
    assert "frost1.png is too small" in capsys.readouterr().err


@pytest.mark.slow  # two processes start; chunks are tested above
def test_processes_share_the_work_and_change_nothing(monkeypatch):
    monkeypatch.setattr(corrupted_images, "CHUNK", 10)
    one, two = (
        list(
            corrupted_images.corrupted_splits(
                IMAGES, ("shot_noise", "fog"), NOTHING, count
            )
        )
        for count in (1, 2)
    )
    assert [entry[:2] for entry in one] == [entry[:2] for entry in two]
    for (name, severity, a), (_, _, b) in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, corrupted_images.corrupt(task(name, severity)))


def test_chunks_are_put_together_in_order(monkeypatch):
    monkeypatch.setattr(corrupted_images, "CHUNK", 10)
    sets = list(corrupted_images.corrupted_splits(IMAGES, ("contrast",), NOTHING, 1))
    assert [entry[:2] for entry in sets] == [("contrast", s) for s in range(1, 6)]
    for _, severity, images in sets:
        expected = corrupted_images.corrupt(task("contrast", severity))
        np.testing.assert_array_equal(images, expected)


def test_a_directory_that_is_no_run_is_refused(tmp_path, capsys):
    assert corruptions.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"aaa_jax.trained.corruptions: {tmp_path} is no run directory"
    )
    assert error.count("\n") == 1
