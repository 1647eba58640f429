"""What a record of an image classification dataset holds: a `tf.train.Example`.

The features that we need are an encoded image, a class label and, for messages, the
record's name.
"""

from typing import Any, NamedTuple

from aaa_jax.data.datasets import DATASETS
from aaa_jax.data.errors import BadRecord, DatasetError

NAMES = ("id", "file_name")  # features that name a record, if it has one of them


class Record(NamedTuple):
    """One image, still encoded."""

    place: str  # which record this is, for messages
    encoded: bytes  # the bytes of a JPEG, PNG, … file
    label: int  # the class as stored, not checked


class Features(NamedTuple):
    """What the records of a dataset hold."""

    class_names: tuple[str, ...]  # one name a class
    # height and width of all images; None where they differ
    size: tuple[int | None, int | None]
    keys: tuple[str, str]  # names of the features with the image and with its class


def find_features(name: str, builder: Any) -> Features:
    """What the records of an opened dataset hold.

    Raises:
        DatasetError: it is no image classification dataset, or not the one of that
            name in DATASETS.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    features = (
        dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    )
    keys = ("image", "label")
    if len(builder.info.supervised_keys or ()) == 2:
        keys = builder.info.supervised_keys
    image, label = map(features.get, keys)
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise DatasetError(
            f"{name} in {builder.data_dir} is not an image classification dataset: its "
            f"features are {', '.join(features)}; an image and a class label are needed"
        )
    class_names = tuple(label.names)
    if len(class_names) < 2:
        raise DatasetError(
            f"{name} in {builder.data_dir} has {len(class_names)} class: two are needed"
        )
    size = (image.shape[0], image.shape[1])
    if name in DATASETS:
        spec = DATASETS[name]
        side = spec.image_size if spec.loader == "resident" else None
        wanted = (spec.num_classes, side, side)
        if (len(class_names), *size) != wanted:
            raise DatasetError(
                f"{builder.data_dir} has {len(class_names)} classes and images of "
                f"{_sides(size[0], size[1])}, but {name} has {wanted[0]} classes and "
                f"images of {_sides(side, side)}: it is another dataset of that name"
            )
    return Features(class_names, size, keys)


def parse_record(place: str, serialized: bytes, keys: tuple[str, str]) -> Record:
    """The features that we need of a serialized tf.train.Example.

    They are read from the protocol buffer: TFDS's own parser takes six times as long.
    `place` says in messages which record this is; its name is added if it has one.

    Raises:
        BadRecord: it is no Example, or it lacks an image or a label.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        example = tf_example_pb2.Example.FromString(serialized)
    except Exception as error:  # protobuf's DecodeError, whose home has moved
        raise BadRecord(f"{place} is not a tf.train.Example ({error})") from error
    feature = example.features.feature
    for key in NAMES:
        identity = feature[key].bytes_list.value
        if identity:
            place += f" ({key} {identity[0].decode(errors='replace')!r})"
            break
    encoded = feature[keys[0]].bytes_list.value
    label = feature[keys[1]].int64_list.value
    if len(encoded) != 1 or len(label) != 1:
        raise BadRecord(
            f"{place} has {len(encoded)} values of {keys[0]!r} and {len(label)} of "
            f"{keys[1]!r}: one of each is needed"
        )
    return Record(place, encoded[0], label[0])


def check_label(record: Record, num_classes: int) -> int:
    """The record's label; raises BadRecord if it is none of the classes."""
    if not 0 <= record.label < num_classes:
        raise BadRecord(
            f"{record.place} has the label {record.label}: labels are 0 to "
            f"{num_classes - 1}"
        )
    return record.label


def _sides(height: int | None, width: int | None) -> str:
    return "any size" if height is None and width is None else f"{height}x{width}"
