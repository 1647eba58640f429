"""How much memory does a preset's whole training step need on one device?

    python -m benchmarks.train_step.memory_plan cifar10_wrn28x10 cifar10_pyramidnet:4
    python -m benchmarks.train_step.memory_plan imagenet_r50:32:remat --h100

By the compiler's plan. PRESET:PASSES:remat, where passes and remat are as in
`config.num_passes` and `config.model.options.remat`; without them one pass, no remat.
Compiled from shapes at full size for the default device, or with --h100 for one that is
described (`plans.py`): nothing is run or allocated. Prints rows of `docs/memory.md`.
"""

import argparse
from collections.abc import Sequence

from ml_collections import ConfigDict

from aaa_jax.experiments import sizes
from benchmarks import measure, plans
from benchmarks.train_step import presets

HEADS = ("preset", "rows in a pass", "passes", "remat", "GiB", "compile, s")


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "presets", nargs="+", type=read, metavar="PRESET[:PASSES[:remat]]"
    )
    parser.add_argument("--h100", action="store_true", help="described, not present")
    options = parser.parse_args(command_line)
    print("\n".join(measure.table(HEADS, [])))
    with plans.target(is_h100=options.h100) as sharding:
        for name, config in options.presets:
            made = presets.full_step(config)
            seconds, compiled = plans.compile_for(
                sharding, made.call, made.shapes(), donate_argnums=0
            )
            print(row(name, config, plans.planned_bytes(compiled), seconds), flush=True)


def read(text: str) -> tuple[str, ConfigDict]:
    """PRESET and the config of PRESET:PASSES:remat."""
    name, _, more = text.partition(":")
    passes, _, remat = more.partition(":")
    if name not in presets.PRESETS:
        allowed = ", ".join(presets.PRESETS)
        raise argparse.ArgumentTypeError(f"{name!r} is no preset: {allowed}")
    if (passes and not passes.isdecimal()) or remat not in ("", "remat"):
        raise argparse.ArgumentTypeError(
            f"{text!r}: PRESET, PRESET:PASSES or PRESET:PASSES:remat"
        )
    config = presets.get_config(name)
    config.num_passes = int(passes or config.num_passes or 1)
    if remat:
        config.model.options.remat = True
    groups = sizes.layout(config).num_groups
    if groups % config.num_passes:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {groups} groups of rows do not divide into {config.num_passes} "
            "passes"
        )
    return name, config


def row(name: str, config: ConfigDict, num_bytes: int, seconds: float) -> str:
    """One line of the table."""
    is_remat = config.model.options.get("remat", False)
    num_rows = config.batch_size * config.policies.num_policies
    cells = [
        f"`{name}`",
        num_rows // config.num_passes,
        config.num_passes,
        "yes" if is_remat else "",
        f"{num_bytes / 2**30:.1f}",
        f"{seconds:.0f}",
    ]
    return measure.table(HEADS, [cells])[-1]


if __name__ == "__main__":
    main()
