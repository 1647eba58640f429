"""A linear network as if read back from a run, and NumPy's answer to what it says."""

import flax.linen as nn
import jax
import numpy as np
from etils import epath

from aaa_jax import data
from aaa_jax.data import DatasetSpec
from aaa_jax.trained import run as trained
from tests.oracles import pillow_ops

SIDE, NUM_CLASSES, COUNT = 32, 5, 23
PUBLISHED_LABELS = np.arange(15) * 7 % NUM_CLASSES
SPEC = DatasetSpec(
    name="by hand",
    num_classes=NUM_CLASSES,
    image_size=SIDE,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
    fill=(10, 200, 30),
    flip=False,
)


class Linear(nn.Module):
    """Logits = flattened pixels times a matrix."""

    @nn.compact
    def __call__(self, images, *, train):
        assert not train
        return nn.Dense(NUM_CLASSES)(images.reshape(images.shape[0], -1))


def make_run(ranges: str) -> trained.TrainedRun:
    model = Linear()
    images = np.zeros((1, SIDE, SIDE, 3), np.float32)
    return trained.TrainedRun(
        path=epath.Path("nowhere"),
        step=7,
        model=model,
        variables=model.init(jax.random.key(3), images, train=False),
        spec=SPEC,
        class_names=tuple("abcde"),
        data_dir=None,
        ranges=ranges,
        fill=SPEC.fill,
        stream=data.StreamOptions(image_size=SIDE),
        resize=SIDE,
        batch_size=10,
        num_devices=1,
    )


def make_split() -> data.Dataset:
    pictures = pillow_ops.pictures(SIDE, SIDE)
    images = np.stack([np.roll(pictures[i % 9], 3 * i, axis=1) for i in range(COUNT)])
    return data.Dataset(images, np.zeros(COUNT, np.int32), tuple("abcde"))


def numpy_logits(run, images) -> np.ndarray:
    """What the linear network says, in double."""
    layer = run.variables["params"]["Dense_0"]
    x = ((images / 255 - SPEC.mean) / SPEC.std).reshape(len(images), -1)
    return x @ np.asarray(layer["kernel"], np.float64)


def numpy_answers(run, images) -> np.ndarray:
    """The linear network's classes."""
    return np.argmax(numpy_logits(run, images), axis=1)
