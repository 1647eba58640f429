"""How many images per second does the input pipeline decode, crop and batch?

    python -m benchmarks.input --data-dir=FOLDER         with imagenet2012, or a slice
    python -m benchmarks.input --made_up=400             with JPEGs of its own
    python -m benchmarks.input --data-dir=FOLDER --quick  a moment of everything

A *distinct* image is decoded once and becomes M = 8 *augmented* ones: random resized
crops of 224 px, mirrored or not, uint8. Timed is the whole loader, as training uses it:
records read (from the page cache, after a first round), batches delivered in order.
Both clocks are given: seconds of the wall, which other processes lengthen, and CPU
seconds of this one, which they lengthen less. The parts of an image's cost are measured
apart, on one thread; so is what it takes to bring a batch's rows to the device.
Candidates take turns; a number is the median of the rounds. Writes JSON and a Markdown
table to benchmarks/results/.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.data import crops
from aaa_jax.data.decode import decode_record
from aaa_jax.data.examples import parse_record
from aaa_jax.data.host_speed import MADE_UP, made_up_jpeg
from benchmarks import measure
from benchmarks.input.page import markdown

NUM_POLICIES = 8


def main(command_line: Sequence[str] | None = None) -> None:
    options = _parse(command_line)
    record = measure.started("input", command_line)
    with tempfile.TemporaryDirectory() as folder:
        if options.made_up:
            make_up(Path(folder) / "images", options.made_up)
            options.name, options.data_dir = f"folder:{folder}/images", folder
        record |= measure_stream(options)
    print(measure.write(options.out, "input", record, markdown(record)))


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = measure.parser(__doc__)
    parser.add_argument(
        "--data-dir", "--data_dir", help="default: TFDS_DATA_DIR or TFDS's own"
    )
    parser.add_argument("--name", default="imagenet2012")
    parser.add_argument(
        "--made-up", "--made_up", type=int, default=0, help="so many JPEGs instead"
    )
    parser.add_argument("--images", type=int, default=50, help="of a mini-batch, N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", help="such as 1,2,4; default: 1 and one per core")
    parser.set_defaults(size=224)
    options = parser.parse_args(command_line)
    if options.quick:
        options.rounds, options.images, options.size = 1, 4, 32
        options.made_up = min(options.made_up, 8)
    texts = (options.threads or f"1,{len(os.sched_getaffinity(0))}").split(",")
    options.threads = sorted(set(map(int, texts)))
    return options


def measure_stream(options: argparse.Namespace) -> dict[str, Any]:
    """This loader with each resampling and number of threads; and the parts."""
    stream = data.open_stream(options.name, "train", data_dir=options.data_dir)
    runs = {
        (resample, threads): _loader(stream, options, resample, threads)
        for resample in crops.RESAMPLINGS
        for threads in options.threads
    }
    seconds = measure.take_turns(
        runs,
        options.rounds,
        clock=lambda: np.array([time.perf_counter(), time.process_time()]),
    )
    rows: list[dict[str, Any]] = []
    for (resample, threads), times in seconds.items():
        wall, cpu = _num_images(stream, options) / np.median(times, axis=0)
        row = {"name": f"this loader, {resample}", "threads": threads}
        rows.append(row | {"images_per_s": wall, "images_per_cpu_s": cpu})
    made_up = f"made-up JPEGs of {MADE_UP[0]} x {MADE_UP[1]} px"
    return measure.place() | {
        "name": made_up if options.made_up else f"{options.name} train",
        "num_images": stream.num_images,
        "num_policies": NUM_POLICIES,
        "size": options.size,
        "candidates": rows,
        "parts": parts(stream, options),
        "to_device": to_device(options),
    }


def make_up(folder: Path, num_images: int) -> None:
    """Writes JPEGs of the size, in pixels and about in bytes, of ImageNet's.

    So many are the train split of the folder, two more the validation split, each of
    two classes.
    """
    random = np.random.default_rng(0)
    for number in range(num_images + 2):
        split = "train" if number < num_images else "validation"
        path = folder / split / ("even", "odd")[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made_up_jpeg(random))


def to_device(options: argparse.Namespace) -> dict[str, float]:
    """What a mini-batch's rows, uint8, take from the host's memory to the device."""
    shape = (options.images * NUM_POLICIES, options.size, options.size, 3)
    rows = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def move(_: int) -> None:
        jax.device_put(rows, may_alias=False).block_until_ready()

    seconds = statistics.median(measure.seconds_of(move, options.rounds))
    return {"rows": shape[0], "bytes": rows.nbytes, "s": seconds}


def parts(stream: data.Stream, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of CPU per distinct image of each part, on one thread."""
    some = range(min(stream.num_images, options.images * 2))
    serialized, read = _timed(stream.records.read, some)
    records, parse = _timed(
        lambda i: parse_record("", serialized[i], stream.keys), some
    )
    pixels, decode = _timed(lambda i: decode_record(records[i]), some)
    count = len(some) * NUM_POLICIES
    numbers = crops.uniforms((0, 0), count, crops.NUMBERS_PER_ROW).tolist()
    out = np.zeros((options.size, options.size, 3), np.uint8)

    def cut(resample: str, image: int) -> None:
        first = image * NUM_POLICIES
        for row in numbers[first : first + NUM_POLICIES]:
            box = crops.crop_box(row, *pixels[image].shape[:2])
            flip = crops.is_flipped(row)
            crops.cut(pixels[image], box, out, flip=flip, resample=resample)

    found = {"read": read, "parse": parse, "decode": decode}
    for resample in crops.RESAMPLINGS:
        _, taken = _timed(functools.partial(cut, resample), some)
        found[f"{NUM_POLICIES} crops, {resample}"] = taken
    return found


def _loader(
    stream: data.Stream, options: argparse.Namespace, resample: str, threads: int
) -> Callable[[int], int]:
    """Goes through some batches and counts images."""
    layout = batch_layout.group_layout(options.images, NUM_POLICIES, options.images)
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
            return sum(len(batch.labels) for batch in batches) // NUM_POLICIES

    return run


def _num_images(stream: data.Stream, options: argparse.Namespace) -> int:
    """Distinct images of a run."""
    return options.images * max(1, min(8, stream.num_images // options.images))


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
