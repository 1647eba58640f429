"""How many images per second does a training step take, this project's and PyTorch's?

    python -m benchmarks.train_step            every network, bfloat16 and float32
    python -m benchmarks.train_step --quick    tiny networks, few steps: does it run?

Per network and type: the whole AAA step on synthetic images (gather, augment with M = 8
random policies, forward, backward, clipping, update, averages), the same in two passes
of accumulation, the step of the network alone, and that of the same network in PyTorch
(channels last, autocast, torch.compile). Candidates take turns, a turn is some steps; a
number is the median of the turns. Each network has a process of its own, with an empty
compilation cache, or with --cache=FOLDER, which keeps compiled programs, what is there:
then nothing is compiled twice. Writes JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import measure
from benchmarks.train_step.candidates import (
    AAA,
    ALONE,
    CANDIDATES,
    TORCH,
    measure_network,
)
from benchmarks.train_step.presets import NETWORKS

QUICK = ("wrn28x10", "shake26_2x32d")  # of --quick, unless --networks says more
DTYPES = ("bfloat16", "float32")
GOALS = {"r50": (2600, 7000)}  # images/s: what others reach, and the best known
COLUMNS = (
    *("candidate", "images/s", "× PyTorch", "TFLOP/s", "of the peak"),
    *("compile, s", "with cache, s", "memory, GiB"),
)


def main(command_line: Sequence[str] | None = None) -> None:
    options = _parse(command_line)
    record = measure.started("train_step", command_line) | {"networks": []}
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "JAX_COMPILATION_CACHE_DIR": os.path.join(
                    options.cache or folder, network
                ),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            result = measure.in_own_process(
                measure_network, environment, network=network, options=options
            )
        record["networks"] += result.pop("tables")
        record |= result
        # A run that is cut short leaves what it has.
        text = measure.write(options.out, options.name, record, markdown(record))
    print(text)


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = measure.parser(__doc__)
    parser.add_argument("--networks", type=measure.some_of(NETWORKS))
    parser.add_argument("--dtypes", type=measure.some_of(DTYPES))
    parser.add_argument(
        "--candidates", type=measure.some_of(CANDIDATES), default=list(CANDIDATES)
    )
    parser.add_argument("--rows", type=int, default=0, help="N M; 0: per network")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--name", default="train_step", help="of the files")
    parser.add_argument("--cache", default="", help="compiled programs, kept there")
    options = parser.parse_args(command_line)
    if options.rows % 16:
        parser.error(f"--rows {options.rows}: a multiple of 16 (M = 8, two passes)")
    options.networks = options.networks or list(QUICK if options.quick else NETWORKS)
    options.dtypes = options.dtypes or list(DTYPES[1:] if options.quick else DTYPES)
    if options.quick:
        options.rows, options.steps, options.turns = options.rows or 16, 2, 2
    return options


def markdown(record: dict[str, Any]) -> str:
    """Device, versions, command, then one table per network and type."""
    lines = measure.head(
        "Speed of the training step",
        record,
        "TFLOP/s: operations of convolutions and matrix products counted by formula, "
        "without recomputation and augmentation (`aaa_jax/experiments/floors.py`)",
        "memory: of our programs by XLA's plan, of PyTorch the allocator's peak",
        "BatchNorm: groups of b rows in ours, all rows in PyTorch's",
    )
    for table in record["networks"]:
        lines += ["", *_section(table)]
    return measure.page(lines)


def _section(table: dict[str, Any]) -> Iterable[str]:
    options = ", ".join(f"{key} {value}" for key, value in table["options"].items())
    speeds = {row["name"]: row.get("images_per_s") for row in table["rows"]}
    yield (
        f"## {table['network']} ({options}), {table['dtype']}, {table['num_rows']} "
        f"rows of {table['side']} px, b = {table['group_size']}"
    )
    yield ""
    rows = [_cells(row, speeds.get(TORCH), table) for row in table["rows"]]
    yield from measure.table(COLUMNS, rows)
    notes = []
    if table["floor_s"] is not None:
        compute, memory = table["floor_s"]
        notes.append(
            f"no step is faster than {1e3 * compute:.1f} ms of operations at the peak "
            f"and {1e3 * memory:.1f} ms of activations at the bandwidth; one after the "
            f"other, {table['num_rows'] / (compute + memory):,.0f} images/s"
        )
    if speeds.get(AAA) and speeds.get(ALONE):
        share = 100 * (1 - speeds[AAA] / speeds[ALONE])
        notes.append(f"augmentation and averages: {share:.1f} % of the AAA step")
    if table["network"] in GOALS and speeds.get(AAA):
        goal, best = GOALS[table["network"]]
        notes.append(
            f"the AAA step: {speeds[AAA] / goal:.2f} of the goal, {goal:,} images/s "
            f"(timm, an A100), {speeds[AAA] / best:.2f} of {best:,} (MLPerf, an H100)"
        )
    if table["jax_peak_bytes"] is not None:
        peak = table["jax_peak_bytes"] / 2**30
        notes.append(f"JAX's peak on the device so far: {peak:.1f} GiB")
    yield from ["", *(f"- {note}" for note in notes)] if notes else []


def _cells(
    row: dict[str, Any], torch: float | None, table: dict[str, Any]
) -> list[str]:
    if "why" in row:
        return [row["name"], row["why"]]
    speed, peak = row["images_per_s"], table["peak_tflops"]
    return [
        row["name"],
        f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}",
        f"{speed / torch:.2f}" if torch else "–",
        f"{row['tflops']:.3g}",
        f"{100 * row['tflops'] / peak:.1f} %" if peak else "–",
        *(
            f"{row[key] / unit:.2f}" if key in row else "–"
            for key, unit in (
                *(("compile_cold_s", 1), ("compile_warm_s", 1)),
                ("memory_bytes", 2**30),
            )
        ),
    ]


if __name__ == "__main__":
    main()
