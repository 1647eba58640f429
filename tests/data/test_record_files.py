"""Reading prepared folders, whole and damaged."""

import json
import struct

import numpy as np
import pytest
from tensorflow_datasets.proto import tf_example_pb2

from aaa_jax import data
from aaa_jax.data.record_files import Records, masked_crc32c, open_tfrecord
from tests.support.tfds_folders import (
    FORMATS,
    LABELS,
    RGB,
    example,
    examples,
    jpeg,
    png,
    write_dataset,
    write_records,
)


@pytest.mark.parametrize("file_format", FORMATS)
def test_both_formats_are_read_in_order_over_several_files(tmp_path, file_format):
    records = examples()
    shards = {"train": [records[:5], records[5:11]], "test": [records[11:]]}
    write_dataset(tmp_path, shards, file_format=file_format)
    train = data.load("tiny", "train", data_dir=tmp_path)
    np.testing.assert_array_equal(train.images, RGB[:11])
    np.testing.assert_array_equal(train.labels, LABELS[:11])
    assert train.class_names == ("ant", "bee", "cat")
    slice_ = data.load("tiny", "train[3:7]", data_dir=tmp_path)
    np.testing.assert_array_equal(slice_.images, RGB[3:7])
    np.testing.assert_array_equal(
        data.load("tiny", "test", data_dir=tmp_path).images, RGB[11:]
    )


def test_the_newest_version_is_read_and_an_older_one_by_name(tmp_path):
    write_dataset(tmp_path, {"train": [examples()]}).rename(tmp_path / "tiny/9.0.0")
    new = tmp_path / "tiny" / "10.0.0"
    write_dataset(tmp_path / "x", {"train": [examples()[:4]]}).rename(new)
    (tmp_path / "tiny" / "11.0.0").mkdir()  # without its two files: not prepared
    assert len(data.load("tiny", "train", data_dir=tmp_path).labels) == 4
    assert len(data.load("tiny:9.0.0", "train", data_dir=tmp_path).labels) == 12


def test_a_dataset_outside_the_table_is_described_from_its_train_split(tmp_path):
    write_dataset(tmp_path, {"train": [examples()], "validation": [examples()]})
    spec = data.describe("tiny", data_dir=tmp_path)
    pixels = RGB.reshape(-1, 3) / 255
    np.testing.assert_allclose(spec.mean, pixels.mean(0))
    np.testing.assert_allclose(spec.std, pixels.std(0))
    np.testing.assert_array_equal(spec.fill, np.round(255 * pixels.mean(0)))
    assert spec[:3] == ("tiny", 3, 8)
    assert (spec.flip, spec.test_split) == (True, "validation")


def test_a_dataset_of_one_colour_is_refused(tmp_path):
    record = example(png(np.full((8, 8, 3), (7, 0, 9), np.uint8)), 0, "n00")
    write_dataset(tmp_path, {"train": [[record] * 3], "test": [[record]]})
    with pytest.raises(data.DatasetError, match=r"have one colour, RGB \(7, 0, 9\)"):
        data.describe("tiny", data_dir=tmp_path)


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def n07(encoded, label=0):
    return example(encoded, label, "n07")


SOUND = RGB[7]
BAD_RECORDS = {
    "no bytes": (n07(b""), "it has no bytes"),
    "not an image": (n07(b"GIF, they say"), "not an image"),
    "PNG without its last byte": (n07(png(SOUND)[:-1]), "stop early"),
    "PNG with a flipped bit": (n07(flipped(png(SOUND), 60)), "wrong checksum"),
    "JPEG cut in its header": (n07(jpeg(SOUND)[:30]), "stop early"),
    "another size": (n07(png(SOUND[:5])), "image of 5x8, others are 8x8: .* one size"),
    "label -1": (n07(png(SOUND), -1), "label -1: .* 0 to 2"),
    "label 3": (n07(png(SOUND), 3), "label 3: .* 0 to 2"),
    "label 2**40": (n07(png(SOUND), 2**40), f"label {2**40}: .* 0 to 2"),
    "nothing": (tf_example_pb2.Example().SerializeToString(), "0 values of 'image'"),
    "no example": (b"\xff\xff\xff", "not a tf.train.Example"),
}


