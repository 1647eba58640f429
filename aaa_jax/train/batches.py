"""What a run is fed: the data of each step, the sums of each test batch.

A split that fits lives on the devices, and every step gets all of it with the epoch's
order; a larger one is streamed, and a step gets its rows. The loop does not know which.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.experiments.build import Experiment
from aaa_jax.experiments.splits import Splits
from aaa_jax.train import evaluate
from aaa_jax.train.compiled import Info, Program
from aaa_jax.train.step import Data, ResidentData, StreamedRows, TrainState

Batches = Generator[Data, None, None]  # closing it stops the threads behind it


class Feed(NamedTuple):
    """Where the loop gets its data from."""

    # (root, epoch, first step, last step) -> the data of each step from the first to
    # before the last, counted from the start of the run
    epoch: Callable[[jax.Array, int, int, int], Batches]
    # train state -> the sums of each batch of the test split
    test: Callable[[TrainState], Iterator[Info]]
    num_test_batches: int  # how many batches `test` gives
    # () -> how many bad training images this process has skipped
    num_bad_images: Callable[[], int] = lambda: 0


def make_feed(
    experiment: Experiment,
    splits: Splits,
    program: Program,
    run_devices: Sequence[jax.Device],
) -> Feed:
    """The feed of a run's dataset, by a program that was compiled for its kind."""
    make = _streamed_feed if splits.is_streamed else _resident_feed
    return make(experiment, splits, program, run_devices)


def _resident_feed(
    experiment: Experiment,
    splits: Splits,
    program: Program,
    run_devices: Sequence[jax.Device],
) -> Feed:
    """Both splits on the devices; only an epoch's order and a batch's number change."""
    train, test = splits.train, splits.test
    assert isinstance(train, data.Dataset)
    assert isinstance(test, data.Dataset)
    images, labels = program.place((train.images, train.labels.astype(np.int32)))
    tested = program.place(
        evaluate.evaluation_data(
            test.images,
            test.labels,
            batch_size=experiment.evaluation_view.batch_size,
            num_devices=len(run_devices),
        )
    )

    def epoch(root: jax.Array, index: int, first: int, last: int) -> Batches:
        order = program.order(root, np.int32(index))
        resident = ResidentData(images, labels, permutation=order)
        yield from itertools.repeat(resident, last - first)

    def test_sums(state: TrainState) -> Iterator[Info]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        for batch in range(len(tested.labels)):
            yield program.evaluate(variables, tested, np.int32(batch))

    return Feed(epoch, test_sums, len(tested.labels))


def _streamed_feed(
    experiment: Experiment,
    splits: Splits,
    program: Program,
    run_devices: Sequence[jax.Device],
) -> Feed:
    """Both splits streamed; this process makes the rows of its own devices only."""
    train, test = splits.train, splits.test
    assert isinstance(train, data.Stream)
    assert isinstance(test, data.Stream)
    layout, view = experiment.recipe.layout, experiment.evaluation_view
    steps_per_epoch = experiment.recipe.steps_per_epoch
    num_devices = len(run_devices)
    test_batch = -(-min(view.batch_size, test.num_images) // num_devices)
    rows = _own(run_devices, layout.num_rows // num_devices)
    test_rows = _own(run_devices, test_batch)
    image_of_row = batch_layout.image_of_row(layout)

    def epoch(root: jax.Array, index: int, first: int, last: int) -> Batches:
        del root  # the loader's numbers come from the seed itself
        with data.train_batches(
            train,
            experiment.stream,
            image_of_row=image_of_row,
            rows=rows,
            batch_size=layout.num_images,
            epoch=index,
            first_step=first - index * steps_per_epoch,
            last_step=last - index * steps_per_epoch,
        ) as batches:
            placed = (program.place_shares(rows) for rows in batches)
            # The next is on its way while one is used.
            for batch, _ in itertools.pairwise(itertools.chain(placed, [None])):
                yield StreamedRows(*batch)

    def test_sums(state: TrainState) -> Iterator[Info]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        with data.evaluation_batches(
            test,
            experiment.stream._replace(image_size=view.image_size),
            batch_size=test_batch * num_devices,
            resize=view.resize,
            start=test_rows.start,
            stop=test_rows.stop,
        ) as batches:
            for images, labels, weights in batches:
                marked = np.where(weights > 0, labels, evaluate.PADDING_LABEL)
                yield program.evaluate(
                    variables, program.place_shares((images, marked.astype(np.int32)))
                )

    num_batches = -(-test.num_images // (test_batch * num_devices))
    return Feed(epoch, test_sums, num_batches, lambda: len(train.bad_images))


def _own(run_devices: Sequence[jax.Device], share: int) -> range:
    """The rows of this process's devices, ``share`` rows each; they are neighbours."""
    own = [
        place
        for place, device in enumerate(run_devices)
        if device.process_index == jax.process_index()
    ]
    return range(own[0] * share, (own[-1] + 1) * share)
