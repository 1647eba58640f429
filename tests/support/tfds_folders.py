"""TFDS folders of small images, written record by record."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorboardX.record_writer import RecordWriter
from tensorflow_datasets.core import naming
from tensorflow_datasets.proto import tf_example_pb2

FORMATS = ["array_record", "tfrecord"]
RGB = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


def png(rgb):
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def jpeg(rgb):
    return cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


def packed(files, mode="w"):
    """The bytes of a tar file with these contents by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def example(encoded, label, name):
    message = tf_example_pb2.Example()
    feature = message.features.feature
    feature["id"].bytes_list.value.append(name.encode())
    feature["image"].bytes_list.value.append(encoded)
    feature["label"].int64_list.value.append(int(label))
    return message.SerializeToString()


def examples():
    """The records of RGB and LABELS, named n00 to n11."""
    pairs = zip(RGB, LABELS, strict=True)
    return [example(png(x), y, f"n{i:02d}") for i, (x, y) in enumerate(pairs)]


def write_records(path, records, file_format):
    if file_format == "array_record":
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    else:
        writer = RecordWriter(str(path))
    for record in records:
        writer.write(record)
    writer.close()


def write_dataset(
    folder, shards, *, file_format="array_record", size=(8, 8), counts=None, name="tiny"
):
    """Writes the shards {split: [records of a file, ...]}; returns their folder.

    `size` is (None, None) where images differ in it; `counts` are the numbers of
    records that the files are said to have.
    """
    path = Path(folder) / name / "1.0.0"
    path.mkdir(parents=True)
    template = naming.ShardedFileTemplate(path, dataset_name=name)
    splits = []
    for split, files in shards.items():
        for number, records in enumerate(files):
            file = f"{name}-{split}.{file_format}-{number:05d}-of-{len(files):05d}"
            write_records(path / file, records, file_format)
        lengths = counts or [len(records) for records in files]
        splits.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=lengths,
                num_bytes=1,
                filename_template=template,
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=path,
        features={
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(*size, 3)),
            "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
        },
        split_infos=splits,
        supervised_keys=("image", "label"),
        check_data=False,
    )
    return path


def picture(number):
    """A smooth image of its own size and colours, uint8 [H, W, 3]."""
    height, width = 20 + 3 * number % 25, 40 - 2 * number % 23
    y, x = np.mgrid[:height, :width]
    planes = [(number * 37 + c * 50 + 3 * y + 5 * x) % 256 for c in range(3)]
    return cv2.GaussianBlur(np.stack(planes, -1).astype(np.uint8), (5, 5), 0)


PICTURES = [picture(number) for number in range(11)]


def write_pictures(folder, *, bad=(), file_format="array_record", labels=None):
    """A dataset of PICTURES in two files; those in `bad` are cut short."""
    labels = [i % 3 for i in range(len(PICTURES))] if labels is None else labels
    records = [
        example(png(p)[: 60 if i in bad else None], labels[i], f"n{i:02d}")
        for i, p in enumerate(PICTURES)
    ]
    shards = {"train": [records[:5], records[5:]], "test": [records[:7]]}
    return write_dataset(folder, shards, size=(None, None), file_format=file_format)
