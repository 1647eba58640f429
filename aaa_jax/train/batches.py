"""What a run is fed: its splits, the data of each step, the sums of each test batch.

A split that fits lives on the devices, and every step gets all of it with the epoch's
order; a larger one is streamed, and a step gets its rows. The loop does not know which.
"""

import itertools
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.data.errors import BadRecord
from aaa_jax.experiments.build import flips
from aaa_jax.train import evaluate
from aaa_jax.train.compiled import Info, Program
from aaa_jax.train.step import Data, ResidentData, StreamedRows, TrainState

_RECORDS = 16  # of a streamed split that are read for its fingerprint


class Splits(NamedTuple):
    """The dataset of a run, opened.

    Attributes:
        spec: what the dataset is.
        train: its train split, or a subset; decoded, or open for streaming.
        test: its test split, likewise.
        num_images: of the train split.
        image_shape: (H, W, C) of a row.
    """

    spec: data.DatasetSpec
    train: data.Dataset | data.Stream
    test: data.Dataset | data.Stream
    num_images: int
    image_shape: tuple[int, ...]

    @property
    def is_streamed(self) -> bool:
        """Whether steps and tests get rows from the host."""
        return isinstance(self.train, data.Stream)


Batches = Generator[Data, None, None]  # closing it stops the threads behind it


class Tested(NamedTuple):
    """How a streamed test split is cut.

    Attributes:
        batch_size: images, over all devices.
        resize: the short side in pixels before the centre crop.
        image_size: side of the centre crop.
    """

    batch_size: int
    resize: int
    image_size: int


class Feed(NamedTuple):
    """Where the loop gets its data from.

    Attributes:
        epoch: (root, epoch, first step, last step) -> the data of each step from the
            first to before the last, counted from the start of the run.
        test: train state -> the sums of each batch of the test split.
        num_bad_images: () -> how many bad training images were met and skipped by this
            process since it began.
    """

    epoch: Callable[[jax.Array, int, int, int], Batches]
    test: Callable[[TrainState], Iterator[Info]]
    num_bad_images: Callable[[], int] = lambda: 0


def open_splits(config: ml_collections.ConfigDict) -> Splits:
    """What the dataset is, its train split or a subset, its test split."""
    c = config.data
    where, subset = c.dir or None, c.num_train_images or None
    spec = data.describe(
        c.name, data_dir=where, loader=c.loader, image_size=c.image_size
    )
    some = {"data_dir": where, "num_images": subset, "seed": config.seed}
    if spec.loader == "stream":
        stream = data.open_stream(c.name, spec.train_split, **some)
        tested = data.open_stream(c.name, spec.test_split, data_dir=where)
        shape = (spec.image_size, spec.image_size, 3)
        return Splits(spec, stream, tested, stream.num_images, shape)
    train = data.load(c.name, spec.train_split, **some)
    test = data.load(c.name, spec.test_split, data_dir=where)
    return Splits(spec, train, test, len(train.labels), train.images.shape[1:])


def fingerprint(splits: Splits) -> dict[str, int]:
    """What the data of a run are, in numbers: other data under the same name differ.

    Returns:
        By what it is of, CRC-32 of the images and labels; of a streamed split, of which
        images it holds, of its class names and of some records as they are stored.
    """
    values: dict[str, int] = {}
    for name, split in (("train", splits.train), ("test", splits.test)):
        if isinstance(split, data.Stream):
            places = np.linspace(0, len(split.kept) - 1, _RECORDS).astype(np.int64)
            content = b"".join(_read(split, int(split.kept[k])) for k in places)
            names = "\n".join(split.class_names)
            arrays = {
                "choice of images": split.kept,
                "class names": np.frombuffer(names.encode(), np.uint8),
                "records": np.frombuffer(content, np.uint8),
            }
        else:
            arrays = {"images": split.images, "labels": split.labels}
        for what, array in arrays.items():
            place = f"the {what} of the {name} split"
            values[place] = zlib.crc32(np.ascontiguousarray(array).data)
    return values


def _read(stream: data.Stream, index: int) -> bytes:
    try:
        return stream.records.read(index)
    except BadRecord:
        return b""  # the loader's business


