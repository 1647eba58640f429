"""A folder of images as a dataset: sizes, modes, classes, errors."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from aaa_jax import data
from aaa_jax.data import examples
from aaa_jax.data.load import choose_side
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
        options |= {"quality": 100, "subsampling": 0}  # of colours
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
    """Two classes, the first with FILES."""
    small(folder, "train/bee 2/x.png", "validation/ant/y.png", "validation/bee 2/y.png")
    return {
        f"ant/{name}": save(folder / "train" / "ant" / name, mode)
        for name, (mode, _) in FILES.items()
    }


def test_images_of_all_modes_stream_as_they_are(tmp_path):
    expected = make(tmp_path / "My pictures")
    name = f"folder:{tmp_path}/My pictures"
    spec = data.describe(name, data_dir=tmp_path, image_size=40)
    assert (spec.num_classes, spec.test_split) == (2, "validation")
    stream = data.open_stream(name, "train", data_dir=tmp_path)
    assert list(tmp_path.glob("folder_my_pictures_*/1.0.0"))
    assert stream.class_names == ("ant", "bee 2")
    options = data.StreamOptions(image_size=40)
    with data.evaluation_batches(stream, options, batch_size=20, resize=40) as made:
        (batch,) = made
    assert batch.weights.sum() == stream.num_images == len(FILES) + 1
    names = [name_of(stream, int(k)) for k in stream.kept]
    assert set(names) == {*expected, "bee 2/x.png"}
    rows = zip(names, batch.images, batch.labels, strict=False)  # the batch is larger
    for name, image, label in rows:
        assert label == name.startswith("bee")
        if not label:
            apart = np.abs(image - expected[name][:, 5:45].astype(int)).max()
            assert apart <= FILES[name.removeprefix("ant/")][1], name


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
    stream = data.open_stream(name, "train", data_dir=tmp_path)
    assert stream.num_images == len(FILES) + 1
    assert written == [1]


def small(folder, *names):
    """Files of one small picture each; a name that ends in / is an empty folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            cv2.imwrite(str(path), PICTURE[:9, :8])


SOUND = "train/ant/1.png train/bee/1.png validation/ant/1.png validation/bee/1.png"


def refused(folder, message):
    """What is said of the folder `in` in this one, which is no dataset."""
    with pytest.raises(data.DatasetError, match=message) as raised:
        data.describe(f"folder:{folder}/in", data_dir=folder)
    return str(raised.value)


def names_of(folder, data_dir, split="train"):
    """The names of the images that are stored of a split, and what is left out."""
    stream = data.open_stream(f"folder:{folder}", split, data_dir=data_dir)
    return {name_of(stream, int(k)) for k in stream.kept}, stream.left_out


def name_of(stream, record):
    found = examples.parse_record("", stream.records.read(record), stream.keys)
    return found.place.split("'")[1]


def test_what_is_no_image_of_ones_own_is_left_out_at_every_depth_and_said(tmp_path):
    source = tmp_path / "in"
    small(source, "train/a/1.png", "train/a/2020/2.png", "train/b/3.png")
    small(source, "train/a/.ipynb_checkpoints/1-checkpoint.png", "train/b/._3.png")
    small(source, "train/a/2020/@eaDir/2.png/SYNOPHOTO_THUMB_M.png", "train/.trash/")
    small(source, "train/__MACOSX/a/1.png", "train/loose.png", "elsewhere/c/4.png")
    small(source, "train/.cache/c/4.png", "validation/a/1.png", "validation/b/.2.png")
    small(source, "validation/b/2.png")
    (source / "train/a/notes.txt").write_text("no image")
    os.mkfifo(source / "train/a/5.png")
    names, left_out = names_of(source, tmp_path)
    assert names == {"a/1.png", "a/2020/2.png", "b/3.png"}
    assert left_out == (
        ", 3 left out: hidden (train/.cache/c/4.png, "
        "train/a/.ipynb_checkpoints/1-checkpoint.png, train/b/._3.png)"
        ", 2 left out: of a system folder (train/__MACOSX/a/1.png, "
        "train/a/2020/@eaDir/2.png/SYNOPHOTO_THUMB_M.png)"
        ", 2 left out: not an image (train/a/5.png, train/a/notes.txt)"
        ", 1 left out: in no split (elsewhere/c/4.png)"
        ", 1 left out: in no class (train/loose.png)"
    )
    assert names_of(source, tmp_path, "validation") == (
        {"a/1.png", "b/2.png"},
        ", 1 left out: hidden (validation/b/.2.png)",
    )


