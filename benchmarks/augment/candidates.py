"""Times the candidates of a core setting in one process, which is pinned from outside.

Candidates take turns; two rounds to warm up are left out.
"""

import argparse
import functools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from benchmarks import measure
from benchmarks.augment import engine, host, libraries, torch_libraries
from benchmarks.augment.work import Candidate, Work, draw

DRIVERS = {"this engine (map)": "map", "this engine (vmap)": "vmap"}
NAIVE = "vmap of lax.switch"
CANDIDATES = (*DRIVERS, NAIVE, *host.MAKERS)
LACKING = {"augmax": "lacks 9 of the 16 ops"}  # 0.4.1; see README.md
ROWS = {32: 1024, 224: 128, 256: 512}  # side -> rows
QUICK_ROWS = {8: 16}


def measure_sizes(*, is_spread: bool, options: argparse.Namespace) -> dict[str, Any]:
    """All sizes in this process, by the options of the command."""
    cores = len(os.sched_getaffinity(0))
    is_pinned = cores == 1 and jax.default_backend() == "cpu"
    clock = time.process_time if is_pinned else time.perf_counter
    measured = {}
    sizes = (
        QUICK_ROWS if options.quick else {int(s): ROWS[int(s)] for s in options.sides}
    )
    for side, num_rows in sizes.items():
        work = engine.make_work(side, num_rows)
        candidates, absent = _candidates(work, options.only, is_spread=is_spread)
        runs = {name: candidate.run for name, candidate in candidates.items()}
        seconds = measure.take_turns(runs, options.rounds, warm_up=2, clock=clock)
        for name, candidate in candidates.items():
            candidate.stop()
            speed = measure.speeds(num_rows, seconds[name])["images_per_s"]
            print(f"{side} px, {name}: {speed:,.0f} images/s", flush=True)
        equal = _shares_equal(candidates, work)
        rows = [
            {"name": name, "facts": candidate.facts, "equal": equal[name]}
            | measure.speeds(num_rows, seconds[name])
            for name, candidate in candidates.items()
        ]
        missing = [{"name": name, "why": why} for name, why in absent.items()]
        measured[str(side)] = {
            "rows": num_rows,
            "candidates": [*rows, *missing],
            "bandwidth": engine.copy_bandwidth(2**20 if options.quick else 2**28),
        }
    return measure.place() | {
        "cores": cores,
        "devices": jax.local_device_count(),
        "clock": "CPU seconds" if is_pinned else "seconds",
        "torch": torch_libraries.device_name(),
        "sizes": measured,
    }


def _candidates(
    work: Work, only: Sequence[str], *, is_spread: bool
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Those that are installed, and why the others are not here."""
    backend = jax.default_backend()
    num_devices = jax.local_device_count() if backend == "cpu" else 1
    found: dict[str, Candidate] = {}
    absent: dict[str, str] = {}
    for name in only:
        if name in host.MAKERS:
            try:
                found[name] = host.start(name, work, is_spread=is_spread)
                found[name].run(0)
            except ImportError:
                absent[name] = "not installed"
            except Exception as error:  # of a library's, on a device of its own
                found.pop(name, None)
                absent[name] = f"{type(error).__name__}: {str(error)[:100]}"
        elif backend != "cpu" and DRIVERS.get(name) == "map":
            absent[name] = f"not made for a {backend}"
        else:
            apply = engine.naive
            if name in DRIVERS:
                apply = functools.partial(engine.by_driver, DRIVERS[name])
            found[name] = engine.compile_candidate(work, apply, num_devices)
    return found, absent | LACKING


def _shares_equal(
    candidates: Mapping[str, Candidate], work: Work
) -> dict[str, float | None]:
    """The share of images that agree with Pillow in every value, from equal draws."""
    draws = draw(0, work)
    expected = libraries.pillow(work).augment(draws, range(work.num_rows))
    made = {name: candidate.replay(draws) for name, candidate in candidates.items()}
    return {
        name: None
        if images is None
        else float((images == expected).all(axis=(1, 2, 3)).mean())
        for name, images in made.items()
    }
