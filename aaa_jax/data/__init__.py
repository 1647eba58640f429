"""Datasets: found, prepared where need be, decoded, and held in memory.

    spec  = data.describe("cifar10")                       what the dataset is
    train = data.load("cifar10", "train")                  uint8 [n, H, W, 3], int32 [n]
    order = data.epoch_permutation(key_of_the_epoch, len(train.labels))
    images, labels = data.gather(train.images, train.labels,
                                 data.step_indices(order, step, batch_size=128))

Every dataset is a TFDS folder (`DATA_DIR/NAME/VERSION`), in array_record or TFRECORD
files, read without TensorFlow. `datasets` has the table; `prepared` finds and opens a
folder, `records` reads its bytes, `decode` makes pixels of them, `loading` puts these
together; `prepare` (with `digits`, `cifar` and `download`) writes a folder that is not
there yet. `resident` orders and gathers images that live on the device; `streaming`
(with `access`, `crops` and `prefetch`) makes the batches of a dataset that is too large
for that. Policies do not belong here. Nothing here imports TensorFlow, and the imports
of TFDS and Grain wait for their use.
"""

from aaa_jax.data.datasets import DATASETS, DatasetSpec
from aaa_jax.data.errors import (
    BadRecord,
    DatasetError,
    DatasetNotPrepared,
    DownloadFailed,
)
from aaa_jax.data.load import Dataset, describe, load, stratified_subset
from aaa_jax.data.resident import epoch_permutation, gather, step_indices
from aaa_jax.data.stream import (
    Batches,
    EvaluationBatch,
    RowBatch,
    Stream,
    StreamOptions,
    epoch_order,
    evaluation_batches,
    open_stream,
    train_batches,
)
from aaa_jax.data.tfds_folder import data_folder

__all__ = [
    "DATASETS",
    "BadRecord",
    "Batches",
    "Dataset",
    "DatasetError",
    "DatasetNotPrepared",
    "DatasetSpec",
    "DownloadFailed",
    "EvaluationBatch",
    "RowBatch",
    "Stream",
    "StreamOptions",
    "data_folder",
    "describe",
    "epoch_order",
    "epoch_permutation",
    "evaluation_batches",
    "gather",
    "load",
    "open_stream",
    "step_indices",
    "stratified_subset",
    "train_batches",
]