def test_links_are_followed_unless_they_lead_back_or_nowhere(tmp_path):
    source = tmp_path / "in"
    small(source, "train/a/1.png", "train/b/2.png", "validation/a/1.png")
    small(source, "validation/b/2.png")
    small(tmp_path, "far/x/3.png", "far/4.png", "far/c/5.png", "far/c2/6.png")
    os.symlink(tmp_path / "far/x", source / "train/a/folder")
    os.symlink(tmp_path / "far/4.png", source / "train/a/file.png")
    os.symlink(tmp_path / "far/c", source / "train/c")  # a class
    os.symlink(tmp_path / "far/c2", source / "validation/c")
    os.symlink(tmp_path / "gone.png", source / "train/a/dangling.png")
    os.symlink(source / "train/b/self.png", source / "train/b/self.png")
    os.symlink(source / "train", source / "train/a/loop")
    os.symlink(tmp_path / "gone", source / "train/d")
    names, left_out = names_of(source, tmp_path)
    assert names == {"a/1.png", "a/folder/3.png", "a/file.png", "b/2.png", "c/5.png"}
    assert left_out == (
        ", 3 left out: broken link (train/a/dangling.png, train/b/self.png, train/d)"
        ", 1 left out: link to a folder round it (train/a/loop)"
    )


def test_a_file_that_comes_goes_or_changes_at_any_depth_is_noticed(tmp_path, caplog):
    source = tmp_path / "in"
    small(source, "train/cat/2020/1.png", "train/dog/2.png", "train/dog/3.png")
    small(source, "test/cat/1.png", "test/dog/2.png")

    def said():
        caplog.clear()
        data.describe(f"folder:{source}", data_dir=tmp_path)
        return caplog.text

    assert said() == ""
    small(source, "train/cat/2020/new.png")
    assert "has changed since it was prepared; delete" in (text := said())
    assert "prepare it again: 1 new (train/cat/2020/new.png)" in text
    (source / "train/cat/2020/new.png").rename(source / "train/cat/2020/.new.png")
    assert said() == ""
    (source / "test/cat/1.png").write_bytes(b"other bytes")
    (source / "train/dog/2.png").unlink()
    assert "1 gone (train/dog/2.png), 1 changed (test/cat/1.png)" in said()
    (note,) = tmp_path.glob("folder_in_*/1.0.0/source.json")
    note.write_text('{"source": "/in", "times": {}}')  # of an earlier version
    assert "was prepared by an earlier version, which noted no files" in said()


@pytest.mark.parametrize("name", ["a\nb", "dog ", " cat", "a\rb", "x\u2028y", "\t"])
def test_a_class_name_that_cannot_be_stored_is_refused_escaped(tmp_path, name):
    small(tmp_path, f"in/train/{name}/1.png", "in/train/c/2.png")
    small(tmp_path, f"in/test/{name}/1.png", "in/test/c/2.png")
    said = refused(tmp_path, "cannot be stored under their names")
    escaped = repr(name) if name.isascii() else f"{name!r} ({name!a})"
    assert f"names, {escaped}: rename" in said
    assert len(said.splitlines()) == 1


def test_names_that_are_not_utf8_are_refused_by_their_bytes(tmp_path):
    small(tmp_path, "in/train/a/1.png", "in/train/b/1.png")
    small(tmp_path, "in/test/a/1.png", "in/test/b/1.png")
    os.rename(tmp_path / "in/train/a/1.png", tmp_path / "in/train/a/caf\udce9.png")
    refused(tmp_path, r"not UTF-8: b'a/caf\\xe9.png'; rename")
    for split in ("train", "test"):
        os.rename(tmp_path / f"in/{split}/a", tmp_path / f"in/{split}/caf\udce9")
    refused(tmp_path, r"names, b'caf\\xe9': rename")
    os.rename(tmp_path / "in", tmp_path / "in\udce9")
    with pytest.raises(data.DatasetError, match=r"in\\xe9.*rename it"):
        data.describe(f"folder:{tmp_path}/in\udce9", data_dir=tmp_path)
    with pytest.raises(data.DatasetError, match=r"data folder .* not UTF-8"):
        data.describe("digits2", data_dir=f"{tmp_path}/d\udce9")


def test_names_that_look_the_same_are_told_apart(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    small(tmp_path, f"in/train/{composed}/1.png", f"in/test/{decomposed}/1.png")
    said = refused(tmp_path, r"\\xe9'\).*")
    assert r"('cafe\u0301')" in said or r"('caf\xe9')" in said
    small(tmp_path, f"in/train/{decomposed}/1.png")
    refused(tmp_path, "classes that look the same")


def test_classes_in_other_scripts_or_called_train_keep_their_names(tmp_path):
    for name in ("\u732b", "H\u00fcnd chen", "train"):
        small(tmp_path, f"in/{name}/1.png", f"in/{name}/2.png")
    stream = data.open_stream(f"folder:{tmp_path}/in", "train", data_dir=tmp_path)
    assert stream.class_names == ("H\u00fcnd chen", "train", "\u732b")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("", r"there is no folder .*/in"),
        ("training/a/1.png test/a/1.png", "must hold a folder train.* test, training"),
        ("train/a/1.png held/a/1.png", "a folder validation or test.* held, train"),
        (f"{SOUND} val/", "has both validation and val: keep one"),
        (f"{SOUND} train/cat/ validation/cat/1.png", "the class .*cat has no images"),
        (
            f"{SOUND} validation/cat/1.png",
            "train lacks the classes 'cat', which .*val",
        ),
        (f"{SOUND} train/dog/1.png", "validation lacks the classes 'dog', which .*tra"),
        ("in/ant/1.png in/bee/1.png", "in is the only class: .* are ant, bee the cla"),
        (f"{SOUND} test/1.png", "test holds no folders: one is needed for each class"),
    ],
)
def test_a_folder_that_is_not_of_the_form_is_refused(tmp_path, names, message):
    small(tmp_path / "in", *names.split())
    refused(tmp_path, message)
    assert not list(tmp_path.glob("folder_in_*/1.0.0"))


