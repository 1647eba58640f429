"""TFDS folders written by hand, as TFDS writes them, of small images."""

import json
from pathlib import Path

import cv2
import numpy as np
from array_record.python import array_record_module
from tensorboardX.record_writer import RecordWriter
from tensorflow_datasets.proto import tf_example_pb2

FORMATS = ["array_record", "tfrecord"]
RGB = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


def png(rgb):
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def jpeg(rgb):
    return cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()


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


def feature_json(kind, **content):
    return {"pythonClassName": f"tensorflow_datasets.core.features.{kind}", **content}


def write_dataset(
    folder, shards, *, file_format="array_record", size=(8, 8), counts=None, name="tiny"
):
    """Writes the shards {split: [records of a file, ...]}; returns their folder."""
    path = Path(folder) / name / "1.0.0"
    path.mkdir(parents=True)
    splits = []
    for split, files in shards.items():
        for number, records in enumerate(files):
            file = f"{name}-{split}.{file_format}-{number:05d}-of-{len(files):05d}"
            write_records(path / file, records, file_format)
        splits.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
                "shardLengths": [str(n) for n in counts or map(len, files)],
            }
        )
    keys = [{"featureKey": "image"}, {"featureKey": "label"}]
    info = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": file_format,
        "splits": splits,
        "supervisedKeys": {"tuple": {"items": keys}},
    }
    shape = {"dimensions": [*map(str, size), "3"]}
    features = {
        "id": feature_json("text_feature.Text", text={}),
        "image": feature_json(
            "image_feature.Image", image={"dtype": "uint8", "shape": shape}
        ),
        "label": feature_json(
            "class_label_feature.ClassLabel", classLabel={"numClasses": "3"}
        ),
    }
    both = feature_json(
        "features_dict.FeaturesDict", featuresDict={"features": features}
    )
    (path / "dataset_info.json").write_text(json.dumps(info))
    (path / "features.json").write_text(json.dumps(both))
    (path / "label.labels.txt").write_text("ant\nbee\ncat\n")
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
    return write_dataset(folder, shards, size=(-1, -1), file_format=file_format)
