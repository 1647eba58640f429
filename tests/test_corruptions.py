"""Corrupted images are TFDS's, always the same, and their errors counted right."""

import io
import os
import pathlib
import stat

import numpy as np
import pytest
from PIL import Image
from tensorflow_datasets.image_classification import corruptions as of_tfds

from aaa_jax import corruptions
from tests.by_hand import COUNT, NUM_CLASSES, make_run, make_split, numpy_answers

IMAGES = make_split().images
# In no need of ImageMagick, and quick.
QUICK = ("gaussian_noise", "shot_noise", "impulse_noise", "contrast", "pixelate")


def task(name, severity=1, first=0, images=IMAGES, program=None):
    return corruptions.Task(name, severity, first, images, program)


def test_the_names_are_tfds_functions_and_those_of_imagenet_c():
    assert len(set(corruptions.NAMES)) == len(corruptions.NAMES) == 15
    for name in corruptions.NAMES:
        assert callable(getattr(of_tfds, name))
    for group in (corruptions.AT_224, corruptions.NEEDS_IMAGEMAGICK):
        assert set(group) < set(corruptions.NAMES)


@pytest.mark.parametrize("severity", corruptions.SEVERITIES)
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
            found = corruptions.corrupt(task(name, severity, place, image[None]))
            np.testing.assert_array_equal(found[0], pixels, err_msg=name)


def test_noise_grows_as_its_constants_say():
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    for severity, sigma in zip(
        corruptions.SEVERITIES, (8, 12, 18, 26, 38), strict=True
    ):
        noisy = corruptions.corrupt(task("gaussian_noise", severity, images=grey))
        # The share within one sigma, far from the clipping at 0 and 255.
        inside = np.abs(noisy.astype(int) - 128) <= 255 * sigma / 100
        assert abs(inside.mean() - 0.6827) < 0.01
    flipped = corruptions.corrupt(task("impulse_noise", 5, images=grey)) != 128
    assert abs(flipped.mean() - 0.27) < 0.01


@pytest.mark.parametrize("name", [*QUICK, "glass_blur", "fog", "elastic_transform"])
def test_an_image_is_corrupted_alike_in_any_company(name):
    alone = corruptions.corrupt(task(name, 3, first=4, images=IMAGES[4:5]))
    before = np.random.get_state()[1].copy()
    together = corruptions.corrupt(task(name, 3, first=2, images=IMAGES[2:6]))
    np.testing.assert_array_equal(alone[0], together[2])
    assert together.dtype == np.uint8
    assert together.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    if "noise" in name:
        elsewhere = corruptions.corrupt(task(name, 3, first=5, images=IMAGES[4:5]))
        assert np.any(elsewhere != alone)


@pytest.mark.parametrize("side", [16, 28, 32, 56, 224])
def test_enlarging_and_reducing_alone_change_nothing(side, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        of_tfds, "fog", lambda image, severity: sizes.append(image.shape) or image
    )
    images = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), np.uint8)
    np.testing.assert_array_equal(
        corruptions.corrupt(task("fog", images=images)), images
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
    assert corruptions.find_imagemagick() is None
    _program(impostor, "convert", "echo ImageMagick is not installed here\n")
    assert corruptions.find_imagemagick() is None
    path = _program(real, "convert", "echo 'Version: ImageMagick 6.9.11-60'\n")
    assert corruptions.find_imagemagick() == str(path)


def test_imagemagick_gets_the_enlarged_image_and_tfds_options(tmp_path):
    """A program that copies its input: motion blur then changes nothing."""
    log = tmp_path / "log"
    text = f'echo "$2 $3" >> {log}\n/bin/cp "$1" "$4"\n'
    program = _program(tmp_path, "copy", text)
    path = os.environ["PATH"]
    for severity, said in ((1, "10x3"), (5, "20x15")):
        found = corruptions.corrupt(
            task("motion_blur", severity, images=IMAGES[:2], program=str(program))
        )
        np.testing.assert_array_equal(found, IMAGES[:2])
        assert log.read_text().splitlines()[-1].startswith(f"-motion-blur {said}")
    assert len(log.read_text().splitlines()) == 4
    assert os.environ["PATH"] == path


def test_what_cannot_be_made_is_left_out_by_name():
    assert set(corruptions.left_out(32, "convert")) == {"frost"}
    without = corruptions.left_out(32, None)
    assert set(without) == {"frost", "motion_blur", "snow"}
    assert "ImageMagick, which is not installed" in without["snow"]
    assert set(corruptions.left_out(256, "convert")) == {"frost", "snow"}
    assert "224 px only, these have 256 px" in corruptions.left_out(256, "x")["snow"]


def test_errors_are_those_that_numpy_counts():
    runs, split = [make_run("monotone"), make_run("monotone")], make_split()
    runs[1].variables["params"]["Dense_0"]["kernel"] *= -1
    labels = numpy_answers(runs[0], split.images).astype(np.int32)
    labels[0] = (labels[0] + 1) % NUM_CLASSES
    split = split._replace(labels=labels)
    lines = []
    results = corruptions.evaluate_runs(
        runs, split, imagemagick=None, processes=1, names=QUICK, say=lines.append
    )
    for run, result in zip(runs, results, strict=True):
        expected = {
            name: [
                100 * np.mean(numpy_answers(run, images) != labels)
                for images in (
                    corruptions.corrupt(task(name, severity))
                    for severity in corruptions.SEVERITIES
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


@pytest.mark.slow  # two processes start; chunks are tested above
def test_processes_share_the_work_and_change_nothing(monkeypatch):
    monkeypatch.setattr(corruptions, "CHUNK", 10)
    one, two = (
        list(corruptions.corrupted_splits(IMAGES, ("shot_noise", "fog"), None, count))
        for count in (1, 2)
    )
    assert [entry[:2] for entry in one] == [entry[:2] for entry in two]
    for (name, severity, a), (_, _, b) in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, corruptions.corrupt(task(name, severity)))


def test_chunks_are_put_together_in_order(monkeypatch):
    monkeypatch.setattr(corruptions, "CHUNK", 10)
    sets = list(corruptions.corrupted_splits(IMAGES, ("contrast",), None, 1))
    assert [entry[:2] for entry in sets] == [("contrast", s) for s in range(1, 6)]
    for _, severity, images in sets:
        expected = corruptions.corrupt(task("contrast", severity))
        np.testing.assert_array_equal(images, expected)


def test_a_directory_that_is_no_run_is_refused(tmp_path, capsys):
    assert corruptions.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"aaa_jax.corruptions: {tmp_path} is no run directory")
    assert error.count("\n") == 1
