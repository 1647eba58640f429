"""The streaming loader: order, crops, flips, hosts, threads, bad images, evaluation."""

import math
import os
import resource
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.data import crops
from aaa_jax.data.stream import epoch_order
from tests.support.tfds_folders import (
    FORMATS,
    PICTURES,
    example,
    png,
    write_dataset,
    write_pictures,
)

M, N, SIDE = 2, 4, 16
LAYOUT = batch_layout.group_layout(N, M, 2)
IMAGE_OF_ROW = batch_layout.image_of_row(LAYOUT)
OPTIONS = data.StreamOptions(image_size=SIDE, num_threads=2)


def stream_of(folder, split="train", **how):
    write_pictures(folder, **how)
    return data.open_stream("tiny", split, data_dir=folder)


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return stream_of(tmp_path_factory.mktemp("stream"))


def opened(stream, options=OPTIONS, **changes):
    """The batches of an epoch, as a context."""
    given = {"image_of_row": IMAGE_OF_ROW, "rows": range(M * N), "batch_size": N}
    return data.train_batches(stream, options, **{**given, "epoch": 0, **changes})


def batches(stream, options=OPTIONS, **changes):
    with opened(stream, options, **changes) as found:
        return list(found)


def numbers_of(options, epoch, step, row):
    """By NumPy's own generator of the documented key."""
    bits = np.random.Philox(np.random.SeedSequence([options.seed, 1, epoch, step]))
    numbers = np.random.Generator(bits).random((M * N, crops.NUMBERS_PER_ROW))
    return numbers[row]


