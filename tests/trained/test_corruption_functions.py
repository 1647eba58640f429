"""Each corruption against TFDS, ImageMagick or NumPy."""

import pathlib
import subprocess
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from tensorflow_datasets.image_classification import corruptions as of_tfds

from aaa_jax.trained import corruption_functions
from aaa_jax.trained.corruption_functions import CORRUPTIONS, NAMES, SEVERITIES
from tests.oracles.pillow_ops import pictures

IMAGES = np.stack(pictures(32, 32))
WRITTEN_HERE = ("impulse_noise", "motion_blur", "snow", "frost")


def enlarged(side: int) -> np.ndarray:
    """Two enlarged pictures, noise, and a flat one."""
    small = [cv2.resize(image, (side, side), interpolation=0) for image in IMAGES[:2]]
    noise = np.random.RandomState(1).randint(0, 256, (side, side, 3))
    flat = np.full((side, side, 3), (10, 200, 30))
    return np.stack([*small, noise, flat]).astype(np.uint8)


def test_the_names_are_those_of_imagenet_c_in_the_order_that_seeds_depend_on():
    expected = (
        *("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur"),
        *("glass_blur", "motion_blur", "zoom_blur", "snow", "frost", "fog"),
        *("brightness", "contrast", "elastic_transform", "pixelate"),
        "jpeg_compression",
    )
    assert expected == NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WRITTEN_HERE])
def test_eleven_are_tfds_functions_after_seeding_numpy(name):
    function = getattr(of_tfds, name)
    before = np.random.get_state()[1].copy()
    for severity in (1, 4):
        found = CORRUPTIONS[name](IMAGES[0], severity, (3, severity))
        np.testing.assert_array_equal(np.random.get_state()[1], before)
        state = np.random.get_state()
        np.random.seed((3, severity))
        deprecated = pytest.warns() if name == "elastic_transform" else nullcontext()
        with deprecated:
            np.testing.assert_array_equal(found, function(IMAGES[0], severity))
        np.random.set_state(state)
        assert found.dtype == np.uint8


def test_impulses_are_as_many_as_the_severity_says():
    grey = np.full((200, 200, 3), 128, np.uint8)
    for severity, share in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        salted = CORRUPTIONS["impulse_noise"](grey, severity, (severity,))
        assert set(np.unique(salted)) == {0, 128, 255}
        for value in (0, 255):
            assert abs(np.mean(salted == value) - share / 2) < 0.005


def blur_by_convolution(image, radius, sigma, angle):
    """ImageMagick's motion blur as one convolution in two dimensions, by OpenCV."""
    width = 2 * radius + 1
    kernel = np.zeros((2 * width + 1, 2 * width + 1))
    for i in range(width):
        row = np.ceil(i * np.sin(np.pi * angle / 180) - 0.5)
        column = np.ceil(i * np.cos(np.pi * angle / 180) - 0.5)
        kernel[width + int(row), width + int(column)] += np.exp(-(i**2) / 2 / sigma**2)
    kernel /= kernel.sum()
    floats = image.astype(np.float64)
    exact = cv2.filter2D(floats, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return (np.rint(exact * 257) // 257).astype(np.uint8)


def of_convolution(command):
    """What TFDS runs as `imagemagick INPUT -motion-blur RADIUSxSIGMA+ANGLE OUTPUT`."""
    _, source, option, amount, target = command
    assert option == "-motion-blur"
    radius, rest = amount.split("x")
    sigma, angle = rest.split("+")
    image = cv2.imread(source, cv2.IMREAD_UNCHANGED)
    blurred = blur_by_convolution(image, int(radius), int(sigma), float(angle))
    pathlib.Path(target).write_bytes(cv2.imencode(".png", blurred)[1].tobytes())


@pytest.mark.parametrize("name", ["motion_blur", "snow"])
def test_motion_blur_and_snow_are_tfds_with_imagemagick(name, monkeypatch):
    """The convolution stands in for ImageMagick, of which the next test has values."""
    monkeypatch.setattr(subprocess, "check_output", of_convolution)
    for severity in SEVERITIES:
        for place, image in enumerate(enlarged(224)):
            found = CORRUPTIONS[name](image, severity, (severity, place))
            state = np.random.get_state()
            np.random.seed((severity, place))
            expected = getattr(of_tfds, name)(image, severity)
            np.random.set_state(state)
            np.testing.assert_array_equal(found, expected)


def test_a_blur_has_the_values_that_imagemagick_gave():
    """Recorded: ImageMagick 6.9.11-60 Q16, `-motion-blur 2x1.5+-60`."""
    image = (np.arange(30).reshape(5, 6) ** 2 * 7 % 256).astype(np.uint8)
    expected = [
        [5, 21, 51, 95, 148, 175],
        [111, 55, 120, 92, 180, 134],
        [133, 140, 75, 111, 68, 166],
        [163, 162, 131, 50, 128, 153],
        [196, 110, 76, 126, 132, 192],
    ]
    found = corruption_functions.blur_along(image, 2, 1.5, -60)
    np.testing.assert_array_equal(found, expected)


def test_snow_takes_images_of_any_size():
    black = np.zeros((230, 250, 3), np.uint8)
    snowy = CORRUPTIONS["snow"](black, 3, (0,))
    np.testing.assert_array_equal(snowy, np.rot90(snowy, k=2))  # both ways alike
    # Between flakes, black is whitened by 0.3 of a half.
    assert snowy.min() == round(0.3 * 0.5 * 255)
    assert snowy.max() > 200


@pytest.mark.parametrize(
    ("severity", "own", "frost"),
    [(1, 1, 0.4), (2, 0.8, 0.6), (3, 0.7, 0.7), (4, 0.65, 0.7), (5, 0.6, 0.75)],
)
def test_frost_is_one_of_five_pictures_laid_over_the_image(severity, own, frost):
    shape = (226, 230)
    random = np.random.RandomState(0)
    photographs = random.randint(0, 256, (5, 235, 240, 3)).astype(np.uint8)
    image = random.randint(0, 256, (*shape, 3)).astype(np.uint8)
    chosen = set()
    for seed in range(9):
        found = CORRUPTIONS["frost"](image, severity, (seed,), pictures=photographs)
        draws = np.random.RandomState((seed,))
        number = draws.randint(5)
        top, left = draws.randint(235 - shape[0]), draws.randint(240 - shape[1])
        part = photographs[number, top : top + shape[0], left : left + shape[1]]
        mixed = np.clip(own * image + frost * part.astype(float), 0, 255)
        np.testing.assert_array_equal(found, np.around(mixed))
        chosen.add(number)
    assert len(chosen) > 2