@pytest.mark.parametrize("size", [(8, 8), (None, None)])
@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_a_bad_record_is_named(tmp_path, kind, size):
    record, reason = BAD_RECORDS[kind]
    records = examples()
    records[7] = record
    path = write_dataset(tmp_path, {"train": [records[:5], records[5:]]}, size=size)
    with pytest.raises(data.BadRecord, match=reason) as raised:
        data.load("tiny", "train", data_dir=tmp_path)
    file = path / "tiny-train.array_record-00001-of-00002"
    name = " (id 'n07')" if b"n07" in record else ""
    assert str(raised.value).startswith(f"record 2 of {file}{name}")


def test_a_split_that_is_empty_or_unknown_is_refused(tmp_path):
    write_dataset(tmp_path, {"train": [[]], "test": [examples()]})
    empty = dict.fromkeys(["train", "test[:0]"], "is empty")
    unknown = ["validation", "train[:10x]", ""]
    messages = empty | dict.fromkeys(unknown, "its splits are train, test")
    for split, message in messages.items():
        with pytest.raises(data.DatasetError, match=message):
            data.load("tiny", split, data_dir=tmp_path)


def test_a_dataset_without_images_is_refused(tmp_path):
    path = write_dataset(tmp_path, {"train": [examples()]})
    features = json.loads((path / "features.json").read_text())
    del features["featuresDict"]["features"]["image"]
    (path / "features.json").write_text(json.dumps(features))
    with pytest.raises(data.DatasetError, match="not an image classification dataset"):
        data.load("tiny", "train", data_dir=tmp_path)


def test_another_dataset_under_a_listed_name_is_refused(tmp_path):
    write_dataset(tmp_path, {"train": [examples()]}, name="cifar10")
    with pytest.raises(
        data.DatasetError, match=r"3 classes .* 8x8, but cifar10 has 10"
    ):
        data.load("cifar10", "train", data_dir=tmp_path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_damaged_file_is_named(tmp_path, file_format):
    path = write_dataset(tmp_path, {"train": [examples()]}, file_format=file_format)
    file = path / f"tiny-train.{file_format}-00000-of-00001"
    whole = file.read_bytes()
    half = len(whole) // 2
    for spoilt in (whole[:half], whole[:-3], flipped(whole, half), b""):
        file.write_bytes(spoilt)
        with pytest.raises(data.BadRecord, match=str(file)):
            data.load("tiny", "train", data_dir=tmp_path)
    file.unlink()
    with pytest.raises(data.DatasetError, match=f"{file} is missing"):
        data.load("tiny", "train", data_dir=tmp_path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_with_fewer_records_than_stated_is_named(tmp_path, file_format):
    shards = {"train": [examples()]}
    write_dataset(tmp_path, shards, file_format=file_format, counts=[13])
    with pytest.raises(data.BadRecord, match=r"has 12 records, .* at least 13"):
        data.load("tiny", "train", data_dir=tmp_path)


def test_an_unread_format_is_refused_with_those_that_are_read(tmp_path):
    path = write_dataset(tmp_path, {"train": [examples()]})
    info = (path / "dataset_info.json").read_text()
    (path / "dataset_info.json").write_text(info.replace("array_record", "riegeli"))
    file = path / "tiny-train.array_record-00000-of-00001"
    file.rename(path / "tiny-train.riegeli-00000-of-00001")
    with pytest.raises(data.DatasetError, match="riegeli; array_record and tfrecord"):
        data.load("tiny", "train", data_dir=tmp_path)


def read_tfrecords(path):
    file = open_tfrecord(path)
    where = np.array([(0, place) for place in range(file.num_records)])
    return Records((path,), (file,), where).read_all()


def test_records_of_any_length_come_back(tmp_path):
    records = [b"", b"a", bytes(1000), b"tail"]
    write_records(tmp_path / "x", records, "tfrecord")  # TensorBoardX's writer
    assert read_tfrecords(tmp_path / "x") == records


def test_a_flip_of_any_byte_of_a_tfrecord_file_is_found(tmp_path):
    write_records(tmp_path / "x", [b"ab", b"cdef"], "tfrecord")
    whole = (tmp_path / "x").read_bytes()
    for at in range(len(whole)):
        (tmp_path / "x").write_bytes(flipped(whole, at))
        with pytest.raises(data.BadRecord, match=r"record [01] of .* checksum"):
            read_tfrecords(tmp_path / "x")


def test_a_length_beyond_the_file_does_not_ask_for_memory(tmp_path):
    length = struct.pack("<Q", 2**60)
    header = length + struct.pack("<I", masked_crc32c(length))
    (tmp_path / "x").write_bytes(header + b"abc")
    with pytest.raises(data.BadRecord, match=r"record 0 .* claims"):
        read_tfrecords(tmp_path / "x")
