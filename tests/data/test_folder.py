"""A folder of images as a dataset: sizes, modes, classes, errors."""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from aaa_jax import data
from aaa_jax.data.prepare import preparers, tfds_writer

SEEDS = np.random.default_rng(0).integers(40, 216, (4, 5, 3), np.uint8)
# A smooth picture, so that JPEG changes it little.
PICTURE = cv2.resize(SEEDS, (50, 40), interpolation=cv2.INTER_CUBIC)


def save(path, mode="RGB", **options):
    """PICTURE as Pillow writes it, in a mode; returns what must come back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(PICTURE)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(PICTURE[..., 1]))
    elif mode == "animated":
        other = Image.fromarray(255 - PICTURE).convert("P")
        image = image.convert("P")
        options |= {"save_all": True, "append_images": [other]}
    elif mode == "16 bit":
        cv2.imwrite(str(path), PICTURE[..., ::-1].astype(np.uint16) * 257)
        return PICTURE
    else:
        image = image.convert(mode)
    if path.suffix == ".webp":
        options["lossless"] = True
    elif path.suffix.lower() in (".jpg", ".jpeg"):
        options["quality"] = 100
        options["subsampling"] = 0  # of colours, in JPEG
    image.save(path, **options)
    if mode == "RGBA":
        return PICTURE
    return np.asarray(image.convert("RGB"))


FILES = {
    "a.jpg": ("RGB", 4),
    "grey.jpeg": ("L", 2),
    "cmyk.JPG": ("CMYK", 4),  # through Pillow's CMYK and JPEG
    "b.png": ("RGB", 0),
    "palette.png": ("P", 0),
    "alpha.png": ("RGBA", 0),
    "deep.png": ("16 bit", 0),
    "c.gif": ("P", 0),
    "moving.gif": ("animated", 0),
    "d.bmp": ("RGB", 0),
    "e.tiff": ("RGB", 0),
    "f.webp": ("RGB", 0),
    "below/g.png": ("RGB", 0),
}


def make(folder):
    """Two classes, the first with FILES, of another size each."""
    expected = {}
    for name, (mode, _) in FILES.items():
        expected[f"ant/{name}"] = save(folder / "train" / "ant" / name, mode)
    save(folder / "train" / "bee 2" / "x.png")
    for name in ("ant", "bee 2"):
        save(folder / "validation" / name / "y.png")
    (folder / "train" / "ant" / "notes.txt").write_text("no image")
    (folder / "train" / "ant" / ".hidden.jpg").write_bytes(b"")
    return expected


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("My pictures")
    return folder, make(folder)


@pytest.fixture(scope="module")
def stored(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    return folder, f"folder:{source[0]}"


def test_images_of_all_modes_come_back_as_they_are(source, stored):
    import tensorflow_datasets as tfds

    stream = data.open_stream(stored[1], "train", data_dir=stored[0])
    assert stream.class_names == ("ant", "bee 2")
    assert stream.num_images == len(FILES) + 1
    (path,) = stored[0].glob("folder_my_pictures*/1.0.0")
    read = tfds.builder_from_directory(path).as_data_source("train")
    images = {x["file_name"].decode(): (x["image"], x["label"]) for x in read}
    assert set(images) == {*source[1], "bee 2/x.png"}
    for name, expected in source[1].items():
        image, label = images[name]
        tolerance = FILES[name.removeprefix("ant/")][1]
        if image.shape[2] == 1:  # TFDS leaves grey images grey
            image = np.repeat(image, 3, 2)
        assert np.abs(image.astype(int) - expected).max() <= tolerance, name
        assert label == 0
    assert images["bee 2/x.png"][1] == 1


def test_every_image_streams(source, stored):
    spec = data.describe(stored[1], data_dir=stored[0], image_size=40)
    assert (spec.num_classes, spec.test_split) == (2, "validation")
    stream = data.open_stream(stored[1], "train", data_dir=stored[0])
    options = data.StreamOptions(image_size=40)
    with data.evaluation_batches(stream, options, batch_size=20, resize=40) as made:
        (batch,) = made
    assert batch.weights.sum() == len(FILES) + 1
    np.testing.assert_array_equal(np.sort(batch.labels)[-2:], [0, 1])
    for name, expected in source[1].items():
        middle = expected[:, 5:45].astype(int)
        apart = np.abs(batch.images[batch.weights > 0] - middle).max((1, 2, 3))
        assert apart.min() <= FILES[name.removeprefix("ant/")][1], name


def test_it_is_prepared_once_and_a_change_is_said(tmp_path, caplog):
    make(tmp_path / "in")
    name = f"folder:{tmp_path / 'in'}"
    assert preparers.main([name, f"--data-dir={tmp_path}"]) == 0
    (path,) = tmp_path.glob("folder_in_*/1.0.0")
    before = (path / "dataset_info.json").stat().st_mtime_ns
    data.open_stream(name, "train", data_dir=tmp_path)
    assert (path / "dataset_info.json").stat().st_mtime_ns == before
    assert "has changed" not in caplog.text
    save(tmp_path / "in" / "train" / "ant" / "new.png")
    os.utime(tmp_path / "in" / "train" / "ant")
    data.open_stream(name, "train", data_dir=tmp_path)
    assert "has changed since it was prepared; delete" in caplog.text


def test_two_at_once_write_it_once(tmp_path, monkeypatch):
    """Locks are of open files: threads wait for each other as processes do."""
    make(tmp_path / "in")
    written, write_metadata = [], tfds_writer._write_metadata
    monkeypatch.setattr(
        tfds_writer,
        "_write_metadata",
        lambda *a: (written.append(1), write_metadata(*a)),
    )
    name = f"folder:{tmp_path / 'in'}"
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(preparers.prepare_dataset, name, data_dir=tmp_path)
            for _ in range(2)
        ]
        paths = {future.result() for future in both}
    assert paths == set(tmp_path.glob("folder_in_*/1.0.0"))
    assert written == [1]
    stream = data.open_stream(name, "train", data_dir=tmp_path)
    assert stream.num_images == len(FILES) + 1


def no_train(folder):
    (folder / "train").rename(folder / "training")


def only_train(folder):
    (folder / "validation").rename(folder / "held_out")


def both_names(folder):
    (folder / "val").mkdir()


def empty_class(folder):
    (folder / "train" / "cat").mkdir()
    (folder / "train" / "cat" / "readme.md").write_text("none yet")
    save(folder / "validation" / "cat" / "z.png")


def another_class(folder):
    save(folder / "validation" / "cat" / "z.png")


def missing_class(folder):
    save(folder / "train" / "dog" / "z.png")


def no_classes(folder):
    (folder / "test").mkdir()
    save(folder / "test" / "z.png")


def unreadable(folder):
    for name in ("one.jpg", "two.png"):
        (folder / "train" / "ant" / name).write_bytes(b"this is not an image at all")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_train, "must hold a folder train.* training, validation"),
        (only_train, "a folder validation or test.* held_out, train"),
        (both_names, "has both validation and val: keep one"),
        (empty_class, "the class .*cat has no images"),
        (another_class, "train lacks the classes 'cat', which .*validation has"),
        (missing_class, "validation lacks the classes 'dog', which .*train has"),
        (no_classes, "test holds no folders: one is needed for each class"),
        (unreadable, r"(?s)^2 images cannot .*(one.jpg.*two.png|two.png.*one.jpg)"),
    ],
)
def test_a_folder_that_is_not_of_the_form_is_refused(tmp_path, damage, message):
    make(tmp_path / "in")
    damage(tmp_path / "in")
    with pytest.raises(data.DatasetError, match=message):
        data.open_stream(f"folder:{tmp_path / 'in'}", "train", data_dir=tmp_path)
    assert not list(tmp_path.glob("folder_in_*/1.0.0"))


def test_a_folder_that_is_not_there_is_said(tmp_path, capsys):
    assert preparers.main([f"folder:{tmp_path}/none", f"--data-dir={tmp_path}"]) == 2
    assert f"there is no folder {tmp_path}/none" in capsys.readouterr().err
