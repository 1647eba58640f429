"""The corruptions of ImageNet-C, each a function of one image; a table of all 15.

D. Hendrycks, T. Dietterich, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, ICLR 2019. TFDS has them, with the constants of that
paper, in `tensorflow_datasets.image_classification.corruptions`. Eleven are used as
they are. Four are written here, with the same constants and random numbers: TFDS makes
motion blur and snow with the program ImageMagick, takes frost from files of its
downloader, and draws impulse noise without a seed.

A corruption takes an image uint8 [H, W, 3], a severity of 1 to 5 (5 hurts most) and a
seed, and returns uint8 [H, W, 3]. It leaves NumPy's global random numbers as they were.
"""

import warnings
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import skimage.util
from tensorflow_datasets.image_classification import corruptions as tfds

Seed = tuple[int, ...]
Corruption = Callable[[np.ndarray, int, Seed], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)
# The constants of TFDS, one entry a severity.
IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)
MOTION_RADIUS_SIGMA = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
MOTION_DEGREES = -45
FROST_WEIGHTS = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
# Mean and spread of the noise, zoom, threshold, radius, sigma, the image's own weight.
SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)


def impulse_noise(image: np.ndarray, severity: int, seed: Seed) -> np.ndarray:
    """Some values become 0 or 255."""
    random = np.random.default_rng(seed)
    share = IMPULSE_SHARE[severity - 1]
    noisy = skimage.util.random_noise(image / 255, mode="s&p", rng=random, amount=share)
    return np.around(noisy * 255).astype(np.uint8)


def motion_blur(image: np.ndarray, severity: int, seed: Seed) -> np.ndarray:
    """The image blurred along a diagonal; no random number is drawn."""
    radius, sigma = MOTION_RADIUS_SIGMA[severity - 1]
    return blur_along(image, radius, sigma, MOTION_DEGREES)


def blur_along(
    image: np.ndarray, radius: int, sigma: float, angle: float
) -> np.ndarray:
    """What ImageMagick makes of `-motion-blur RADIUSxSIGMA+ANGLE`.

    A pixel becomes the mean of itself and the next 2 radius pixels in one direction,
    with the weights of half a Gaussian. Beyond the border, the border's pixels go on.

    Measured: every byte is equal to that of ImageMagick 6.9.11 (16 bits, integers) on
    photographs, noise, enlarged small images and flat ones, at all severities of motion
    blur and snow. Not measured: versions that compute in floats (the default of 7). By
    their source they round the last step up or down to the nearest level (of 255), and
    are at most one level brighter.

    Args:
        image: uint8 [H, W] or [H, W, C].
        radius: in pixels.
        sigma: of the Gaussian, in pixels.
        angle: of the direction, in degrees from right to down.
    """
    distances = np.arange(2 * radius + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    weights /= weights.sum()
    # ImageMagick takes the nearest pixel, and at a tie the smaller row and column.
    rows = np.ceil(distances * np.sin(np.deg2rad(angle)) - 0.5).astype(int)
    columns = np.ceil(distances * np.cos(np.deg2rad(angle)) - 0.5).astype(int)
    height, width = image.shape[:2]
    margin = len(distances)
    borders = ((margin, margin), (margin, margin), (0, 0))[: image.ndim]
    padded = np.pad(image * 257.0, borders, mode="edge")  # 255 becomes 65535
    blurred = np.zeros(image.shape)
    for weight, row, column in zip(weights, rows, columns, strict=True):
        top, left = margin + row, margin + column
        blurred += weight * padded[top : top + height, left : left + width]
    # It rounds to 16 bits, and cuts those down to 8.
    return (np.floor(blurred + 0.5) // 257).astype(np.uint8)


def snow(image: np.ndarray, severity: int, seed: Seed) -> np.ndarray:
    """Flakes that fall at a slant over a whitened image, which may be of any size."""
    mean, spread, zoom, threshold, radius, sigma, own = SNOW[severity - 1]
    random = np.random.RandomState(seed)
    noise = random.normal(size=image.shape[:2], loc=mean, scale=spread)
    noise = tfds.clipped_zoom(noise[..., None], zoom)[..., 0]
    noise[noise < threshold] = 0
    flakes = (np.clip(noise, 0, 1) * 255).astype(np.uint8)
    flakes = blur_along(flakes, radius, sigma, random.uniform(-135, -45))
    layer = flakes[..., None] / 255.0
    floats = image.astype(np.float32) / 255.0
    grey = cv2.cvtColor(floats, cv2.COLOR_RGB2GRAY)[..., None]
    whitened = own * floats + (1 - own) * np.maximum(floats, grey * 1.5 + 0.5)
    snowy = np.clip(whitened + layer + np.rot90(layer, k=2), 0, 1) * 255
    return np.around(snowy).astype(np.uint8)


def frost(
    image: np.ndarray, severity: int, seed: Seed, *, pictures: Sequence[np.ndarray]
) -> np.ndarray:
    """A part of a photograph of frost laid over the image.

    Args:
        image: uint8 [H, W, 3].
        severity: 1 to 5.
        seed: chooses the photograph and the part.
        pictures: the five photographs, uint8 RGB, each larger than the image.
    """
    own, of_frost = FROST_WEIGHTS[severity - 1]
    random = np.random.RandomState(seed)
    picture = pictures[random.randint(len(pictures))]
    height, width = image.shape[:2]
    top = random.randint(picture.shape[0] - height)
    left = random.randint(picture.shape[1] - width)
    part = picture[top : top + height, left : left + width]
    return np.around(np.clip(own * image + of_frost * part, 0, 255)).astype(np.uint8)


def _of_tfds(function: Callable[[np.ndarray, int], np.ndarray]) -> Corruption:
    """A function of TFDS, which draws NumPy's global random numbers, with a seed."""

    def corruption(image: np.ndarray, severity: int, seed: Seed) -> np.ndarray:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it uses a name that SciPy will drop
                return np.asarray(function(image, severity))
        finally:
            np.random.set_state(before)

    return corruption


# In the order of ImageNet-C; a place in the table is part of a corruption's seeds.
CORRUPTIONS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_noise": _of_tfds(tfds.gaussian_noise),
    "shot_noise": _of_tfds(tfds.shot_noise),
    "impulse_noise": impulse_noise,
    "defocus_blur": _of_tfds(tfds.defocus_blur),
    "glass_blur": _of_tfds(tfds.glass_blur),
    "motion_blur": motion_blur,
    "zoom_blur": _of_tfds(tfds.zoom_blur),
    "snow": snow,
    "frost": frost,  # needs `pictures`, too
    "fog": _of_tfds(tfds.fog),
    "brightness": _of_tfds(tfds.brightness),
    "contrast": _of_tfds(tfds.contrast),
    "elastic_transform": _of_tfds(tfds.elastic_transform),
    "pixelate": _of_tfds(tfds.pixelate),
    "jpeg_compression": _of_tfds(tfds.jpeg_compression),
}
NAMES = tuple(CORRUPTIONS)
