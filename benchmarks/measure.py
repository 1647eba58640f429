"""What all benchmarks share: options, a process of its own, the machine, the page.

A benchmark makes a *record*, a dict that is written as JSON, and a Markdown page from
that record alone. What is measured is said in the benchmark. No JAX at import.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (  # whose versions a page names, where they are installed
    *("jax", "jaxlib", "numpy", "torch", "pillow", "opencv-python-headless"),
    *("albumentations", "torchvision", "kornia", "nvidia-dali-cuda130"),
    *("array-record", "tensorflow-datasets", "tensorflow", "tensorflow-cpu"),
)

Key = TypeVar("Key")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that all have; the help begins with the docstring's first line."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--quick", action="store_true", help="tiny: does it run?")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder of the page")
    return made


def some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an option that names several of these, with commas between."""
    names = list(known)

    def split(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in names]:
            wrong, allowed = ", ".join(unknown), ", ".join(names)
            raise argparse.ArgumentTypeError(f"{wrong}: use {allowed}")
        return chosen

    return split


def in_own_process(
    function: Callable[..., Any], environment: Mapping[str, str], /, **setting: Any
) -> Any:
    """What the function returns when a new Python calls it.

    The process has this one's environment and import path, and these variables from its
    start. The function must not be of a `__main__` module.
    """
    context = multiprocessing.get_context("spawn")
    with (
        mock.patch.dict(os.environ, environment),
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        return pool.submit(function, **setting).result()


def started(module: str, command_line: Sequence[str] | None) -> dict[str, Any]:
    """The beginning of a record: the command, and how busy the machine was."""
    words = sys.argv[1:] if command_line is None else command_line
    command = shlex.join(["python", "-m", f"benchmarks.{module}", *words])
    return {"command": command, "load_average": os.getloadavg()[0]}


def place() -> dict[str, Any]:
    """Where this process measures: the machine and the versions, for a record."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"machine": machine(), "versions": versions}


def machine() -> dict[str, str]:
    """What this runs on, and a short name of it for files."""
    import jax

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    cpu = models[0].strip() if models else platform.machine()
    device = jax.devices()[0]
    is_cpu = device.platform == "cpu"
    label = cpu if is_cpu else device.device_kind
    words = "".join(c if c.isalnum() else " " for c in label.lower()).split()
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "device": label,
        "slug": "-".join(["cpu" if is_cpu else "gpu", *words[:4]]),
        "os": f"{platform.system()} {platform.machine()}",
        "commit": _commit(),
    }


def _commit() -> str:
    """Of the code that is measured; a plus where it was changed since.

    A copy without git is told it by the variable COMMIT.
    """
    measured = ["aaa_jax", "benchmarks/*.py"]  # the star matches folders too
    try:
        head, changed = (
            subprocess.check_output(["git", "-C", str(ROOT), *words], text=True)
            for words in (
                ["rev-parse", "--short", "HEAD"],
                ["status", "--porcelain", "--", *measured],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("COMMIT", "unknown")
    return head.strip() + ("+" if changed else "")


def take_turns(
    runs: Mapping[Key, Callable[[int], Any]],
    rounds: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], Any] = time.perf_counter,
) -> dict[Key, list[Any]]:
    """What the clock says of each round of each run; rounds to warm up are left out."""
    taken: dict[Key, list[Any]] = {key: [] for key in runs}
    for turn in range(warm_up + rounds):
        for key, run in runs.items():
            start = clock()
            run(turn)
            taken[key].append(clock() - start)
    return {key: times[warm_up:] for key, times in taken.items()}


def seconds_of(run: Callable[[int], Any], rounds: int) -> list[float]:
    """Seconds of each round, after one to warm up."""
    return take_turns({"": run}, rounds)[""]


def speeds(num_images: int, seconds: Sequence[float]) -> dict[str, float]:
    """Images a second: the median of the rounds, the slowest, the fastest."""
    found = [num_images / s for s in seconds]
    median = float(np.median(found))
    return {"images_per_s": median, "slowest": min(found), "fastest": max(found)}


def head(title: str, record: Mapping[str, Any], *facts: str) -> list[str]:
    """The first lines of a page: how it was made, on what, and more facts."""
    here = record["machine"]
    names = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return [
        f"# {title}",
        "",
        f"Made by `{record['command']}`; what is measured is said there.",
        "",
        f"- device: {here['device']}; host: {here['cpu']}, {here['cores']} cores, "
        f"{here['os']}; commit {here['commit']}",
        f"- versions: {names}",
        f"- load average at the start: {record['load_average']:.1f}",
        *(f"- {fact}" for fact in facts),
    ]


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int = 1
) -> list[str]:
    """A Markdown table; rows that are too short end in dashes.

    So many columns from the left are text, the others are numbers.
    """
    rule = ["---"] * texts + ["---:"] * (len(heads) - texts)
    lines = [heads, rule, *([*row, *"–" * (len(heads) - len(row))] for row in rows)]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def page(lines: Iterable[str]) -> str:
    """The text of a file of these lines."""
    return "\n".join(lines) + "\n"


def write(out: Path, name: str, record: Mapping[str, Any], text: str) -> str:
    """Writes `NAME-DEVICE.json` and `.md` into the folder; returns the text."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{record['machine']['slug']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)
    return text
