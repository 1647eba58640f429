"""Sets of corrupted images: made, always the same, or read from published files."""

import itertools

import numpy as np
import pytest
from PIL import Image

from aaa_jax import data
from aaa_jax.trained import corrupted_images
from aaa_jax.trained.corruption_functions import CORRUPTIONS, NAMES, SEVERITIES
from tests.oracles.by_hand import PUBLISHED_LABELS, make_split

IMAGES = make_split().images


@pytest.fixture(scope="session")
def frost(tmp_path_factory):
    """A folder of five photographs, as --frost takes."""
    folder = tmp_path_factory.mktemp("frost")
    random = np.random.RandomState(0)
    for name in corrupted_images.FROST:
        pixels = random.randint(0, 256, (230, 240, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def task(name, severity=1, first=0, images=IMAGES, frost=()):
    return corrupted_images.Task(name, severity, first, images, frost)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_corrupted_alike_in_any_company(name, frost):
    paths = [str(frost / picture) for picture in corrupted_images.FROST]
    alone = corrupted_images.corrupt(task(name, 3, 4, IMAGES[4:5], paths))
    before = np.random.get_state()[1].copy()
    together = corrupted_images.corrupt(task(name, 3, 3, IMAGES[3:6], paths))
    np.testing.assert_array_equal(alone[0], together[1])
    assert together.dtype == np.uint8
    assert together.shape == (3, 32, 32, 3)
    assert np.any(together != IMAGES[3:6])
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    if "noise" in name:
        elsewhere = corrupted_images.corrupt(task(name, 3, 5, IMAGES[4:5]))
        assert np.any(elsewhere != alone)


@pytest.mark.parametrize("side", [16, 28, 32, 56, 224])
def test_enlarging_and_reducing_alone_change_nothing(side, monkeypatch):
    sizes = []
    monkeypatch.setitem(
        CORRUPTIONS, "fog", lambda image, *_: sizes.append(image.shape) or image
    )
    images = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), np.uint8)
    np.testing.assert_array_equal(
        corrupted_images.corrupt(task("fog", images=images)), images
    )
    assert sizes == [(224, 224, 3)] * 2


def test_larger_images_are_corrupted_at_their_own_size():
    image = np.zeros((1, 226, 230, 3), np.uint8)
    found = corrupted_images.corrupt(task("snow", 2, 5, image))
    expected = CORRUPTIONS["snow"](image[0], 2, (NAMES.index("snow"), 2, 5))
    np.testing.assert_array_equal(found[0], expected)
    split = make_split()._replace(images=image)
    sides = corrupted_images.make_sets(split, None, 1).sides
    assert set(sides.values()) == {230}


def test_fourteen_are_made_everywhere_and_frost_where_its_pictures_are(frost):
    without = corrupted_images.make_sets(make_split(), None, 1)
    assert set(NAMES) - without.sides.keys() == without.left_out.keys() == {"frost"}
    assert "--frost=FOLDER" in without.left_out["frost"]
    whole = corrupted_images.make_sets(make_split(), str(frost), 1)
    assert tuple(whole.sides) == NAMES
    assert not whole.left_out
    at_224 = {name for name, side in whole.sides.items() if side == 224}
    assert at_224 == set(corrupted_images.AT_224)
    *_, (name, images) = whole.images(["frost"])
    paths = [str(frost / picture) for picture in corrupted_images.FROST]
    photographs = corrupted_images.read_frost(paths, 224)
    for path, photograph in zip(paths[:3], photographs, strict=False):
        np.testing.assert_array_equal(photograph, np.asarray(Image.open(path)))
    expected = corrupted_images.corrupt(task("frost", 5, frost=paths))
    assert name == "frost"
    np.testing.assert_array_equal(images, expected)


def test_pictures_that_frost_cannot_use_are_named(tmp_path):
    def refusal():
        with pytest.raises(corrupted_images.CorruptionError) as refused:
            corrupted_images.make_sets(make_split(), str(tmp_path), 1)
        return str(refused.value)

    assert f"{tmp_path}/frost1.png is not there: --frost needs" in refusal()
    Image.fromarray(IMAGES[0]).save(tmp_path / "frost1.png")
    assert "frost1.png is too small" in refusal()


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_chunks_are_put_together_in_order(processes, monkeypatch):
    monkeypatch.setattr(corrupted_images, "CHUNK", 10)
    sets = corrupted_images.make_sets(make_split(), None, processes)
    found = iter(sets.images(("contrast", "pixelate")))
    for name, severity in itertools.product(("contrast", "pixelate"), SEVERITIES):
        expected = corrupted_images.corrupt(task(name, severity))
        of_name, images = next(found)
        assert of_name == name
        np.testing.assert_array_equal(images, expected)
    assert not list(found)


def test_published_sets_are_read_in_blocks_of_a_severity(published):
    sets = corrupted_images.read_sets(make_split(), str(published), None)
    assert (tuple(sets.sides), set(sets.sides.values())) == (NAMES, {32})
    assert (sets.published, sets.left_out) == ("TINY-C", {})
    rows = data.stratified_subset(PUBLISHED_LABELS, 10, seed=0)
    part = corrupted_images.read_sets(make_split(), str(published), 10)
    for some, chosen in ((sets, slice(None)), (part, rows)):
        np.testing.assert_array_equal(some.labels, PUBLISHED_LABELS[chosen])
        found = list(some.images(("fog", "snow")))
        assert [name for name, _ in found] == ["fog"] * 5 + ["snow"] * 5
        for place, (name, images) in enumerate(found):
            whole = np.load(published / f"{name}.npy")
            blocks = whole.reshape(5, -1, *IMAGES.shape[1:])
            np.testing.assert_array_equal(images, blocks[place % 5][chosen])


def zeros(dtype, *shape):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("snow", None, "TINY-C has no snow.npy: --corrupted needs"),
        ("labels", None, "TINY-C has no labels.npy"),
        ("fog", b"no array", "fog.npy is no array of NumPy"),
        ("fog", zeros(np.uint8, 75, 28, 28, 3), r"fog.npy has shape \(75, 28, 28, 3\)"),
        ("fog", zeros(np.uint8, 15, 32, 32, 3), r"\(75, 32, 32, 3\) and uint8 are n"),
        ("fog", zeros(np.float32, 75, 32, 32, 3), "and dtype float32"),
        ("labels", zeros(np.float32, 75), r"npy has shape \(75,\) and dtype flo"),
        (
            "labels",
            np.repeat(PUBLISHED_LABELS, 5),
            "that label n images are needed, 5 times over",
        ),
        ("labels", zeros(np.int64), r"labels.npy has shape \(\)"),
        ("labels", zeros(np.int64, 75), "labels 0 to 0: each of the network's 5 class"),
        (
            "labels",
            np.tile(PUBLISHED_LABELS + 1, 5),
            "labels 1 to 5: each of",
        ),
    ],
)
def test_published_files_that_do_not_fit_are_named(name, content, message, published):
    path = published / f"{name}.npy"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(corrupted_images.CorruptionError, match=message) as refused:
        corrupted_images.read_sets(make_split(), str(published), None)
    assert "\n" not in str(refused.value)
