"""The digits of scikit-learn as a TFDS dataset: real images, and no download.

1797 handwritten digits of 13 people, 8x8 pixels with 17 grey levels (E. Alpaydin,
C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998, the test part), which
scikit-learn carries. Written as PNG in array_record files, they are read by the code
that reads CIFAR.

Pixels: bilinear interpolation by 4 (as Pillow and OpenCV align it: pixel centres, edges
repeated) to 32x32, in integers, so that every machine writes the same bytes; 0..16
becomes 0..255, white ink on black; three equal channels.

Splits: 599 test images, of each class a third (rounded), drawn with a fixed seed; 1198
for training. Images of one person are in both, since the source does not say whose they
are: the error on these test images is that of known hands.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from aaa_jax.data.tfds_folder import write_prepared

SCALE = 4
INK = 16  # the source's white
SPLIT_SEED = 0


class Digits(  # type: ignore[call-arg]  # the keyword is TFDS's own
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """The TFDS builder of "digits"."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=[str(k) for k in range(10)]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = upscale(images.reshape(-1, 8, 8).astype(np.int64))
        test = test_places(labels)
        train = np.setdiff1d(np.arange(len(labels)), test)
        return {
            "train": self._generate_examples(images, labels, train),
            "test": self._generate_examples(images, labels, test),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, places: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in places:
            rgb = np.repeat(images[i][..., None], 3, axis=-1)
            yield (
                int(i),
                {
                    "id": f"digit_{i:04d}",
                    "image": cv2.imencode(".png", rgb)[1].tobytes(),
                    "label": int(labels[i]),
                },
            )


def prepare_digits(folder: Path) -> None:
    """Write the dataset under `folder`."""
    write_prepared(Digits(data_dir=folder, file_format="array_record"))


def upscale(images: np.ndarray) -> np.ndarray:
    """Bilinear by SCALE, rounded half up: int [n, h, w] in 0..INK to uint8."""
    rows = _weights(images.shape[1])
    columns = _weights(images.shape[2])
    sums = np.einsum("yi,nij,xj->nyx", rows, images, columns)  # times (2 SCALE)^2
    white = INK * (2 * SCALE) ** 2
    return ((2 * 255 * sums + white) // (2 * white)).astype(np.uint8)


def test_places(labels: np.ndarray) -> np.ndarray:
    """Places of the test images: a third of each class, int64 ascending."""
    random = np.random.RandomState(SPLIT_SEED)  # its numbers never change
    chosen = []
    for label in range(10):
        places = random.permutation(np.flatnonzero(labels == label))
        chosen.append(places[: round(len(places) / 3)])
    return np.sort(np.concatenate(chosen))


def _weights(size: int) -> np.ndarray:
    """Bilinear weights times 2 SCALE, int64 [SCALE size, size]."""
    weights = np.zeros((SCALE * size, size), np.int64)
    for target in range(SCALE * size):
        # The centre of pixel t lies at (t + 1/2) / SCALE - 1/2 of the source.
        below, part = divmod(2 * target + 1 - SCALE, 2 * SCALE)
        weights[target, max(below, 0)] += 2 * SCALE - part
        weights[target, min(below + 1, size - 1)] += part
    return weights
