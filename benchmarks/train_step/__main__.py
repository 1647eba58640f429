"""Images per second of the training step, this project's and PyTorch's, in one run.

    python -m benchmarks.train_step            every network, bfloat16 and float32
    python -m benchmarks.train_step --quick    tiny networks, few steps: does it run?

Per network and type: the whole AAA step on synthetic images (gather, augment with M = 8
random policies, forward, backward, clipping, update, averages), the same in two passes
of accumulation, the step of the network alone, and that of the same network in PyTorch
(channels last, autocast, torch.compile). Candidates take turns, a turn is some steps; a
number is the median of the turns. Each network has a process of its own.
Writes JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.augment.__main__ import ROOT, machine, versions
from benchmarks.train_step.page import markdown

# Name -> preset, and rows of a step that leave room for a second framework in 80 GB.
NETWORKS = {
    "wrn40x2": ("cifar10_wrn40x2", 1024),
    "wrn28x10": ("cifar10_wrn28x10", 1024),
    "shake26_2x32d": ("cifar10_shake26_2x32d", 1024),
    "shake26_2x96d": ("cifar10_shake26_2x96d", 1024),
    "shake26_2x112d": ("cifar10_shake26_2x112d", 1024),
    "pyramidnet": ("cifar10_pyramidnet", 256),
    "r50": ("imagenet_r50", 512),
    "r50d": ("imagenet_r50d", 512),
    "r200": ("imagenet_r200", 256),
}
TINY = {  # options of --quick
    "wide_resnet": {"depth": 10, "width": 1},
    "shake_shake": {"depth": 8, "width": 4},
    "pyramidnet": {"depth": 11, "widening": 6},
    "resnet": {"depth": 14, "width": 4},
}
QUICK = ("wrn28x10", "shake26_2x32d")  # of --quick, unless --networks says more
DTYPES = ("bfloat16", "float32")
AAA, ACCUMULATED, ALONE, TORCH = (
    *("AAA step", "AAA step, 2 passes", "network's step alone", "PyTorch, network's"),
)
CANDIDATES = {"aaa": AAA, "accumulated": ACCUMULATED, "alone": ALONE, "torch": TORCH}


def main(command_line: Sequence[str] | None = None) -> None:
    """Start one process per network, collect, write."""
    options = _parse(command_line)
    if options.worker:
        options.out.write_text(json.dumps(measure(**json.loads(options.worker))))
        return
    words = sys.argv[1:] if command_line is None else command_line
    record: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.train_step", *words]),
        "load_average": os.getloadavg()[0],
        "networks": [],
    }
    for network in options.networks:
        result = _in_own_process(network, options)
        record |= {key: result.pop(key) for key in ("machine", "versions")}
        record["networks"] += result["tables"]
        _write(record, options)  # a run that is cut short leaves what it has
    print(markdown(record))


def _write(record: dict[str, Any], options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}-{record['machine']['slug']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(record))


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    def names(known: Sequence[str]) -> Any:
        def split(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := [name for name in chosen if name not in known]:
                raise argparse.ArgumentTypeError(
                    f"{', '.join(unknown)}: use {', '.join(known)}"
                )
            return chosen

        return split

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=names(tuple(NETWORKS)), default=None)
    parser.add_argument("--dtypes", type=names(DTYPES), default=None)
    parser.add_argument(
        "--candidates", type=names(tuple(CANDIDATES)), default=list(CANDIDATES)
    )
    parser.add_argument("--rows", type=int, default=0, help="N M; 0: per network")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="tiny, for tests")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--no-torch-compile", action="store_true")
    parser.add_argument("--name", default="train_step", help="of the files")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(command_line)
    if options.rows % 16:
        parser.error(f"--rows {options.rows}: a multiple of 16 (M = 8, two passes)")
    options.networks = options.networks or list(QUICK if options.quick else NETWORKS)
    options.dtypes = options.dtypes or list(DTYPES[1:] if options.quick else DTYPES)
    if options.no_torch:
        options.candidates = [c for c in options.candidates if c != "torch"]
    if options.quick:
        options.rows, options.steps, options.turns = options.rows or 16, 2, 2
    return options


def _in_own_process(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run `measure` with an empty compilation cache, and memory taken as needed."""
    setting = {
        "network": network,
        "dtypes": options.dtypes,
        "rows": options.rows,
        "steps": options.steps,
        "turns": options.turns,
        "is_quick": options.quick,
        "chosen": [CANDIDATES[name] for name in options.candidates],
        "compile_torch": not (options.no_torch_compile or options.quick),
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        out = Path(folder) / "result.json"
        worker = ["--worker", json.dumps(setting), f"--out={out}"]
        command = [sys.executable, "-m", "benchmarks.train_step", *worker]
        subprocess.run(command, env=environment, check=True)
        return json.loads(out.read_text())


def measure(
    *,
    network: str,
    dtypes: list[str],
    rows: int,
    steps: int,
    turns: int,
    is_quick: bool,
    chosen: list[str],
    compile_torch: bool,
) -> dict[str, Any]:
    """One network in this process, in each of the types."""
    from benchmarks.train_step import jax_steps as step_jax

    tables = []
    for dtype in dtypes:
        config, spec = make_config(network, dtype, rows, is_quick)
        candidates, absent = _candidates(config, spec, chosen, compile_torch)
        seconds = _take_turns(candidates, steps, turns)
        num_rows = config.batch_size * config.policies.num_policies
        table = _facts(network, config, spec, num_rows) | step_jax.device_peak()
        table["rows"] = [
            _row(candidate, seconds[candidate.name], num_rows, table)
            for candidate in candidates
        ] + [{"name": name, "why": why} for name, why in absent.items()]
        tables.append(table)
    return {"machine": machine(), "versions": versions(), "tables": tables}


def make_config(network: str, dtype: str, rows: int, is_quick: bool) -> Any:
    """The preset's config for so many rows, and its dataset's description."""
    from benchmarks.train_step import presets

    preset, usual_rows = NETWORKS[network]
    config = presets.get_config(preset, "random")
    config.model.dtype = dtype
    config.batch_size = (rows or usual_rows) // config.policies.num_policies
    config.batch_norm.group_size = min(config.batch_norm.group_size, config.batch_size)
    config.num_passes = 1
    config.epochs = max(config.epochs, 100)
    spec = presets.describe(config)
    if is_quick:
        config.model.options = TINY[config.model.name]
        spec = spec._replace(image_size=32, num_classes=10)
    return config, spec


def _candidates(
    config: Any, spec: Any, chosen: Sequence[str], compile_torch: bool
) -> tuple[list[Any], dict[str, str]]:
    """Those that run, and the others with the reason."""
    from benchmarks.train_step import jax_steps as step_jax

    twice = config.copy_and_resolve_references()
    twice.num_passes = 2
    made = {
        AAA: lambda: step_jax.aaa_step(AAA, config, spec),
        ACCUMULATED: lambda: step_jax.aaa_step(ACCUMULATED, twice, spec),
        ALONE: lambda: step_jax.network_step(ALONE, config, spec),
        TORCH: lambda: _torch_step(config, spec, compile_torch),
    }
    absent = {name: "left out" for name in made if name not in chosen}
    if TORCH in chosen and util.find_spec("torch") is None:
        absent[TORCH] = "not installed"
    found = []
    for name in [name for name in made if name not in absent]:
        try:
            candidate = made[name]()
            candidate.run(1)
            candidate.release()
        except Exception as error:  # out of memory, no compiler, ...: a row says so
            absent[name] = f"{type(error).__name__}: {str(error)[:100]}"
        else:
            found.append(candidate)
    return found, absent


def _torch_step(config: Any, spec: Any, compile_torch: bool) -> Any:
    from benchmarks.train_step import torch_step as step_torch

    setting = {
        "num_rows": config.batch_size * config.policies.num_policies,
        "side": spec.image_size,
        "num_classes": spec.num_classes,
        "dtype": config.model.dtype,
        "compile": compile_torch,
        "learning_rate": config.optimizer.learning_rate,
        "weight_decay": config.optimizer.weight_decay,
        "clip_norm": config.optimizer.clip_norm,
    }
    options = config.model.options.to_dict()
    return step_torch.network_step(TORCH, config.model.name, options, setting)


def _take_turns(
    candidates: Sequence[Any], steps: int, turns: int
) -> dict[str, list[float]]:
    """Seconds of a step in each turn; a step before each is not counted."""
    seconds: dict[str, list[float]] = {c.name: [] for c in candidates}
    for _ in range(turns):
        for candidate in candidates:
            candidate.run(1)
            start = time.perf_counter()
            candidate.run(steps)
            seconds[candidate.name].append((time.perf_counter() - start) / steps)
            candidate.release()
    return seconds


def _facts(network: str, config: Any, spec: Any, num_rows: int) -> dict[str, Any]:
    """What holds for every candidate of a table."""
    import jax

    from aaa_jax.experiments.build import build_model
    from benchmarks.train_step import flops

    model = build_model(config, spec.num_classes)
    device = jax.devices()[0]
    return {
        "network": network,
        "dtype": config.model.dtype,
        "num_rows": num_rows,
        "side": spec.image_size,
        "group_size": config.batch_norm.group_size,
        "options": config.model.options.to_dict(),
        "flops_per_row": flops.training_flops(model, spec.image_size),
        "peak_tflops": flops.peak(device.device_kind, config.model.dtype),
    }


def _row(
    candidate: Any, seconds: list[float], num_rows: int, table: dict[str, Any]
) -> dict[str, Any]:
    speeds = [num_rows / s for s in seconds]
    speed = float(np.median(speeds))
    return {
        "name": candidate.name,
        "images_per_s": speed,
        "slowest": min(speeds),
        "fastest": max(speeds),
        "tflops": speed * table["flops_per_row"] / 1e12,
        **candidate.facts,
    }


if __name__ == "__main__":
    main()
