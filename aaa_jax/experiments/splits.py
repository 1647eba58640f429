"""The dataset of a run, opened: its train and test splits, or parts of them."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import ml_collections

from aaa_jax import data

Split = TypeVar("Split", bound=data.Dataset | data.Stream)


class Splits(NamedTuple):
    """The dataset of a run, opened."""

    spec: data.DatasetSpec  # what the dataset is
    # its train split, or a subset; decoded, or open for streaming
    train: data.Dataset | data.Stream
    test: data.Dataset | data.Stream  # its test split, decoded or open for streaming
    num_images: int  # of the train split
    image_shape: tuple[int, ...]  # (H, W, C) of a row

    def counted(self) -> str:
        """What there is and what is left out, a line a split."""
        pairs = ((self.spec.train_split, self.train), (self.spec.test_split, self.test))
        return "\n".join(data.counted(images, split) for split, images in pairs)

    @property
    def is_streamed(self) -> bool:
        """Whether steps and tests get rows from the host."""
        return isinstance(self.train, data.Stream)

    def facts(self) -> dict[str, Any]:
        """What is recorded of the dataset, so that its network can do without it."""
        return self.spec._asdict() | {"class_names": self.train.class_names}


def open_splits(config: ml_collections.ConfigDict) -> Splits:
    """Opens what a config asks for; a dataset that is not prepared is, if it can be.

    Of the test split at most `evaluation.max_images` are taken.
    """
    c = config.data
    where, subset = c.dir or None, c.num_train_images or None
    spec = data.describe(
        c.name,
        data_dir=where,
        loader=c.loader,
        image_size=c.image_size,
        validation_fraction=c.validation_fraction,
        seed=config.seed,
    )
    is_streamed = spec.loader == "stream"
    read: Callable[..., Any] = data.open_stream if is_streamed else data.load
    train = read(
        c.name, spec.train_split, data_dir=where, num_images=subset, seed=config.seed
    )
    most = config.evaluation.max_images or None
    test = at_most(read, c.name, spec.test_split, most, where, config.seed)
    square = (spec.image_size, spec.image_size, 3)
    shape = square if is_streamed else train.images.shape[1:]
    return Splits(spec, train, test, train.num_images, shape)


def at_most(
    read: Callable[..., Split],
    name: str,
    split: str | data.Part,
    most: int | None,
    data_dir: str | None,
    seed: int = 0,
) -> Split:
    """A split, or so many of its images where it has more; None: all.

    Args:
        read: `data.load` or `data.open_stream`.
        name: of the dataset.
        split: of it.
        most: how many images.
        data_dir: folder of the datasets.
        seed: of the choice.
    """
    found = read(name, split, data_dir=data_dir)
    if most is None or most >= found.num_images:
        return found
    return read(name, split, data_dir=data_dir, num_images=most, seed=seed)
