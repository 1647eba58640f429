"""Do memory and step time stay constant over thousands of steps?

    python -m benchmarks.soak --steps=3000
    python -m benchmarks.soak --tiny --steps=3000     a network of one convolution

One process trains the digits preset (real data, 300 images, Wide-ResNet-10-1, the
controller) with everything switched on: a checkpoint every few steps, an evaluation
every epoch, the watchdog, the progress line. Its resident memory is noted every second,
the time of the steps is that of the run's `timing.jsonl`. Prints a table of quarters:
the first one, in which programs are compiled and allocators settle, stands apart.
"""

import argparse
import contextlib
import os
import pathlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aaa_jax.configs import digits
from aaa_jax.train import loop
from aaa_jax.workdir import run_directory
from benchmarks import measure


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="of the run")
    parser.add_argument(
        "--every-steps", "--every_steps", type=int, default=5, help="a checkpoint"
    )
    parser.add_argument("--tiny", action="store_true", help="one convolution")
    options = parser.parse_args(command_line)
    record = measure.started("soak", command_line)
    with tempfile.TemporaryDirectory() as workdir, noted_memory() as memory:
        loop.train_and_evaluate(_config(options), workdir)
        epochs = run_directory.read_lines(workdir, "timing")
    print(report(record | measure.place(), epochs, np.asarray(memory)))


@contextlib.contextmanager
def noted_memory() -> Iterator[list[float]]:
    """Resident MiB of this process every second, as long as the context lasts."""
    noted, is_over = [_resident_mib()], threading.Event()

    def note() -> None:
        while not is_over.wait(1.0):
            noted.append(_resident_mib())

    thread = threading.Thread(target=note)
    thread.start()
    yield noted
    is_over.set()
    thread.join()


def report(
    record: dict[str, Any], epochs: Sequence[dict[str, Any]], memory: np.ndarray
) -> str:
    """A table of the quarters of a run: lines of `timing.jsonl`, MiB [seconds]."""
    taken = np.array([1000 * e["train_seconds"] / e["steps"] for e in epochs])
    quarters = zip(np.array_split(memory, 4), np.array_split(taken, 4), strict=True)
    rows = [
        [number, f"{mib[-1]:.0f}", f"{np.median(ms):.1f}", f"{ms.mean():.1f}"]
        for number, (mib, ms) in enumerate(quarters, start=1)
    ]
    heads = ["quarter", "resident memory at its end, MiB"]
    heads += ["ms a step, median of the epochs", "mean"]
    steps = sum(e["steps"] for e in epochs)
    begin = len(memory) // 2
    half = memory[begin:]
    slope = np.polyfit(np.linspace(0, steps, len(memory))[begin:], half, 1)[0]
    return measure.page(
        [
            *measure.head("Soak", record, f"{steps} steps in {len(epochs)} epochs"),
            "",
            *measure.table(heads, rows),
            "",
            f"Memory over the second half: {1000 * slope:+.2f} MiB per 1000 steps "
            f"(least squares), from {half.min():.0f} to {half.max():.0f} MiB.",
        ]
    )


def _config(options: argparse.Namespace) -> Any:
    config = digits.get_config()
    if options.tiny:
        config.model.name = "tests.support.tiny:factory"
        with config.unlocked():
            config.model.options = {}
    config.max_steps = options.steps
    config.epochs = -(-options.steps // (300 // config.batch_size))
    config.evaluation.every_epochs = 1
    config.checkpoint.every_steps = options.every_steps
    config.devices.num_devices = 1
    config.devices.hang_seconds = 600.0
    config.log.every_seconds = 60.0
    return config


def _resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
