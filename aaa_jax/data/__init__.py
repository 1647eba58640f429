"""Datasets: found, prepared where needed, decoded, and held in memory or streamed.

    spec  = data.describe("cifar10")                       what the dataset is
    train = data.load("cifar10", "train")                  uint8 [n, H, W, 3], int32 [n]
    order = data.epoch_permutation(key_of_the_epoch, len(train.labels))
    images, labels = data.gather(train.images, train.labels, order[:128])

Every dataset is a TFDS folder (`DATA_DIR/NAME/VERSION`) of array_record or TFRECORD
files, read without TensorFlow. `datasets` has the table. `tfds_folder` finds and opens
a folder, `record_files` reads its bytes, `examples` and `decode` make labels and pixels
of them. `load` keeps all images in memory, and `resident` orders and gathers them on
the device; `stream` (with `crops`) makes the batches of a dataset that is too large for
that. `prepare` writes a folder that is not there yet. Nothing here knows a policy, and
nothing imports TensorFlow; TFDS is imported where it is used.
"""

from aaa_jax.data.datasets import DATASETS, NUM_IMAGES, DatasetSpec, Part
from aaa_jax.data.errors import BadRecord, DatasetError, DatasetNotPrepared
from aaa_jax.data.load import (
    AUTOMATIC_SIDE,
    Dataset,
    class_names,
    describe,
    load,
    stratified_subset,
)
from aaa_jax.data.resident import epoch_permutation, gather
from aaa_jax.data.stream import (
    Stream,
    StreamOptions,
    counted,
    evaluation_batches,
    open_stream,
    train_batches,
)

__all__ = [
    "AUTOMATIC_SIDE",
    "DATASETS",
    "NUM_IMAGES",
    "BadRecord",
    "Dataset",
    "DatasetError",
    "DatasetNotPrepared",
    "DatasetSpec",
    "Part",
    "Stream",
    "StreamOptions",
    "class_names",
    "counted",
    "describe",
    "epoch_permutation",
    "evaluation_batches",
    "gather",
    "load",
    "open_stream",
    "stratified_subset",
    "train_batches",
]
