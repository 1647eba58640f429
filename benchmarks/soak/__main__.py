"""Soak: thousands of steps with everything switched on; memory and step time constant?

    python -m benchmarks.soak --steps=3000

One process trains the digits preset (real data, 300 images, Wide-ResNet-10-1, the
controller) or, with --tiny, a network of one convolution, with a checkpoint every few
steps, an evaluation every epoch, the watchdog and the progress line. After each step
its resident memory and the time are noted; the page compares quarters: the first one,
in which programs are compiled and allocators settle, stands apart.
"""

import argparse
import os
import pathlib
import platform
import sys
import tempfile
import time

import jax
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from aaa_jax.runtime import progress  # noqa: E402
from aaa_jax.train import loop  # noqa: E402
from configs import digits  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000, help="of the run")
    parser.add_argument("--every_steps", type=int, default=5, help="a checkpoint")
    parser.add_argument("--tiny", action="store_true", help="one convolution")
    parser.add_argument("--workdir", default="", help="default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        noted = soak(_config(given), given.workdir or temporary)
    print(report(noted, given))
    return 0


def soak(config, workdir: str) -> np.ndarray:
    """Trains; per step the seconds since the start and resident MiB, [steps, 2]."""
    noted: list[tuple[float, float]] = []
    shown = progress.Progress.update

    def update(self, step: int, **values: float | None) -> None:
        shown(self, step, **values)
        noted.append((time.monotonic(), _resident_mib()))

    progress.Progress.update = update
    try:
        loop.train_and_evaluate(config, workdir)
    except loop.RunInterrupted as error:
        print(error)  # what was noted until then is reported
    finally:
        progress.Progress.update = shown
    return np.asarray(noted)


def report(noted: np.ndarray, given: argparse.Namespace) -> str:
    """A table of the quarters, with what it ran on."""
    seconds = np.diff(noted[:, 0])
    rows = [
        f"`python -m benchmarks.soak {' '.join(sys.argv[1:])}`: {len(noted)} steps, a "
        f"checkpoint every {given.every_steps}; {platform.processor() or 'CPU'}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; Python "
        f"{platform.python_version()}, jax {jax.__version__}",
        "",
        "| quarter | resident memory at its end, MiB | median step, ms | mean, ms |",
        "| --- | --- | --- | --- |",
    ]
    for quarter in range(4):
        begin, end = (len(seconds) * k // 4 for k in (quarter, quarter + 1))
        taken = 1000 * seconds[begin:end]
        rows.append(
            f"| {quarter + 1} | {noted[end - 1, 1]:.0f} | {np.median(taken):.1f} | "
            f"{taken.mean():.1f} |"
        )
    half = noted[len(noted) // 2 :]
    steps = np.arange(len(half))
    slope = np.polyfit(steps, half[:, 1], 1)[0]
    rows += [
        "",
        f"Memory over the second half: {1000 * slope:+.2f} MiB per 1000 steps (least "
        f"squares), from {half[:, 1].min():.0f} to {half[:, 1].max():.0f} MiB.",
    ]
    return "\n".join(rows)


def _config(given: argparse.Namespace):
    config = digits.get_config()
    if given.tiny:
        config.model.name = "tests.support.tiny:factory"
        with config.unlocked():
            config.model.options = {}
    config.max_steps = given.steps
    config.epochs = -(-given.steps // (300 // config.batch_size))
    config.evaluation.every_epochs = 1
    config.checkpoint.every_steps = given.every_steps
    config.devices.num_devices = 1
    config.devices.hang_seconds = 600.0
    config.log.every_seconds = 60.0
    return config


def _resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