def test_files_that_are_no_images_are_named_all_at_once(tmp_path):
    small(tmp_path / "in", *SOUND.split())
    for name in ("one.jpg", "two.png"):
        (tmp_path / "in/train/ant" / name).write_bytes(b"this is not an image at all")
    refused(tmp_path, r"(?s)^2 images cannot .*(one.jpg.*two.png|two.png.*one.jpg)")
    assert not list(tmp_path.glob("folder_in_*/1.0.0"))


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory):
    """7 ants, 3 bees and 2 cats; returns the name and the folder of the datasets."""
    folder = tmp_path_factory.mktemp("unsplit")
    for name, count in (("ant", 7), ("bee", 3), ("cat", 2)):
        small(folder, *(f"in/{name}/{number}.png" for number in range(count)))
    small(folder, "in/ant/.0.png")
    return f"folder:{folder}/in", folder


def parts(unsplit, **options):
    """The train and the test stream, in the images' names."""
    name, folder = unsplit
    spec = data.describe(name, data_dir=folder, **options)
    opened = [
        data.open_stream(name, split, data_dir=folder)
        for split in (spec.train_split, spec.test_split)
    ]
    names = [[name_of(stream, int(k)) for k in stream.kept] for stream in opened]
    assert list(opened[1].held_out) == names[1]
    return opened, names


def test_without_splits_a_fifth_of_each_class_is_held_out(unsplit):
    (train, test), (trained, tested) = parts(unsplit)
    assert sorted(name.split("/")[0] for name in tested) == ["ant", "bee", "cat"]
    assert len({*trained, *tested}) == len(trained) + len(tested) == 12
    assert data.counted(train, "train") == (
        "9 images of 3 classes (train), 1 left out: hidden (ant/.0.png)"
        ", 3 left out: held out for testing"
    )
    assert data.counted(test, "held out") == "3 images of 3 classes (held out)"


def test_what_is_held_out_follows_from_fraction_and_seed(unsplit):
    half = parts(unsplit, validation_fraction=0.5, seed=3)[1]
    counts = [
        sum(name.startswith(c) for name in half[1]) for c in ("ant", "bee", "cat")
    ]
    assert counts == [round(3.5), round(1.5), 1]
    assert parts(unsplit, validation_fraction=0.5, seed=3)[1] == half
    others = [parts(unsplit, validation_fraction=0.5, seed=s)[1][1] for s in range(4)]
    assert len(set(map(tuple, others))) > 1
    most = parts(unsplit, validation_fraction=0.99)[1]
    assert len(most[0]) == 3  # one of each class is left to train on


def test_a_class_of_one_image_cannot_be_held_out(tmp_path):
    small(tmp_path, "in/a/1.png", "in/b/1.png", "in/b/2.png")
    name = f"folder:{tmp_path}/in"
    spec = data.describe(name, data_dir=tmp_path)
    with pytest.raises(data.DatasetError, match="the class 'a' has one image"):
        data.open_stream(name, spec.train_split, data_dir=tmp_path)


def test_a_fraction_of_a_dataset_with_a_test_split_is_held_out_of_train(digits_here):
    """Labels are read from the records where no folder has noted them."""
    spec = data.describe("digits", validation_fraction=0.1, seed=1)
    train, test = (data.load("digits", s) for s in (spec.train_split, spec.test_split))
    whole = data.load("digits", "train")
    assert len(train.labels) + len(test.labels) == len(whole.labels)
    np.testing.assert_array_equal(
        np.bincount(test.labels), np.rint(0.1 * np.bincount(whole.labels))
    )
    places = [int(name) for name in test.held_out]
    np.testing.assert_array_equal(whole.images[places], test.images)
    stream = data.open_stream("digits", spec.test_split)
    np.testing.assert_array_equal(stream.kept, places)
    few = data.open_stream("digits", spec.train_split, num_images=100)
    assert not {*few.kept.tolist()} & {*places}


@pytest.mark.parametrize(
    ("short_side", "num_images", "side"),
    [
        (20, 12, 64),  # never below
        (500, 12, 64),  # so few images teach no more
        (90, 1000, 64),
        (120, 1000, 96),
        (500, 9999, 128),
        (500, 20_000, 224),
        (200.5, 20_000, 192),
    ],
)
def test_the_automatic_side_follows_from_the_images(short_side, num_images, side):
    assert choose_side(short_side, num_images) == side


def test_images_of_a_folder_are_measured_for_their_side(unsplit, monkeypatch):
    name, folder = unsplit
    asked = []
    module = sys.modules["aaa_jax.data.load"]
    monkeypatch.setattr(module, "choose_side", lambda *a: asked.append(a) or 77)
    assert data.describe(name, data_dir=folder, image_size=-1).image_size == 77
    assert asked == [(8, 12)]  # all are 9 x 8
