"""ImageNet's preparer, on tiny tar files of the same form."""

import io

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.utils import shard_utils

from aaa_jax import data
from aaa_jax.data.prepare import imagenet, preparers
from tests.support.tfds_folders import RGB, jpeg, packed, png

CLASSES = ["n01", "n02", "n03"]
LABELS = ["n03", "n01", "n02", "n03", "n01"]  # of the validation images, by name
RELEASE = imagenet.Release(CLASSES, LABELS, num_train=12)
# Not grey: JPEG of a quality that shows which bytes went where.
PLAIN = [jpeg(image) for image in RGB]


def cmyk(rgb):
    stream = io.BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(stream, "JPEG", quality=95)
    return stream.getvalue()


SMOOTH = cv2.resize(RGB[3], (32, 24), interpolation=cv2.INTER_CUBIC)
# Image 5 is CMYK, image 7 a PNG named JPEG.
TRAIN = {
    f"{CLASSES[i % 3]}_{i}.JPEG": {5: cmyk(SMOOTH), 7: png(SMOOTH)}.get(i, PLAIN[i])
    for i in range(12)
}
VALIDATION = {f"ILSVRC2012_val_{i:08d}.JPEG": PLAIN[i] for i in (4, 2, 0, 1, 3)}


@pytest.fixture
def archive(tmp_path):
    """The two tar files, in the form of the originals."""
    folder = tmp_path / "archive"
    folder.mkdir()
    inner = {}
    for name in CLASSES:
        images = {key: x for key, x in TRAIN.items() if key.startswith(name)}
        inner[f"{name}.tar"] = packed(images)
    (folder / imagenet.TRAIN).write_bytes(packed(inner))
    (folder / imagenet.VALIDATION).write_bytes(packed(VALIDATION))
    return folder


