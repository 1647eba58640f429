"""Times the steps of one network in one process, in each of the types.

Candidates take turns; a turn is some steps, with one before it that is not counted.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from aaa_jax.experiments import floors, sizes
from aaa_jax.experiments.build import build_model
from benchmarks import measure, plans
from benchmarks.train_step import jax_steps, presets

AAA, ACCUMULATED, ALONE, TORCH = (
    *("AAA step", "AAA step, 2 passes", "network's step alone", "PyTorch, network's"),
)
CANDIDATES = {"aaa": AAA, "accumulated": ACCUMULATED, "alone": ALONE, "torch": TORCH}


class Candidate(NamedTuple):
    """Something to time."""

    run: Callable[[int], None]  # does so many steps and waits for them
    facts: dict[str, float]  # compile_cold_s, compile_warm_s, memory_bytes, if known
    release: Callable[[], None] = lambda: None  # gives back memory that it keeps


def measure_network(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """A table for each type, by the options of the command."""
    tables = []
    for dtype in options.dtypes:
        config, spec = presets.network_config(
            network, dtype, options.rows, is_quick=options.quick
        )
        candidates, absent = _candidates(config, spec, options)
        seconds = _take_turns(candidates, options.steps, options.turns)
        table = {"network": network} | _facts(config, spec)
        measured = []
        for name, candidate in candidates.items():
            row = {"name": name} | measure.speeds(table["num_rows"], seconds[name])
            tflops = row["images_per_s"] * table["flops_per_row"] / 1e12
            measured.append(row | {"tflops": tflops} | candidate.facts)
        missing = [{"name": name, "why": why} for name, why in absent.items()]
        tables.append(table | {"rows": measured + missing})
    return measure.place() | {"tables": tables}


def _candidates(
    config: Any, spec: Any, options: argparse.Namespace
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Those that run, and why the others do not."""
    twice = config.copy_and_resolve_references()
    twice.num_passes = 2
    cache = None
    if options.cache:  # what was compiled in an earlier call is there
        folder = Path(jax.config.jax_compilation_cache_dir)
        cache = "warm" if folder.is_dir() and any(folder.iterdir()) else "cold"
    made = {
        AAA: lambda: _ours(jax_steps.aaa_step(config, spec), cache),
        ACCUMULATED: lambda: _ours(jax_steps.aaa_step(twice, spec), cache),
        ALONE: lambda: _ours(jax_steps.network_step(config, spec), cache),
        TORCH: lambda: _torch(config, spec, not options.quick),
    }
    chosen = [CANDIDATES[name] for name in options.candidates]
    absent = {name: "left out" for name in made if name not in chosen}
    found = {}
    for name in [name for name in made if name not in absent]:
        try:
            candidate = made[name]()
            candidate.run(1)
            [[seconds]] = _take_turns({name: candidate}, options.steps, 1).values()
            # A run that is stopped while it compiles the next one has said this much.
            speed = config.batch_size * config.policies.num_policies / seconds
            print(f"{name}: {speed:,.0f} images/s at a first look", flush=True)
        except Exception as error:  # not installed, out of memory, no compiler, …
            absent[name] = f"{type(error).__name__}: {str(error)[:100]}"
        else:
            found[name] = candidate
    return found, absent


def _ours(made: jax_steps.Step, cache: str | None) -> Candidate:
    """Compiled with an empty persistent cache, and from what that left there.

    Or once, where the cache is kept: "cold" (empty at the start) or "warm".
    """
    function, arguments = made
    facts = {}
    for kind in [cache] if cache else ["cold", "warm"]:
        jax.clear_caches()
        seconds, compiled = plans.compile_for(
            None, function, arguments, donate_argnums=0
        )
        facts[f"compile_{kind}_s"] = seconds
    state, *rest = arguments

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, result = compiled(state, *rest)
        jax.block_until_ready((state, result))

    facts["memory_bytes"] = float(plans.planned_bytes(compiled))
    return Candidate(run, facts)


def _torch(config: Any, spec: Any, is_compiled: bool) -> Candidate:
    from benchmarks.train_step import torch_step  # PyTorch is optional

    setting = presets.torch_setting(config, spec, is_compiled=is_compiled)
    num_rows = config.batch_size * config.policies.num_policies
    return Candidate(*torch_step.network_step(setting, num_rows, spec.image_size))


def _take_turns(
    candidates: dict[str, Candidate], steps: int, turns: int
) -> dict[str, list[float]]:
    """Seconds of a step in each turn."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, candidate in candidates.items():
            candidate.run(1)
            start = time.perf_counter()
            candidate.run(steps)
            seconds[name].append((time.perf_counter() - start) / steps)
            candidate.release()
    return seconds


def _facts(config: Any, spec: Any) -> dict[str, Any]:
    """What holds for every candidate of a table; what JAX used of the device so far."""
    model = build_model(config, spec.num_classes)
    device, dtype = jax.local_devices()[0], config.model.dtype
    kind, stats = device.device_kind, device.memory_stats() or {}
    num_rows = config.batch_size * config.policies.num_policies
    of_row = floors.work(model, spec.image_size, dtype)
    rates = floors.known_rates(kind, dtype)
    return {
        "dtype": dtype,
        "num_rows": num_rows,
        "side": spec.image_size,
        "group_size": sizes.layout(config).group_size,
        "options": config.model.options.to_dict(),
        "flops_per_row": of_row.train_operations,
        "peak_tflops": floors.peak(kind, dtype),
        "jax_peak_bytes": stats.get("peak_bytes_in_use"),
        # Seconds that no step can be faster than, by operations and by memory.
        "floor_s": rates
        and (
            num_rows * of_row.train_operations / rates.operations,
            num_rows * of_row.train_bytes / rates.bytes,
        ),
    }
