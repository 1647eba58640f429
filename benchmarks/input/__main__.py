"""How many images per second does the input pipeline decode, crop and batch?

    python -m benchmarks.input --data_dir=FOLDER         with imagenet2012, or a slice
    python -m benchmarks.input --made_up=400             with JPEGs of its own
    python -m benchmarks.input --data_dir=FOLDER --quick  a moment of everything

A *distinct* image is decoded once and becomes M = 8 *augmented* ones: random resized
crops of 224 px, mirrored or not, uint8. Timed is the whole loader, as training uses it:
records read (from the page cache, after a first round), batches delivered in order.
Both clocks are given: seconds of the wall, which other processes lengthen, and CPU
seconds of this one, which they lengthen less. Against it, where TensorFlow is
installed, tf.data with the usual ops on records that are in memory already: one decode,
M times `sample_distorted_bounding_box`, crop, bilinear resize. The parts of an image's
cost are measured apart, on one thread; so is what it takes to bring a batch's rows to
the device. Candidates take turns; a number is the median of the rounds. Writes JSON and
a Markdown table to benchmarks/results/.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import util
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.data import crops
from aaa_jax.data.decode import decode_record
from aaa_jax.data.examples import parse_record
from benchmarks import measure
from benchmarks.input.page import markdown

MADE_UP = (500, 375)  # width and height of JPEGs that are made up
TF_DATA = "tf.data, linear"

Run = Callable[[int], int]  # goes through some batches and counts images


def main(command_line: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _parse(command_line)
    record = measure.started("input", command_line)
    with tempfile.TemporaryDirectory() as folder:
        if options.made_up:
            make_up(Path(folder) / "images", options.made_up)
            options.name, options.data_dir = f"folder:{folder}/images", folder
        record |= measure_stream(options)
    text = markdown(record)
    measure.write(options.out, "input", record, text)
    print(text)


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = measure.parser(__doc__)
    parser.add_argument("--data_dir", help="default: TFDS_DATA_DIR or TFDS's own")
    parser.add_argument("--name", default="imagenet2012")
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--made_up", type=int, default=0, help="so many JPEGs of its own instead"
    )
    parser.add_argument("--images", type=int, default=50, help="of a mini-batch, N")
    parser.add_argument("--policies", type=int, default=8, help="M")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", default="", help="such as 1,2,4; default: 1 and one per core"
    )
    options = parser.parse_args(command_line)
    if options.quick:
        options.rounds, options.images, options.size = 1, 4, 32
        options.made_up = min(options.made_up, 8)
    cores = len(os.sched_getaffinity(0))
    texts = options.threads.split(",") if options.threads else [1, cores]
    options.threads = sorted({int(text) for text in texts})
    return options


def measure_stream(options: argparse.Namespace) -> dict[str, Any]:
    """All candidates, in turns, after one round to warm up; and the parts."""
    stream = data.open_stream(options.name, options.split, data_dir=options.data_dir)
    seconds = measure.take_turns(
        _candidates(stream, options),
        options.rounds,
        clock=lambda: np.array([time.perf_counter(), time.process_time()]),
    )
    rows: list[dict[str, Any]] = []
    for (name, threads), times in seconds.items():
        wall, cpu = _num_images(stream, options) / np.median(times, axis=0)
        row = {"name": name, "threads": threads}
        rows.append(row | {"images_per_s": wall, "images_per_cpu_s": cpu})
    if util.find_spec("tensorflow") is None:
        rows.append({"name": TF_DATA, "why": "not installed"})
    made_up = f"made-up JPEGs of {MADE_UP[0]} x {MADE_UP[1]} px"
    return measure.place() | {
        "name": made_up if options.made_up else f"{options.name} {options.split}",
        "num_images": stream.num_images,
        "num_policies": options.policies,
        "size": options.size,
        "candidates": rows,
        "parts": parts(stream, options),
        "to_device": to_device(options),
    }


def make_up(folder: Path, num_images: int) -> None:
    """Writes JPEGs of the size, in pixels and about in bytes, of ImageNet's.

    Args:
        folder: to be made, for `data.open_stream` ("folder:PATH").
        num_images: of the train split; one more is the validation split.
    """
    random = np.random.default_rng(0)
    width, height = MADE_UP
    for number in range(num_images + 1):
        coarse = random.integers(0, 256, (height // 25, width // 25, 3), np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        noise = random.normal(0, 20, pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        split = "train" if number < num_images else "validation"
        path = folder / split / "one" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def to_device(options: argparse.Namespace) -> dict[str, float]:
    """What a mini-batch's rows, uint8, take from the host's memory to the device."""
    shape = (options.images * options.policies, options.size, options.size, 3)
    rows = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    seconds = measure.seconds_of(
        lambda _: jax.device_put(rows, may_alias=False).block_until_ready(),
        options.rounds,
    )
    return {"rows": shape[0], "bytes": rows.nbytes, "s": statistics.median(seconds)}


def parts(stream: data.Stream, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of CPU per distinct image of each part, on one thread."""
    some = range(min(stream.num_images, options.images * 2))
    serialized, read = _timed(stream.records.read, some)
    records, parse = _timed(
        lambda i: parse_record("", serialized[i], stream.keys), some
    )
    pixels, decode = _timed(lambda i: decode_record(records[i]), some)
    numbers = crops.uniforms(
        (0, 0), len(some) * options.policies, crops.NUMBERS_PER_ROW
    ).tolist()
    out = np.zeros((options.size, options.size, 3), np.uint8)

    def cut(image: int, resample: str) -> None:
        first = image * options.policies
        for row in numbers[first : first + options.policies]:
            box = crops.crop_box(row, *pixels[image].shape[:2])
            crops.cut(
                pixels[image], box, out, flip=crops.is_flipped(row), resample=resample
            )

    return {"read": read, "parse": parse, "decode": decode} | {
        f"{options.policies} crops, {resample}": _timed(
            functools.partial(cut, resample=resample), some
        )[1]
        for resample in crops.RESAMPLINGS
    }


