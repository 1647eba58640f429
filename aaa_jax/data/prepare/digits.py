"""The digits of scikit-learn as a TFDS dataset: real images, and no download.

Scikit-learn has 1797 handwritten digits of 13 people, 8x8 pixels with 17 grey levels
(E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998, the test
part).

Pixels: the images are interpolated by 4 to 32x32 (bilinear, aligned as in Pillow and
OpenCV: pixel centres, edges repeated), in integers, so that every machine writes the
same bytes. 0..16 becomes 0..255, white ink on black, in three equal channels.

Splits of "digits": a third of each class (rounded), 599 images, is drawn with a fixed
seed for testing; 1198 are for training. Both have images of the same people, since the
source does not say who wrote what: the test error is that on known hands.

"digits_few" is for comparisons of methods: five sixths of each class, 1498 images, are
for testing, 299 for training, and at 16x16 pixels a step costs a quarter.
"""

from pathlib import Path

import cv2
import numpy as np

from aaa_jax.data.held_out import choose
from aaa_jax.data.prepare.tfds_writer import Item, Plan, write_dataset

INK = 16  # the source's white
SPLIT_SEED = 0


def prepare_digits(folder: Path, name: str, scale: int, test_share: float) -> Path:
    """Writes a dataset of digits, scaled, with a share of each class for testing."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = upscale(images.reshape(-1, 8, 8).astype(np.int64), scale)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    encoded = [cv2.imencode(".png", image)[1].tobytes() for image in rgb]
    quotas = np.rint(np.bincount(labels) * test_share).astype(np.int64)
    test = choose(labels, np.arange(10), quotas, SPLIT_SEED)
    places = {"train": np.setdiff1d(np.arange(len(labels)), test), "test": test}

    def item(place: int) -> Item:
        image, label = f"digit_{place:04d}", int(labels[place])
        size = len(encoded[place])
        return Item(image, (label,), Path("scikit-learn"), place, size)

    plan = Plan(
        name=name,
        version="1.0.0",
        description="The digits of scikit-learn, https://doi.org/10.24432/C50P49",
        labels={"label": [str(k) for k in range(10)]},
        name_feature="id",
        splits={split: [item(int(i)) for i in some] for split, some in places.items()},
        encoding="png",
        image_size=rgb.shape[1],
        key=lambda name: str(int(name.rpartition("_")[2])),
    )
    return write_dataset(folder, plan, lambda item: encoded[item.offset])


def upscale(images: np.ndarray, scale: int = 4) -> np.ndarray:
    """Bilinear by `scale`, rounded half up: int [n, h, w] in 0..INK to uint8."""
    rows = _weights(images.shape[1], scale)
    columns = _weights(images.shape[2], scale)
    sums = np.einsum("yi,nij,xj->nyx", rows, images, columns)  # times (2 scale)^2
    white = INK * (2 * scale) ** 2
    return ((2 * 255 * sums + white) // (2 * white)).astype(np.uint8)


def _weights(size: int, scale: int) -> np.ndarray:
    """Bilinear weights times 2 `scale`, int64 [scale size, size]."""
    weights = np.zeros((scale * size, size), np.int64)
    for target in range(scale * size):
        # The centre of pixel t lies at (t + 1/2) / scale - 1/2 of the source.
        below, part = divmod(2 * target + 1 - scale, 2 * scale)
        weights[target, max(below, 0)] += 2 * scale - part
        weights[target, min(below + 1, size - 1)] += part
    return weights
