"""Times the candidates of a core setting in one process, which is pinned from outside.

Candidates take turns; two rounds to warm up are left out.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import measure
from benchmarks.augment import engine, host, libraries
from benchmarks.augment.work import Work, draw
from benchmarks.train_step import jax_steps, presets

DRIVERS = {"this engine (map)": "map", "this engine (vmap)": "vmap"}
NAIVE = "vmap of lax.switch"
CANDIDATES = (*DRIVERS, NAIVE, *host.MAKERS)
LACKING = {"augmax": "lacks 9 of the 16 ops"}  # 0.4.1; see README.md
STEPS = {32: "wrn28x10", 224: "r50"}  # the step that a side's augmentation is beside


class Timed(NamedTuple):
    """A candidate ready to run; see `engine.Compiled` and `host.Started`."""

    run: Callable[[int], Any]
    replay: Callable[[Any], np.ndarray]
    facts: dict[str, float]
    stop: Callable[[], None]


def measure_sizes(
    *,
    is_spread: bool,
    sizes: Sequence[tuple[int, int]],
    rounds: int,
    only: Sequence[str],
    with_step: bool,
) -> dict[str, Any]:
    """All sizes (side, rows) in this process.

    On one core CPU seconds are counted, which other processes do not lengthen.
    """
    cores = len(os.sched_getaffinity(0))
    is_pinned = cores == 1 and jax.default_backend() == "cpu"
    clock = time.process_time if is_pinned else time.perf_counter
    measured = {}
    for side, num_rows in sizes:
        work = engine.make_work(side, num_rows)
        candidates, absent = _candidates(work, only, is_spread=is_spread)
        seconds = _take_turns(candidates, rounds, clock)
        for candidate in candidates.values():
            candidate.stop()
        equal = _shares_equal(candidates, work)
        rows = [
            {"name": name, "facts": candidate.facts, "equal": equal[name]}
            | measure.speeds(num_rows, seconds[name])
            for name, candidate in candidates.items()
        ]
        missing = [{"name": name, "why": why} for name, why in absent.items()]
        measured[str(side)] = {"rows": num_rows, "candidates": [*rows, *missing]}
        if with_step and side in STEPS:
            measured[str(side)] |= {
                "step": STEPS[side],
                "step_s": step_seconds(STEPS[side], num_rows, rounds),
                "bandwidth": engine.copy_bandwidth(2**30),
            }
    return measure.place() | {
        "cores": cores,
        "devices": jax.local_device_count(),
        "clock": "CPU seconds" if is_pinned else "seconds",
        "sizes": measured,
    }


def _candidates(
    work: Work, only: Sequence[str], *, is_spread: bool
) -> tuple[dict[str, Timed], dict[str, str]]:
    """Those that are installed, and why the others are not here."""
    backend = jax.default_backend()
    num_devices = jax.local_device_count() if backend == "cpu" else 1
    found: dict[str, Timed] = {}
    absent: dict[str, str] = {}
    for name in only:
        if name in host.MAKERS:
            try:
                run, replay, stop = host.start(name, work, is_spread=is_spread)
            except ImportError:
                absent[name] = "not installed"
            else:
                found[name] = Timed(run, replay, {}, stop)
        elif backend != "cpu" and DRIVERS.get(name) == "map":
            absent[name] = f"not made for a {backend}"
        else:
            driver = DRIVERS.get(name)
            apply = engine.engine(work, driver) if driver else engine.naive(work)
            compiled = engine.compile_candidate(work, apply, num_devices)
            found[name] = Timed(*compiled, lambda: None)
    return found, absent | LACKING


def _take_turns(
    candidates: Mapping[str, Timed], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each round of each candidate."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 2):
        for name, candidate in candidates.items():
            start = clock()
            jax.block_until_ready(candidate.run(turn))
            seconds[name].append(clock() - start)
    return {name: taken[2:] for name, taken in seconds.items()}


def _shares_equal(candidates: Mapping[str, Timed], work: Work) -> dict[str, float]:
    """The share of images that agree with Pillow in every value, from equal draws."""
    draws = draw(0, work)
    expected = libraries.pillow(work).augment(draws, range(work.num_rows))
    return {
        name: float((candidate.replay(draws) == expected).all(axis=(1, 2, 3)).mean())
        for name, candidate in candidates.items()
    }


def step_seconds(
    network: str, num_rows: int, rounds: int, *, is_quick: bool = False
) -> float:
    """Median time of forward, backward and update of a network on so many rows."""
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    config, spec = presets.network_config(network, dtype, num_rows, is_quick=is_quick)
    step, (state, *rest) = jax_steps.network_step(config, spec)
    compiled = jax.jit(step, donate_argnums=0)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        state, loss = compiled(state, *rest)
        jax.block_until_ready((state, loss))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))
