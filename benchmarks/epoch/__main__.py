"""How many images per second does the whole loop of an AAA epoch take, and PyTorch's?

    python -m benchmarks.epoch                     this loop and PyTorch's, two networks
    python -m benchmarks.epoch --candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2
    python -m benchmarks.epoch --quick             tiny, two steps: does it run?

Ours is `train_and_evaluate` itself, watchdog, progress line and controller included,
on a train split that lives on the device; the seconds are those of its `timing.jsonl`,
without evaluation and checkpoint. `jit:2` is a mapping and how many steps are
dispatched ahead. PyTorch's is `torch_loop.py`, on the same images and policies. An
epoch is cut to some dozen steps, so that ours has its controller update more often than
really; the first epoch, which compiles, is not counted; a number is the median of the
others, and 390 such steps are an epoch.
Images are noise unless --data-dir names CIFAR-10: no pixel changes the speed of ours,
and of Pillow hardly. Each network has a process for ours and one for PyTorch's. Writes
JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.epoch import our_loop
from benchmarks.train_step.presets import NETWORKS

TORCH = "torch"
MAPPINGS = ("jit", "pmap", "shard_map")
STEPS_PER_EPOCH = 390  # of CIFAR-10 at N = 128
NETWORK_CHOICES = tuple(name for name in NETWORKS if not name.startswith("r"))


def main(command_line: Sequence[str] | None = None) -> None:
    options = _parse(command_line)
    record = measure.started("epoch", command_line) | {"networks": []}
    for network in options.networks:
        result = _measure(network, options)
        record["networks"].append(result.pop("table"))
        record |= result
    print(measure.write(options.out, options.name, record, markdown(record)))


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = measure.parser(__doc__)
    names = measure.some_of(NETWORK_CHOICES)
    parser.add_argument("--networks", type=names, default=["wrn28x10", "wrn40x2"])
    parser.add_argument("--candidates", type=_candidates, default=["jit:2", TORCH])
    parser.add_argument("--steps", type=int, default=60, help="of a short epoch")
    parser.add_argument("--epochs", type=int, default=4, help="that are counted")
    parser.add_argument(
        "--batch-size", "--batch_size", type=int, default=128, help="N; M is 8"
    )
    parser.add_argument(
        "--data-dir", "--data_dir", default="", help="TFDS folder; default: noise"
    )
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--name", default="epoch", help="of the files")
    options = parser.parse_args(command_line)
    if options.quick:
        options.steps, options.epochs, options.batch_size = 2, 2, 8
        options.workers = options.workers or 1
    return options


def _candidates(text: str) -> list[str]:
    for candidate in text.split(","):
        mapping, _, ahead = candidate.partition(":")
        if candidate != TORCH and (mapping not in MAPPINGS or not ahead.isdecimal()):
            raise argparse.ArgumentTypeError(
                f"{candidate}: use torch, or one of {', '.join(MAPPINGS)} with the "
                "number of steps dispatched ahead, such as jit:2"
            )
    return text.split(",")


def _measure(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """`our_loop` and `torch_loop`, each in a process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": folder,
        }
        result, torch = measure.in_own_process(
            our_loop.measure_candidates, environment, network=network, options=options
        )
    if TORCH in options.candidates:
        row = _torch_row(torch | {"options": options})
        result["table"]["rows"].append({"name": TORCH} | row)
    return result


def _torch_row(arguments: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's row, or the reason why there is none."""
    try:
        from benchmarks.epoch import torch_loop

        return measure.in_own_process(torch_loop.measure_loop, {}, **arguments)
    except Exception as error:  # not installed, out of memory, no compiler, …
        return {"why": f"{type(error).__name__}: {str(error)[:100]}"}


def markdown(record: dict[str, Any]) -> str:
    lines = measure.head("Speed of the whole loop of an epoch", record)
    for table in record["networks"]:
        lines += ["", *_section(table)]
    return measure.page(lines)


def _section(table: dict[str, Any]) -> Iterator[str]:
    num_rows = table["num_rows"]
    measured = [row for row in table["rows"] if "why" not in row]
    torch = next((r["seconds"] for r in measured if r["name"] == TORCH), None)
    yield (
        f"## {table['network']}, {table['dtype']}, {num_rows} rows a step, "
        f"{table['images']}"
    )
    yield ""
    heads = ["loop", "augmented images/s", "ms a step (fastest–slowest epoch)"]
    heads += [f"{STEPS_PER_EPOCH} steps, s", "× PyTorch", "before the first step, s"]
    yield from measure.table(
        heads, [_cells(row, num_rows, torch) for row in table["rows"]]
    )
    yield ""
    for row in measured:
        yield from _notes(row, num_rows)


def _cells(row: dict[str, Any], num_rows: int, torch: list[float] | None) -> list[str]:
    if "why" in row:
        return [_label(row), row["why"]]
    seconds = row["seconds"]
    step = float(np.median(seconds))
    return [
        _label(row),
        f"{num_rows / step:,.0f}",
        f"{1e3 * step:.1f} ({1e3 * min(seconds):.1f}–{1e3 * max(seconds):.1f})",
        f"{STEPS_PER_EPOCH * step:.1f}",
        f"{np.median(torch) / step:.2f}" if torch else "–",
        f"{row['first_s']:.1f}",
    ]


def _label(row: dict[str, Any]) -> str:
    if row["name"] == TORCH:
        workers = f", {row['workers']} workers" if "workers" in row else ""
        return f"PyTorch, Pillow{workers}"
    mapping, _, ahead = row["name"].partition(":")
    return f"ours, {mapping}, {row['devices']} device(s), {ahead} steps ahead"


def _notes(row: dict[str, Any], num_rows: int) -> Iterator[str]:
    """What bounds PyTorch's loop; what the controller takes of ours."""
    if row["name"] == TORCH:
        yield (
            f"- PyTorch on {row['device']}: its step on rows that are there "
            f"{1e3 * row['step_s']:.1f} ms, a batch of its loader without training "
            f"{1e3 * row['batch_s']:.1f} ms ({num_rows / row['batch_s']:,.0f} images/s)"
        )
    elif row["controller_s"] is not None:
        yield (
            f"- {_label(row)}: a sample of policies and a controller update take "
            f"{1e3 * row['controller_s']:.1f} ms, once an epoch"
        )


if __name__ == "__main__":
    main()
