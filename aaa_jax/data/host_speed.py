"""How many images a second this machine decodes and crops, on made-up ones.

For plans, before the data are there; `benchmarks/input` measures the loader itself.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from aaa_jax.data import crops
from aaa_jax.data.decode import decode_rgb
from aaa_jax.data.stream import StreamOptions, cut_rows

MADE_UP = (500, 375)  # pixels, width and height: about those of ImageNet's images


def made_up_jpeg(random: np.random.Generator) -> bytes:
    """A JPEG of the size, in pixels and about in bytes, of ImageNet's."""
    width, height = MADE_UP
    coarse = random.integers(0, 256, (height // 25, width // 25, 3), np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = random.normal(0, 20, pixels.shape)
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def images_per_second(
    num_rows: int,
    image_size: int,
    resample: str,
    num_threads: int = 0,
    seconds: float = 0.5,
) -> float:
    """Images that this machine decodes and cuts into so many rows each in a second.

    0 threads are one for each core.
    """
    cv2.setNumThreads(1)  # the threads are ours
    threads = num_threads or len(os.sched_getaffinity(0))
    encoded = made_up_jpeg(np.random.default_rng(0))
    numbers = crops.uniforms((0,), num_rows, crops.NUMBERS_PER_ROW)
    options = StreamOptions(image_size=image_size, resample=resample)
    started = time.perf_counter()

    def work(_: int) -> int:
        rows = np.empty((num_rows, image_size, image_size, 3), np.uint8)
        count = 0
        while time.perf_counter() - started < seconds:
            cut_rows(decode_rgb(encoded), numbers, range(num_rows), rows, options)
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        count = sum(pool.map(work, range(threads)))
    return count / (time.perf_counter() - started)