def box_of(numbers, height, width):
    """torchvision's RandomResizedCrop, written out."""
    for k in range(10):
        area = height * width * (0.08 + 0.92 * numbers[2 * k])
        low, high = math.log(3 / 4), math.log(4 / 3)
        aspect = math.exp(low + (high - low) * numbers[2 * k + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            top = math.floor(numbers[20] * (height - h + 1))
            return top, math.floor(numbers[21] * (width - w + 1)), h, w
    raise AssertionError("these pictures are not so long")


def shares(old, new):
    """How much of each old pixel is in each new one along an axis, [new, old]."""
    if new < old:  # the average over the new pixel's area
        edges = np.arange(new + 1)[:, None] * old / new
        covered = np.clip(edges - np.arange(old), 0, 1)  # up to each edge
        return np.diff(covered, axis=0) * new / old
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    columns = [np.interp(centres, np.arange(old), pixel) for pixel in np.eye(old)]
    return np.stack(columns, axis=1)


def resized(pixels, height, width):
    """Area along axes that shrink, linear along those that grow, in float."""
    rows, columns = shares(pixels.shape[0], height), shares(pixels.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True)


# OpenCV rounds after each of two passes where one axis shrinks and the other grows, and
# interpolates with weights of 11 bits.
ROUNDING = 1.6


def expected_row(options, epoch, step, row, number=None):
    """The pixels and the label of a row; of another image than its own if told."""
    if number is None:
        order = epoch_order(options.seed, epoch, len(PICTURES))
        number = order[step * N + IMAGE_OF_ROW[row]]
    pixels = PICTURES[number]
    numbers = numbers_of(options, epoch, step, row)
    top, left, height, width = box_of(numbers, *pixels.shape[:2])
    rows = resized(pixels[top : top + height, left : left + width], SIDE, SIDE)
    mirrored = options.flip and numbers[22] < 0.5
    return rows[:, ::-1] if mirrored else rows, number % 3


def test_rows_are_the_crops_that_their_draws_say(stream):
    flips = 0
    for epoch in (0, 3):
        for step, batch in enumerate(batches(stream, epoch=epoch)):
            for row in range(M * N):
                image, label = expected_row(OPTIONS, epoch, step, row)
                assert np.abs(batch.images[row] - image).max() <= ROUNDING
                assert batch.labels[row] == label
                flips += numbers_of(OPTIONS, epoch, step, row)[22] < 0.5
    assert 0 < flips < 2 * 2 * M * N


def test_an_order_is_a_permutation_of_its_epoch_and_seed():
    orders = [epoch_order(*key, 1000) for key in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    # Two independent permutations agree in one place on average.
    assert (orders[0] == orders[1]).sum() < 10
    assert (orders[0] == orders[2]).sum() < 10
    np.testing.assert_array_equal(orders[0], epoch_order(0, 0, 1000))


def test_the_same_rows_on_any_threads_hosts_and_from_any_step(stream):
    whole = batches(stream)
    assert len(whole) == len(PICTURES) // N
    for options in (
        OPTIONS._replace(num_threads=1, prefetch=1),
        OPTIONS._replace(num_threads=7, prefetch=5),
    ):
        for one, other in zip(whole, batches(stream, options), strict=True):
            np.testing.assert_array_equal(one.images, other.images)
            np.testing.assert_array_equal(one.labels, other.labels)
    rows = np.array([6, 1, 2])  # a host's, in an order of its own
    for one, other in zip(whole, batches(stream, rows=rows), strict=True):
        np.testing.assert_array_equal(one.images[rows], other.images)
        np.testing.assert_array_equal(one.labels[rows], other.labels)
    (late,) = batches(stream, first_step=1)
    np.testing.assert_array_equal(late.images, whole[1].images)
    (early,) = batches(stream, last_step=1)
    np.testing.assert_array_equal(early.images, whole[0].images)


def test_an_image_is_decoded_once_for_all_its_rows(stream, monkeypatch):
    from aaa_jax.data import stream as streaming

    decoded = []

    def counting(record):
        decoded.append(record.place)
        return decode_record(record)

    decode_record = streaming.decode_record
    monkeypatch.setattr(streaming, "decode_record", counting)
    batches(stream)
    assert len(decoded) == len(set(decoded)) == 2 * N


def test_shared_crops_give_the_rows_of_an_image_one_crop(stream):
    for batch in batches(stream, OPTIONS._replace(shared_crops=True)):
        for image in range(N):
            first, second = batch.images[image == IMAGE_OF_ROW]
            np.testing.assert_array_equal(first, second)
    free = batches(stream)[0].images
    assert any(
        (free[image == IMAGE_OF_ROW][0] != free[image == IMAGE_OF_ROW][1]).any()
        for image in range(N)
    )


@pytest.mark.parametrize(
    ("size", "box"),
    [
        # No box of a tenth of the area fits: the middle, at the allowed aspect.
        ((10, 400), (0, 193, 10, 13)),
        ((400, 10), (193, 0, 13, 10)),
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_a_very_long_image_is_cut_in_its_middle(size, box):
    numbers = np.full(crops.NUMBERS_PER_ROW, 0.999).tolist()
    assert crops.crop_box(numbers, *size) == box


def test_area_averages_whole_boxes_and_linear_interpolates_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
    area = crops.resize(pixels, 8, 12)
    assert np.abs(area - resized(pixels, 8, 12)).max() <= 0.5 + 1e-6
    # Where an image grows both filters are linear; Pillow keeps eight bits between.
    grown = Image.fromarray(pixels).resize((60, 40), Image.Resampling.BILINEAR)
    for resample in ("area", "bilinear"):
        found = crops.resize(pixels, 40, 60, resample=resample)
        assert np.abs(found.astype(int) - np.asarray(grown)).max() <= 2
    linear = crops.resize(pixels, 8, 12, resample="bilinear")
    centres = pixels[1::3, 1::3]  # the middle of each box is a pixel
    np.testing.assert_array_equal(linear, centres)


def test_supersampling_averages_four_linear_samples():
    pixels = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)
    expected = resized(pixels, 24, 40).reshape(12, 2, 20, 2, 3).mean((1, 3))
    found = crops.resize(pixels, 12, 20, resample="supersample")
    assert np.abs(found - expected).max() <= ROUNDING
    # Where it would not do, or is not needed, it is "area".
    for size in ((11, 20), (5, 9), (30, 16), (30, 40)):
        np.testing.assert_array_equal(
            crops.resize(pixels, *size, resample="supersample"),
            crops.resize(pixels, *size),
        )


def test_every_test_image_is_seen_once_and_padding_weighs_nothing(tmp_path):
    stream = stream_of(tmp_path, "test")
    found = evaluated(stream, batch_size=3)
    assert [batch.images.shape[0] for batch in found] == [3, 3, 3]
    weights = np.concatenate([batch.weights for batch in found])
    np.testing.assert_array_equal(weights, [1] * 7 + [0] * 2)
    images = np.concatenate([batch.images for batch in found])
    for number, pixels in enumerate(PICTURES[:7]):
        assert np.abs(images[number] - view_of(pixels)).max() <= ROUNDING
    labels = np.concatenate([batch.labels for batch in found])
    np.testing.assert_array_equal(labels[:7], np.arange(7) % 3)
    halves = [
        evaluated(stream, batch_size=3, start=a, stop=b) for a, b in ((0, 1), (1, 3))
    ]
    for whole, left, right in zip(found, *halves, strict=True):
        for part in range(3):
            both = np.concatenate([left[part], right[part]])
            np.testing.assert_array_equal(whole[part], both)


def view_of(pixels, along=0):
    """The middle of the whole picture, resized; or another part along its long side."""
    height, width = (
        round(20 * side / min(pixels.shape[:2])) for side in pixels.shape[:2]
    )
    whole = np.roll(resized(pixels, height, width), along, int(width > height))
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return whole[top : top + SIDE, left : left + SIDE]


def viewed(pixels, side=SIDE, short_side=20):
    out = np.empty((side, side, 3), np.uint8)
    crops.resize_and_crop(pixels, out, short_side=short_side, resample="area")
    return out


@pytest.mark.parametrize("size", [(1, 40000), (40000, 1), (3, 100_001)])
def test_of_a_very_long_picture_only_the_middle_is_resized(size, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    areas, resize = [], crops.resize
    monkeypatch.setattr(
        crops, "resize", lambda *a, **k: areas.append(a[1] * a[2]) or resize(*a, **k)
    )
    viewed(pixels, side=224, short_side=256)
    assert sum(areas) <= 6 * 256**2


@pytest.mark.parametrize("size", [(30, 240), (31, 300), (300, 31), (40, 161)])
def test_the_middle_of_a_long_picture_is_that_of_the_whole(size):
    """Within the rounding of a long side that is resized to whole pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels = cv2.GaussianBlur(noise, (9, 9), 0)
    assert np.abs(viewed(pixels) - view_of(pixels)).mean() <= 3
    assert np.abs(viewed(pixels) - view_of(pixels, along=20)).mean() > 9


def evaluated(stream, options=OPTIONS, batch_size=4, **part):
    given = {"batch_size": batch_size, "resize": 20} | part
    with data.evaluation_batches(stream, options, **given) as made:
        return list(made)


def test_a_bad_image_stops_the_run_with_its_name(tmp_path):
    stream = stream_of(tmp_path, bad=[6])
    with pytest.raises(data.BadRecord, match=r"record 1 of .*00001.* \(id 'n06'\)"):
        batches(stream, epoch=1)  # which shows n06
    with pytest.raises(data.BadRecord, match="on_bad_image=skip"):
        evaluated(stream)


def test_skipped_images_are_counted_and_replaced_alike_on_all_hosts(tmp_path, caplog):
    stream = stream_of(tmp_path, bad=[2, 6])
    options = OPTIONS._replace(on_bad_image="skip", flip=False)
    epoch = next(
        epoch for epoch in range(100) if set(epoch_order(0, epoch, 11)[:2]) == {2, 6}
    )
    first = batches(stream, options, epoch=epoch)[0]
    assert sorted(stream.bad_images) == [2, 6]
    assert "n06" in stream.bad_images[6]
    # Both bad ones stand first: the third of the order comes in for both.
    order = epoch_order(0, epoch, 11)
    for row in np.flatnonzero(IMAGE_OF_ROW <= 1):
        image, label = expected_row(options, epoch, 0, row, number=order[2])
        assert np.abs(first.images[row] - image).max() <= ROUNDING
        assert first.labels[row] == label
    for host in (range(4), range(4, 8)):
        again = data.open_stream("tiny", "train", data_dir=tmp_path)
        rows = batches(again, options, rows=host, epoch=epoch)[0]
        np.testing.assert_array_equal(rows.images, first.images[host])
    found = evaluated(stream, options)
    weights = np.concatenate([batch.weights for batch in found])
    np.testing.assert_array_equal(np.flatnonzero(weights == 0), [2, 6, 11])


def test_a_dataset_of_bad_images_only_is_given_up(tmp_path):
    stream = stream_of(tmp_path, bad=range(11))
    with pytest.raises(data.DatasetError, match="100 images in a row are bad"):
        batches(stream, OPTIONS._replace(on_bad_image="skip"))


def test_a_label_out_of_range_is_a_bad_record(tmp_path):
    stream = stream_of(tmp_path, labels=[0] * 10 + [3])
    with pytest.raises(data.BadRecord, match="the label 3: labels are 0 to 2"):
        evaluated(stream)


def test_tfrecords_stream_as_array_record_does(tmp_path):
    streams = [
        stream_of(tmp_path / name, "train[3:]", file_format=name) for name in FORMATS
    ]
    for one, other in zip(*map(batches, streams), strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_more_files_than_may_be_open_are_allowed(tmp_path):
    records = [[example(png(p), 0, f"n{i}")] for i, p in enumerate(PICTURES)]
    write_dataset(tmp_path, {"train": records}, size=(None, None))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/dev/fd")) + 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        stream = data.open_stream("tiny", "train", data_dir=tmp_path)
        (batch,) = evaluated(stream, batch_size=11)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > few
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert batch.weights.sum() == 11


def test_a_hard_limit_of_open_files_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (20, 100))
    with pytest.raises(data.DatasetError, match=r"2 files, .* may open 100 at once"):
        stream_of(tmp_path)


def test_a_subset_is_of_that_size_and_of_its_seed(stream, tmp_path):
    write_pictures(tmp_path)
    subsets = [
        data.open_stream("tiny", "train", data_dir=tmp_path, num_images=5, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert [len(set(s.kept.tolist())) for s in subsets] == [5, 5, 5]
    np.testing.assert_array_equal(subsets[0].kept, subsets[1].kept)
    assert subsets[0].kept.tolist() != subsets[2].kept.tolist()
    with pytest.raises(data.DatasetError, match="a subset of 12 images"):
        data.open_stream("tiny", "train", data_dir=tmp_path, num_images=12)


def test_leaving_the_context_stops_the_threads(stream):
    def threads():
        return [t for t in threading.enumerate() if t.name.startswith("decode")]

    with opened(stream) as batches:
        next(batches)
        assert threads()
    assert not threads()


def test_only_so_many_batches_are_begun_ahead(stream, monkeypatch):
    begun = []
    uniforms = crops.uniforms
    monkeypatch.setattr(
        crops,
        "uniforms",
        lambda key, *shape: begun.append(key) or uniforms(key, *shape),
    )
    one = {"image_of_row": np.zeros(1), "rows": range(1), "batch_size": 1}
    with opened(stream, OPTIONS._replace(prefetch=3), **one) as made:
        begun.clear()  # of the epoch's order
        for number, _ in enumerate(made, start=1):
            assert len(begun) == min(number + 3, 11)


def test_steps_beyond_the_epoch_are_refused(stream):
    with pytest.raises(ValueError, match="11 images make 2 mini-batches of 4"):
        batches(stream, last_step=3)


def test_a_dataset_of_many_sizes_is_streamed_unless_told_otherwise(tmp_path):
    write_pictures(tmp_path)
    spec = data.describe("tiny", data_dir=tmp_path)
    assert (spec.loader, spec.image_size, spec.padding) == ("stream", 224, 0)
    assert (spec.num_classes, spec.test_split) == (3, "test")
    assert spec.mean == data.DATASETS["imagenet2012"].mean
    assert spec.fill == data.DATASETS["imagenet2012"].fill
    assert data.describe("tiny", data_dir=tmp_path, image_size=32).image_size == 32
    with pytest.raises(data.DatasetError, match="needs images of one size"):
        data.describe("tiny", data_dir=tmp_path, loader="resident")
    assert data.describe("cifar10", loader="stream").loader == "stream"
