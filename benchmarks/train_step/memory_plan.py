"""Memory of a preset's whole training step on one device, by the compiler's plan.

    python -m benchmarks.train_step.memory_plan cifar10_wrn28x10 cifar10_pyramidnet:4
    python -m benchmarks.train_step.memory_plan imagenet_r50:32:remat --h100

PRESET:PASSES:remat, where passes and remat are as in `config.num_passes` and
`config.model.options.remat`; without them as the preset has it. Compiled from shapes at
full size for the default device, or with --h100 for one that is described
(`described.py`): nothing is run or allocated. Prints the rows of `docs/memory.md`.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from benchmarks import absent_gpu as described
from benchmarks.train_step import presets


class Plan(NamedTuple):
    """Bytes on the device, and seconds to compile."""

    arguments: int
    temporary: int
    total: int
    seconds: float


def main(command_line: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET[:PASSES[:remat]]")
    parser.add_argument("--h100", action="store_true", help="described, not present")
    options = parser.parse_args(command_line)
    try:
        configs = {text: read(text) for text in options.presets}
    except ValueError as error:
        parser.error(str(error))
    device: Any = described.h100() if options.h100 else contextlib.nullcontext()
    print("| preset | rows in a pass | passes | remat | GiB | compile, s |")
    print("| --- | ---: | ---: | --- | ---: | ---: |")
    with device as sharding:
        for text, config in configs.items():
            print(row(text.split(":")[0], config, plan(config, sharding)), flush=True)
    return 0


def read(text: str) -> ConfigDict:
    """The config of PRESET:PASSES:remat; ValueError names what is wrong."""
    name, _, more = text.partition(":")
    passes, _, remat = more.partition(":")
    if name not in presets.PRESETS:
        allowed = ", ".join(presets.PRESETS)
        raise ValueError(f"{name!r} is no preset: {allowed}")
    if (passes and not passes.isdecimal()) or remat not in ("", "remat"):
        raise ValueError(f"{text!r}: PRESET, PRESET:PASSES or PRESET:PASSES:remat")
    config = presets.get_config(name)
    config.num_passes = int(passes or config.num_passes)
    if remat:
        config.model.options.remat = True
    groups = _num_rows(config) // config.batch_norm.group_size
    if groups % config.num_passes:
        raise ValueError(
            f"{text!r}: {groups} groups of rows do not divide into {config.num_passes} "
            "passes"
        )
    return config


def plan(config: ConfigDict, sharding: jax.sharding.Sharding | None) -> Plan:
    """What the compiler needs for a step of the config."""
    made = presets.full_step(config)
    function = jax.jit(made.call, donate_argnums=0, **described.on(sharding))
    start = time.perf_counter()
    compiled: Any = function.lower(*made.shapes()).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return Plan(
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        presets.planned_bytes(compiled),
        seconds,
    )


def row(name: str, config: ConfigDict, made: Plan) -> str:
    """One line of the table."""
    remat = "yes" if config.model.options.get("remat", False) else ""
    rows, passes = _num_rows(config) // config.num_passes, config.num_passes
    gibibytes = made.total / 2**30
    return (
        f"| `{name}` | {rows} | {passes} | {remat} | {gibibytes:.1f} | "
        f"{made.seconds:.0f} |"
    )


def _num_rows(config: ConfigDict) -> int:
    return config.batch_size * config.policies.num_policies


if __name__ == "__main__":
    sys.exit(main())