def prepared(folder, split):
    """file_name -> (encoded, label) in stored order, read by TFDS itself."""
    builder = tfds.builder_from_directory(folder / "imagenet2012" / "5.1.0")
    source = builder.as_data_source(
        split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    assert builder.info.features["label"].names == CLASSES
    return {
        example["file_name"].decode(): (example["image"], int(example["label"]))
        for example in source
    }


def test_the_archives_become_the_dataset_that_tfds_reads(archive, tmp_path):
    imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    train = prepared(tmp_path, "train")
    assert {name: CLASSES[label] for name, (_, label) in train.items()} == {
        name: name.partition("_")[0] for name in TRAIN
    }
    for name, (encoded, _) in train.items():
        if name not in ("n03_5.JPEG", "n02_7.JPEG"):
            assert encoded == TRAIN[name]
            continue
        image = Image.open(io.BytesIO(encoded))
        assert (image.format, image.mode) == ("JPEG", "RGB")
        # Pillow's own CMYK is no profile's: the way there and back is exact to a few.
        assert np.abs(np.asarray(image).astype(int) - SMOOTH).mean() < 4
    validation = prepared(tmp_path, "validation")
    assert {name: CLASSES[label] for name, (_, label) in validation.items()} == dict(
        zip(sorted(VALIDATION), LABELS, strict=True)
    )
    assert all(encoded == VALIDATION[n] for n, (encoded, _) in validation.items())


class Stock(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The same records, written by TFDS's own writer."""

    name = "stock"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=CLASSES),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for name, encoded in TRAIN.items():
            label = name.partition("_")[0]
            yield name, {"file_name": name, "image": encoded, "label": label}


def test_the_order_of_the_records_is_tfds_own(archive, tmp_path):
    imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    stock = Stock(data_dir=tmp_path, file_format="array_record")
    stock.download_and_prepare()
    source = stock.as_data_source(
        "train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    order = [example["file_name"].decode() for example in source]
    assert list(prepared(tmp_path, "train")) == order


def test_a_killed_preparation_goes_on_with_the_shards_that_are_done(
    archive, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        shard_utils.ShardConfig, "get_number_shards", lambda self, size, count: 3
    )
    whole = tmp_path / "whole"
    imagenet.prepare_imagenet(whole, archive, RELEASE)
    seen = []

    def killed(encoded):
        seen.append(encoded)
        if len(seen) == 10:  # in the third shard of four images
            raise KeyboardInterrupt
        return mend(encoded)

    mend = imagenet.mend
    monkeypatch.setattr(imagenet, "mend", killed)
    with pytest.raises(KeyboardInterrupt):
        imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    assert not (tmp_path / "imagenet2012" / "5.1.0").exists()
    seen[:] = range(100)  # no more interrupts
    imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    assert len(seen) - 100 == 4 + len(VALIDATION)
    for file in sorted((whole / "imagenet2012" / "5.1.0").iterdir()):
        again = tmp_path / "imagenet2012" / "5.1.0" / file.name
        assert again.read_bytes() == file.read_bytes()


def test_parts_of_other_archives_are_not_gone_on_with(
    archive, tmp_path, monkeypatch, capsys
):
    def stop(encoded):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(imagenet, "mend", stop)
        with pytest.raises(KeyboardInterrupt):
            imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    other = {**VALIDATION, "ILSVRC2012_val_00000000.JPEG": PLAIN[9] + b"\0"}
    (archive / imagenet.VALIDATION).write_bytes(packed(other))
    imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    assert "begun anew" in capsys.readouterr().err
    stored = prepared(tmp_path, "validation")["ILSVRC2012_val_00000000.JPEG"][0]
    assert stored == PLAIN[9] + b"\0"


def test_what_is_missing_is_said_with_the_command(archive, tmp_path, capsys):
    (archive / imagenet.VALIDATION).unlink()
    status = preparers.main(
        ["imagenet2012", f"--data-dir={tmp_path}", f"--archive={archive}"]
    )
    error = capsys.readouterr().err
    assert status == 2
    assert "there is no ILSVRC2012_img_val.tar" in error
    assert "python -m aaa_jax prepare imagenet2012" in error
    with pytest.raises(data.DatasetNotPrepared, match="downloads/manual"):
        data.open_stream("imagenet2012", "train", data_dir=tmp_path / "empty")


PAGE = b"<html>please log in</html>" * 100


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (imagenet.TRAIN, None, r"train.tar .*(cut short|plain tar)"),
        (imagenet.TRAIN, PAGE, "is not a plain tar file"),
        (imagenet.TRAIN, packed({"n99.tar": b""}), "there is no class 'n99'"),
        (imagenet.VALIDATION, None, r"val.tar .*cut short"),
    ],
)
def test_damaged_archives_are_refused(archive, tmp_path, name, content, message):
    """None: the first half of the sound one."""
    whole = (archive / name).read_bytes()
    (archive / name).write_bytes(content or whole[: len(whole) // 2])
    with pytest.raises(data.DatasetError, match=message):
        imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    assert not list(tmp_path.glob("imagenet2012/5.1.0"))


def test_damaged_images_are_named_all_at_once(archive, tmp_path):
    names = list(VALIDATION)[:2]
    files = VALIDATION | dict.fromkeys(names, b"GIF89a" + bytes(50))
    (archive / imagenet.VALIDATION).write_bytes(packed(files))
    with pytest.raises(data.DatasetError, match=r"^2 images cannot be") as caught:
        imagenet.prepare_imagenet(tmp_path, archive, RELEASE)
    assert all(name in str(caught.value) for name in names)


def test_the_release_of_2012_is_that_of_tfds():
    release = imagenet.ilsvrc2012()
    assert len(release.class_names) == 1000 == len(set(release.class_names))
    assert release.class_names[0] == "n01440764"  # the tench
    assert release.num_train == 1281167
    counts = np.unique(release.validation_labels, return_counts=True)[1]
    np.testing.assert_array_equal(counts, [50] * 1000)  # fifty of each class