def _candidates(
    stream: data.Stream, options: argparse.Namespace
) -> dict[tuple[str, int], Run]:
    """(name, threads) -> run."""
    runs: dict[tuple[str, int], Run] = {}
    for resample in crops.RESAMPLINGS:
        for threads in options.threads:
            name = f"this loader, {resample}"
            runs[name, threads] = _ours(stream, options, resample, threads)
    if util.find_spec("tensorflow") is not None:
        for threads in options.threads:
            runs[TF_DATA, threads] = _tf_data(stream, options, threads)
    return runs


def _ours(
    stream: data.Stream, options: argparse.Namespace, resample: str, threads: int
) -> Run:
    layout = batch_layout.group_layout(options.images, options.policies, options.images)
    choices = data.StreamOptions(
        image_size=options.size, resample=resample, num_threads=threads
    )

    def run(_: int) -> int:
        with data.train_batches(
            stream,
            choices,
            image_of_row=batch_layout.image_of_row(layout),
            rows=range(layout.num_rows),
            batch_size=options.images,
            epoch=0,
            last_step=_num_images(stream, options) // options.images,
        ) as batches:
            return sum(len(batch.labels) for batch in batches) // options.policies

    return run


def _num_images(stream: data.Stream, options: argparse.Namespace) -> int:
    """Distinct images of a run."""
    return options.images * max(1, min(8, stream.num_images // options.images))


def _tf_data(stream: data.Stream, options: argparse.Namespace, threads: int) -> Run:
    """TensorFlow's pipeline, one decode for M crops, records in memory."""
    import tensorflow as tf

    encoded = [
        parse_record("", stream.records.read(i), stream.keys).encoded
        for i in range(_num_images(stream, options))
    ]

    def crop(image: Any) -> Any:
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            tf.zeros((1, 0, 4)),
            area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        resized = tf.image.resize(
            tf.slice(image, begin, size), (options.size, options.size)
        )
        return tf.cast(tf.image.random_flip_left_right(resized), tf.uint8)

    def rows(content: Any) -> Any:
        image = tf.io.decode_jpeg(content, channels=3)
        return tf.stack([crop(image) for _ in range(options.policies)])

    dataset = tf.data.Dataset.from_tensor_slices(encoded)
    dataset = dataset.map(rows, num_parallel_calls=threads)
    dataset = dataset.batch(options.images).prefetch(2)
    choices = tf.data.Options()
    choices.threading.private_threadpool_size = threads
    dataset = dataset.with_options(choices)
    return lambda _: sum(len(batch) for batch in dataset.as_numpy_iterator())


def _timed(
    function: Callable[[int], Any], places: Sequence[int]
) -> tuple[list[Any], float]:
    """The results, and milliseconds of this thread's CPU for each."""
    function(places[0])
    start = time.thread_time()
    results = [function(place) for place in places]
    return results, 1000 * (time.thread_time() - start) / len(places)


if __name__ == "__main__":
    main()
