"""Images per second of the augmentation, this engine and others, in one run.

    python -m benchmarks.augment            every candidate, one core and all cores
    python -m benchmarks.augment --quick    a second of everything: does it run?

The work (see `work.py`): M = 8 policies, Q = 5 sub-policies of 2 ops; random numbers
drawn, ops applied, output normalised to float32; 1024 rows of 32 px and 128 of 224 px.
Candidates take turns; a number is the median of the rounds. Each core setting is a
process of its own, pinned before Python starts and with glibc told to keep memory (a
page fault costs more than an op). On one core CPU seconds are counted, which other
processes on the machine do not lengthen; on all cores, seconds of the clock.
Writes JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.augment.page import markdown

ROOT = Path(__file__).resolve().parents[2]
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_ARENA_MAX": "1",
}
ENGINE = {"this engine (map)": "map", "this engine (vmap)": "vmap"}
PER_CORE = "this engine (map) in a process per core"
NAIVE = "vmap of lax.switch"
HOST = {  # name in the table -> distribution
    "Pillow": "pillow",
    "OpenCV": "opencv-python-headless",
    "albumentations": "albumentations",
    "torchvision v2": "torchvision",
    "kornia": "kornia",
}
CANDIDATES = (PER_CORE, *ENGINE, NAIVE, *HOST)
LACKING = {"augmax": "lacks 9 of the 16 ops"}  # 0.4.1; see README.md
NUM_POLICIES, NUM_SUB_POLICIES, CHAIN_LENGTH = 8, 5, 2
STEPS = {  # training steps that a GPU's augmentation is measured against
    32: ("WRN-28-10", "wide_resnet", {"depth": 28, "width": 10}),
    224: ("ResNet-50", "resnet", {"depth": 50}),
}


class Setting(NamedTuple):
    """What one process measures; travels as JSON."""

    cores: str
    sizes: list[list[int]]  # [side, rows]
    rounds: int
    only: list[str]
    with_step: bool


class Timed(NamedTuple):
    """A candidate ready to run."""

    name: str
    run: Callable[[int], Any]
    replay: Callable[[Any], np.ndarray]
    facts: dict[str, float]
    stop: Callable[[], None]


def main(command_line: Sequence[str] | None = None) -> None:
    """Start one process per core setting, collect, write."""
    options = _parse(command_line)
    if options.worker:
        text = json.dumps(measure(Setting(**json.loads(options.worker))))
        options.out.write_text(text)
        return
    sizes = [[8, 16]] if options.quick else [[32, 1024], [224, 128]]
    rounds = 1 if options.quick else options.rounds
    record: dict[str, Any] = {"load_average": os.getloadavg()[0], "settings": {}}
    for cores in options.cores.split(","):
        only = options.only.split(",") if options.only else list(CANDIDATES)
        setting = Setting(cores, sizes, rounds, only, options.step)
        record["settings"][cores] = _in_own_process(setting)
    first = next(iter(record["settings"].values()))
    for key in ("machine", "versions"):
        record[key] = first[key]
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"augment-{record['machine']['slug']}"
    (options.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.out / f"{name}.md").write_text(markdown(record))
    print(markdown(record))


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny, for tests")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cores", default="one,all")
    parser.add_argument("--only", default="", help=f"of {', '.join(CANDIDATES)}")
    parser.add_argument("--step", action="store_true", help="time training steps too")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(command_line)
    unknown = set(filter(None, options.only.split(","))) - set(CANDIDATES)
    if unknown:
        parser.error(f"--only {', '.join(unknown)}: use {', '.join(CANDIDATES)}")
    return options


def _in_own_process(setting: Setting) -> dict[str, Any]:
    """Run `measure` where affinity and allocator are set before Python starts."""
    allowed = os.sched_getaffinity(0)
    cores = {max(allowed)} if setting.cores == "one" else allowed
    environment = os.environ | ALLOCATOR
    environment["PYTHONPATH"] = str(ROOT)
    if setting.cores == "all":  # one XLA device per core, as far as they divide M
        devices = max(d for d in (1, 2, 4, 8) if d <= len(cores))
        flag = f" --xla_force_host_platform_device_count={devices}"
        environment["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + flag
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        worker = json.dumps(setting._asdict())
        command = ["benchmarks.augment", f"--worker={worker}", f"--out={out}"]
        os.sched_setaffinity(0, cores)
        try:
            subprocess.run(
                [sys.executable, "-m", *command], env=environment, check=True
            )
        finally:
            os.sched_setaffinity(0, allowed)
        return json.loads(out.read_text())


def measure(setting: Setting) -> dict[str, Any]:
    """All sizes in this process."""
    import jax

    backend = jax.default_backend()
    is_pinned = len(os.sched_getaffinity(0)) == 1 and backend == "cpu"
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "cores": len(os.sched_getaffinity(0)),
        "devices": jax.local_device_count(),
        "clock": "CPU seconds" if is_pinned else "seconds",
        "sizes": {},
    }
    clock = time.process_time if is_pinned else time.perf_counter
    for side, num_rows in setting.sizes:
        candidates, absent = _candidates(side, num_rows, setting, backend)
        seconds = _take_turns(candidates, setting.rounds, clock)
        for candidate in candidates:
            candidate.stop()
        rows = [_row(c, seconds[c.name], num_rows) for c in candidates]
        reference = _pillow_pixels(side, num_rows)
        for row, candidate in zip(rows, candidates, strict=True):
            row["equal"] = _share_equal(candidate, reference, side, num_rows)
        result["sizes"][str(side)] = {
            "rows": num_rows,
            "candidates": [*rows, *absent],
            **_step(side, num_rows, setting),
        }
    return result


def _candidates(
    side: int, num_rows: int, setting: Setting, backend: str
) -> tuple[list[Timed], list[dict[str, Any]]]:
    """Those that are installed, and rows for those that are not."""
    import jax

    from benchmarks.augment import engine
    from benchmarks.augment import processes as hosts

    work = make_work(side, num_rows)
    num_devices = jax.local_device_count() if backend == "cpu" else 1
    found: list[Timed] = []
    absent: list[dict[str, Any]] = []
    for name in setting.only:
        if name in HOST:
            try:
                started = hosts.start(name, work, setting.cores)
            except ImportError:
                absent.append({"name": name, "why": "not installed"})
            else:
                run, replay, stop = started
                found.append(Timed(name, run, replay, {}, stop))
        elif name == PER_CORE and backend == "cpu":
            if setting.cores == "all":
                run, replay, stop = hosts.start_engine(work)
                found.append(Timed(name, run, replay, {}, stop))
            else:
                absent.append({"name": name, "why": "as this engine (map)"})
        elif backend != "cpu" and (name == PER_CORE or ENGINE.get(name) == "map"):
            absent.append({"name": name, "why": f"not made for a {backend}"})
        else:
            is_naive = name == NAIVE
            apply = (
                engine.naive(work) if is_naive else engine.engine(work, ENGINE[name])
            )
            compiled = engine.compile_candidate(work, apply, num_devices)
            found.append(Timed(name, *compiled, lambda: None))
    absent += [{"name": name, "why": why} for name, why in LACKING.items()]
    return found, absent


def make_work(side: int, num_rows: int) -> Any:
    """A mini-batch of photograph-like images and M random policies."""
    import jax

    from aaa_jax.augment.magnitudes import range_table
    from aaa_jax.augment.ops import OPS
    from aaa_jax.search.sources import random_source
    from benchmarks.augment.work import Work

    table = range_table("monotone")
    source = random_source(NUM_POLICIES, NUM_SUB_POLICIES)
    policies = source.sample(jax.random.key(0), (), 0.0)
    values = [
        [[table.value(op.name, m, s, side, side) for s in (1, -1)] for m in range(10)]
        for op in OPS
    ]
    return Work(
        images=_images(num_rows // NUM_POLICIES, side),
        names=tuple(op.name for op in OPS),
        ops=np.asarray(policies.ops),
        magnitudes=np.asarray(policies.magnitudes),
        values=np.array(values),
        fill=(125, 123, 114),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def _images(num_images: int, side: int) -> np.ndarray:
    """Smooth noise with all 256 values: uint8 [n, side, side, 3]."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(num_images, side // 4, side // 4, 3))
    smooth = np.kron(coarse, np.ones((1, 4, 4, 1)))
    noisy = 128 + 50 * smooth + 15 * random.normal(size=smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _take_turns(
    candidates: Sequence[Timed], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each round of each candidate; two rounds to warm up are left out."""
    import jax

    seconds: dict[str, list[float]] = {c.name: [] for c in candidates}
    for turn in range(rounds + 2):
        for candidate in candidates:
            start = clock()
            jax.block_until_ready(candidate.run(turn))
            seconds[candidate.name].append(clock() - start)
    return {name: all_of_it[2:] for name, all_of_it in seconds.items()}


def _row(candidate: Timed, seconds: list[float], num_rows: int) -> dict[str, Any]:
    speeds = [num_rows / s for s in seconds]
    return {
        "name": candidate.name,
        "images_per_s": float(np.median(speeds)),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "facts": candidate.facts,
    }


def _pillow_pixels(side: int, num_rows: int) -> np.ndarray | None:
    """What Pillow makes of the first rows, uint8; None where it is not installed."""
    from benchmarks.augment import libraries
    from benchmarks.augment.work import draw

    work = make_work(side, num_rows)
    try:
        pillow = libraries.pillow(work)
    except ImportError:
        return None
    return pillow.augment(draw(0, work), range(num_rows))


def _share_equal(
    candidate: Timed, reference: np.ndarray | None, side: int, num_rows: int
) -> float | None:
    """The share of images that agree with Pillow in every value, from equal draws."""
    from benchmarks.augment.work import draw

    if reference is None:
        return None
    pixels = candidate.replay(draw(0, make_work(side, num_rows)))
    return float(np.mean((pixels == reference).all(axis=(1, 2, 3))))


def _step(side: int, num_rows: int, setting: Setting) -> dict[str, Any]:
    """A training step on as many rows, and the device's bandwidth, where asked for."""
    from benchmarks.augment import engine

    if not setting.with_step or side not in STEPS:
        return {}
    name, model, options = STEPS[side]
    return {
        "step": name,
        "step_s": engine.step_seconds(model, options, num_rows, side, setting.rounds),
        "bandwidth": engine.copy_bandwidth(2**30),
    }


def machine() -> dict[str, str]:
    """What this runs on, and a short name of it for files."""
    import jax

    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    device = jax.devices()[0]
    is_cpu = device.platform == "cpu"
    label = cpu if is_cpu else device.device_kind
    words = "".join(c if c.isalnum() else " " for c in label.lower()).split()
    slug = "-".join(["cpu" if is_cpu else "gpu", *words[:4]])
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "device": label,
        "slug": slug,
        "os": f"{platform.system()} {platform.machine()}",
        "commit": _commit(),
    }


def _commit() -> str:
    """Of the code that is measured; a plus where it was changed since."""
    git = ["git", "-C", str(ROOT)]
    measured = ["aaa_jax", "benchmarks/*.py"]
    try:
        head = subprocess.check_output(
            [*git, "rev-parse", "--short", "HEAD"], text=True
        )
        state = [*git, "status", "--porcelain", "--", *measured]
        changed = subprocess.check_output(state, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+" if changed else "")


def versions() -> dict[str, str]:
    """Of Python and of each package here that matters."""
    found = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "numpy", "torch", *HOST.values()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
