"""What a run is fed: its splits, the data of each step, the sums of each test batch.

A split that fits lives on the devices, and every step gets all of it with the epoch's
order; a larger one is streamed, and a step gets its rows. The loop does not know which.
"""

import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from aaa_jax import data, evaluate
from aaa_jax.program import Info, Program
from aaa_jax.step import Data, ResidentData, TrainState


class Splits(NamedTuple):
    """The dataset of a run, opened.

    Attributes:
        spec: what the dataset is.
        train: its train split, or a subset.
        test: its test split.
        num_images: of the train split.
        image_shape: (H, W, C) of a row.
    """

    spec: data.DatasetSpec
    train: data.Dataset
    test: data.Dataset
    num_images: int
    image_shape: tuple[int, ...]


class Feed(NamedTuple):
    """Where the loop gets its data from.

    Attributes:
        epoch: (root, epoch, first step, last step) -> the data of each step from the
            first to before the last, counted from the start of the run.
        test: train state -> the sums of each batch of the test split.
    """

    epoch: Callable[[jax.Array, int, int, int], Iterator[Data]]
    test: Callable[[TrainState], Iterator[Info]]


def open_splits(config: ml_collections.ConfigDict) -> Splits:
    """What the dataset is, its train split or a subset, its test split."""
    name, where = config.data.name, config.data.dir or None
    spec = data.describe(name, data_dir=where)
    subset = config.data.num_train_images or None
    train = data.load(
        name, spec.train_split, data_dir=where, num_images=subset, seed=config.seed
    )
    test = data.load(name, spec.test_split, data_dir=where)
    return Splits(spec, train, test, len(train.labels), train.images.shape[1:])


def fingerprint(splits: Splits) -> dict[str, int]:
    """What must be equal in all processes of a run: CRC-32 of every array."""
    parts = {"train split": splits.train, "test split": splits.test}
    return {
        f"{field} of the {name}": zlib.crc32(np.ascontiguousarray(array).data)
        for name, split in parts.items()
        for field, array in (("images", split.images), ("labels", split.labels))
    }


def resident_feed(
    program: Program,
    train: data.Dataset,
    test: data.Dataset,
    *,
    test_batch_size: int,
    num_devices: int,
) -> Feed:
    """Both splits on the devices; only the epoch's order and a batch's number change.

    Args:
        program: compiled for resident data.
        train: the train split.
        test: the test split.
        test_batch_size: images, over all devices.
        num_devices: that share a batch.
    """
    resident = resident_data(program, train.images, train.labels)
    tested = program.place(
        evaluate.evaluation_data(
            test.images,
            test.labels,
            batch_size=test_batch_size,
            num_devices=num_devices,
        )
    )

    def epoch(root: jax.Array, index: int, first: int, last: int) -> Iterator[Data]:
        order = program.order(root, np.int32(index))
        return itertools.repeat(resident._replace(permutation=order), last - first)

    def test_sums(state: TrainState) -> Iterator[Info]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        for batch in range(len(tested.labels)):
            yield program.evaluate(variables, tested, np.int32(batch))

    return Feed(epoch, test_sums)


def resident_data(
    program: Program, images: np.ndarray, labels: np.ndarray
) -> ResidentData:
    """A train split on the devices, in the order of no epoch yet."""
    placed = program.place((images, labels.astype(np.int32)))
    return ResidentData(placed[0], placed[1], permutation=jnp.zeros(0, jnp.int32))
