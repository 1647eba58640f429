"""Images per second of the input pipeline: decoded, cropped eight times, in batches.

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
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.data import crops
from aaa_jax.data.decode import decode_record
from aaa_jax.data.examples import parse_record
from benchmarks.augment.__main__ import ROOT, machine, versions
from benchmarks.augment.page import provenance

GOAL = 375  # distinct images/s on two cores: a GPU at 3000 augmented images/s
GOAL_CORES = 2
MADE_UP = (500, 375)  # width and height of JPEGs that are made up
PACKAGES = (
    *("array-record", "tensorflow-datasets"),
    *("tensorflow", "tensorflow-cpu"),
)
BUSY = (
    ": other processes ran, which lowers images/s of the wall much, and those of a CPU "
    "second somewhat"
)
TF_DATA = "tf.data, linear"
DEFAULT = data.StreamOptions().resample


def main(command_line: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = _parse(command_line)
    with tempfile.TemporaryDirectory() as folder:
        if options.made_up:
            make_up(Path(folder) / "images", options.made_up)
            options.name, options.data_dir = f"folder:{folder}/images", folder
        record = measure(options)
    text = markdown(record)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"input-{record['machine']['slug']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The record of all candidates and of the parts."""
    stream = data.open_stream(options.name, options.split, data_dir=options.data_dir)
    load_average = os.getloadavg()[0]
    candidates = _candidates(stream, options)
    for run in candidates.values():
        run()
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = {
        name: [] for name in candidates
    }
    for _ in range(options.rounds):
        for name, run in candidates.items():
            wall, cpu = time.perf_counter(), time.process_time()
            images = run()
            seconds[name].append(
                (
                    (time.perf_counter() - wall) / images,
                    (time.process_time() - cpu) / images,
                )
            )
    rows = [
        {
            "name": name,
            "threads": threads,
            "images_per_s": 1 / statistics.median(wall for wall, _ in times),
            "images_per_cpu_s": 1 / statistics.median(cpu for _, cpu in times),
        }
        for (name, threads), times in seconds.items()
    ]
    if util.find_spec("tensorflow") is None:
        rows.append({"name": TF_DATA, "why": "not installed"})
    made_up = f"made-up JPEGs of {MADE_UP[0]} x {MADE_UP[1]} px"
    return {
        "machine": machine(),
        "versions": versions() | _packages(),
        "load_average": load_average,
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
    import jax

    shape = (options.images * options.policies, options.size, options.size, 3)
    rows = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    jax.device_put(rows).block_until_ready()
    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        jax.device_put(rows, may_alias=False).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return {"rows": shape[0], "bytes": rows.nbytes, "s": statistics.median(seconds)}


def parts(stream: data.Stream, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of CPU per distinct image of each part, on one thread."""
    some = range(min(stream.num_images, options.images * 2))
    serialized, read = _timed(lambda i: stream.records.read(i), some)
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


def markdown(record: dict[str, Any]) -> str:
    """The page."""
    policies = record["num_policies"]
    lines = [
        "# Speed of the input pipeline",
        "",
        "Made by `python -m benchmarks.input`; what is measured is said there.",
        "",
        *provenance(record["machine"], record["versions"]),
        f"- {record['name']}, {record['num_images']} images; M = {policies} crops of "
        f"{record['size']} px",
        f"- load average at the start: {record['load_average']:.1f}"
        + (BUSY if record["load_average"] > 1 else ""),
        "",
        "| loader | threads | distinct images/s | augmented images/s "
        "| distinct per CPU second | augmented per CPU second |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in record["candidates"]:
        if "why" in row:
            lines.append(f"| {row['name']} | {row['why']} | – | – | – | – |")
            continue
        wall, cpu = row["images_per_s"], row["images_per_cpu_s"]
        lines.append(
            f"| {row['name']} | {row['threads']} | {wall:.0f} | {policies * wall:.0f} "
            f"| {cpu:.0f} | {policies * cpu:.0f} |"
        )
    others = [f"crops, {resample}" for resample in crops.RESAMPLINGS[1:]]
    counted = {
        name: ms
        for name, ms in record["parts"].items()
        if not name.endswith(tuple(others))
    }
    total = sum(counted.values())
    lines += ["", "| part, one thread | ms of CPU per distinct image | share |"]
    lines += ["| --- | ---: | ---: |"]
    for name, ms in record["parts"].items():
        share = f"{100 * ms / total:.0f} %" if name in counted else "–"
        lines.append(f"| {name} | {ms:.2f} | {share} |")
    if "to_device" in record:
        moved = record["to_device"]
        lines += [
            "",
            f"To the device: {1e3 * moved['s']:.1f} ms for {moved['rows']} rows, "
            f"{moved['bytes'] / moved['s'] / 1e9:.1f} GB/s. A step that takes more "
            "rows a second than the loader makes on all cores waits for it.",
        ]
    return "\n".join([*lines, "", *verdicts(record)]) + "\n"


def verdicts(record: dict[str, Any]) -> list[str]:
    """Whether the goal is reached, for each resampling of this loader.

    By CPU seconds, with as many threads as the goal has cores where that was measured.
    """
    lines = [
        f"Goal: {GOAL} distinct images/s on {GOAL_CORES} cores. By CPU seconds:",
        "",
    ]
    for resample in crops.RESAMPLINGS:
        row = loader_row(record, resample, GOAL_CORES)
        if row is not None:
            reached = GOAL_CORES * row["images_per_cpu_s"]
            lines.append(
                f"- {resample}{' (the default)' if resample == DEFAULT else ''}: "
                f"{reached:.0f}, {'reached' if reached >= GOAL else 'not reached'}"
            )
    return lines


def loader_row(
    record: dict[str, Any], resample: str, threads: int
) -> dict[str, Any] | None:
    """This loader's row of a resampling with the nearest number of threads."""
    rows = [
        row
        for row in record["candidates"]
        if row["name"] == f"this loader, {resample}" and "why" not in row
    ]
    return min(rows, key=lambda row: abs(row["threads"] - threads), default=None)


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input")
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
    parser.add_argument("--quick", action="store_true", help="one small round")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(command_line)
    if options.quick:
        options.rounds, options.images, options.size = 1, 4, 32
        options.made_up = min(options.made_up, 8)
    cores = len(os.sched_getaffinity(0))
    texts = options.threads.split(",") if options.threads else [1, cores]
    options.threads = sorted({int(text) for text in texts})
    return options


def _candidates(
    stream: data.Stream, options: argparse.Namespace
) -> dict[tuple[str, int], Callable[[], int]]:
    """(name, threads) -> run, which goes through some batches and counts images."""
    runs: dict[tuple[str, int], Callable[[], int]] = {}
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
) -> Callable[[], int]:
    layout = batch_layout.group_layout(options.images, options.policies, options.images)
    steps = max(1, min(8, stream.num_images // options.images))

    def run() -> int:
        with data.train_batches(
            stream,
            data.StreamOptions(
                image_size=options.size, resample=resample, num_threads=threads
            ),
            image_of_row=batch_layout.image_of_row(layout),
            rows=range(layout.num_rows),
            batch_size=options.images,
            epoch=0,
            last_step=steps,
        ) as batches:
            return sum(len(batch.labels) for batch in batches) // options.policies

    return run


def _tf_data(
    stream: data.Stream, options: argparse.Namespace, threads: int
) -> Callable[[], int]:
    """tf.data's usual pipeline, one decode for M crops, records in memory."""
    import tensorflow as tf

    steps = max(1, min(8, stream.num_images // options.images))
    encoded = [
        parse_record("", stream.records.read(i), stream.keys).encoded
        for i in range(steps * options.images)
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
    return lambda: sum(len(batch) for batch in dataset.as_numpy_iterator())


def _timed(
    function: Callable[[int], Any], places: Sequence[int]
) -> tuple[list[Any], float]:
    """The results, and milliseconds of this thread's CPU for each."""
    function(places[0])
    start = time.thread_time()
    results = [function(place) for place in places]
    return results, 1000 * (time.thread_time() - start) / len(places)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