def make_feed(
    config: ml_collections.ConfigDict,
    splits: Splits,
    program: Program,
    layout: batch_layout.GroupLayout,
    run_devices: Sequence[jax.Device],
) -> Feed:
    """The feed of a run's dataset, of the kind that its splits are."""
    train, test = splits.train, splits.test
    if isinstance(train, data.Dataset) and isinstance(test, data.Dataset):
        return resident_feed(
            program,
            train,
            test,
            test_batch_size=config.evaluation.batch_size,
            num_devices=len(run_devices),
        )
    assert isinstance(train, data.Stream)
    assert isinstance(test, data.Stream)
    options = data.StreamOptions(
        image_size=splits.spec.image_size,
        flip=flips(config, splits.spec),
        shared_crops=config.augment.crops == "shared",
        resample=config.data.resample,
        seed=config.seed,
        on_bad_image=config.data.on_bad_image,
        num_threads=config.data.num_threads,
        prefetch=config.data.prefetch,
    )
    return streamed_feed(
        program,
        train,
        test,
        options,
        layout=layout,
        steps_per_epoch=splits.num_images // layout.num_images,
        tested=Tested(
            config.evaluation.batch_size,
            config.evaluation.resize,
            config.evaluation.image_size or splits.spec.image_size,
        ),
        run_devices=run_devices,
    )


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

    def epoch(root: jax.Array, index: int, first: int, last: int) -> Batches:
        order = program.order(root, np.int32(index))
        yield from itertools.repeat(resident._replace(permutation=order), last - first)

    def test_sums(state: TrainState) -> Iterator[Info]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        for batch in range(len(tested.labels)):
            yield program.evaluate(variables, tested, np.int32(batch))

    return Feed(epoch, test_sums)


def streamed_feed(
    program: Program,
    train: data.Stream,
    test: data.Stream,
    options: data.StreamOptions,
    *,
    layout: batch_layout.GroupLayout,
    steps_per_epoch: int,
    tested: Tested,
    run_devices: Sequence[jax.Device],
) -> Feed:
    """Both splits streamed; this process makes the rows of its own devices only.

    Args:
        program: compiled for streamed data.
        train: the train split.
        test: the test split.
        options: how records become rows.
        layout: which image each row shows.
        steps_per_epoch: T.
        tested: how the test split is cut and resized.
        run_devices: that share the rows, in order.
    """
    num_devices = len(run_devices)
    test_batch = -(-min(tested.batch_size, test.num_images) // num_devices)
    rows = _own(run_devices, layout.num_rows // num_devices)
    test_rows = _own(run_devices, test_batch)
    image_of_row = batch_layout.image_of_row(layout)

    def epoch(root: jax.Array, index: int, first: int, last: int) -> Batches:
        del root  # the loader's numbers come from the seed itself
        with data.train_batches(
            train,
            options,
            image_of_row=image_of_row,
            rows=rows,
            batch_size=layout.num_images,
            epoch=index,
            first_step=first - index * steps_per_epoch,
            last_step=last - index * steps_per_epoch,
        ) as batches:
            for batch in _one_ahead(program.place_shares(rows) for rows in batches):
                yield StreamedRows(*batch)

    def test_sums(state: TrainState) -> Iterator[Info]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        with data.evaluation_batches(
            test,
            options._replace(image_size=tested.image_size),
            batch_size=test_batch * num_devices,
            resize=tested.resize,
            start=test_rows.start,
            stop=test_rows.stop,
        ) as batches:
            for images, labels, weights in batches:
                marked = np.where(weights > 0, labels, evaluate.PADDING_LABEL)
                yield program.evaluate(
                    variables, program.place_shares((images, marked.astype(np.int32)))
                )

    return Feed(epoch, test_sums, lambda: len(train.bad_images))


def _own(run_devices: Sequence[jax.Device], share: int) -> range:
    """The rows of this process's devices, ``share`` rows each; they are neighbours."""
    own = [
        place
        for place, device in enumerate(run_devices)
        if device.process_index == jax.process_index()
    ]
    return range(own[0] * share, (own[-1] + 1) * share)


def _one_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, of which the next is on its way while one is used."""
    waiting: list[Any] = []
    for batch in batches:
        waiting.append(batch)
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting


def resident_data(
    program: Program, images: np.ndarray, labels: np.ndarray
) -> ResidentData:
    """A train split on the devices, in the order of no epoch yet."""
    placed = program.place((images, labels.astype(np.int32)))
    return ResidentData(placed[0], placed[1], permutation=jnp.zeros(0, jnp.int32))
