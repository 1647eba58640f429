"""Images per second of the whole loop of an AAA epoch, and PyTorch's on the same work.

    python -m benchmarks.epoch                     this loop and PyTorch's, two networks
    python -m benchmarks.epoch --candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2
    python -m benchmarks.epoch --quick             tiny, two steps: does it run?

Ours is `train_and_evaluate` itself, watchdog, progress line and controller included,
on a train split that lives on the device; the seconds are those of its `timing.jsonl`,
without evaluation and checkpoint. `jit:2` is a mapping and how many steps are
dispatched ahead. PyTorch's is `torch_loop.py`. An epoch is cut to some dozen steps, so
that ours has its controller update more often than really; the first epoch, which
compiles, is not counted; a number is the median of the others, and 390 such steps are
an epoch.
Images are noise unless --data_dir names CIFAR-10: no pixel changes the speed of ours,
and of Pillow hardly. Writes JSON and a Markdown table to benchmarks/results/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.augment.__main__ import ROOT, machine, make_work, versions
from benchmarks.augment.page import provenance
from benchmarks.train_step.__main__ import NETWORKS, TINY

TORCH = "torch"
MAPPINGS = ("jit", "pmap", "shard_map")
STEPS_PER_EPOCH = 390  # of CIFAR-10 at N = 128
NETWORK_CHOICES = tuple(name for name in NETWORKS if not name.startswith("r"))


def main(command_line: Sequence[str] | None = None) -> None:
    """One process per network for ours, one for PyTorch's; collect, write."""
    options = _parse(command_line)
    if options.worker:
        options.out.write_text(json.dumps(measure(**json.loads(options.worker))))
        return
    words = sys.argv[1:] if command_line is None else command_line
    record: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.epoch", *words]),
        "load_average": os.getloadavg()[0],
        "networks": [],
    }
    for network in options.networks:
        result = _in_own_process(network, options)
        record |= {key: result.pop(key) for key in ("machine", "versions")}
        record["networks"].append(result)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}-{record['machine']['slug']}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(record))
    print(markdown(record))


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="wrn28x10,wrn40x2")
    parser.add_argument("--candidates", default="jit:2,torch")
    parser.add_argument("--steps", type=int, default=60, help="of a short epoch")
    parser.add_argument("--epochs", type=int, default=4, help="that are counted")
    parser.add_argument("--batch_size", type=int, default=128, help="N; M is 8")
    parser.add_argument("--data_dir", default="", help="TFDS folder; default: noise")
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--no-torch-compile", action="store_true")
    parser.add_argument("--name", default="epoch", help="of the files")
    parser.add_argument("--quick", action="store_true", help="tiny, for tests")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(command_line)
    options.networks = options.networks.split(",")
    if unknown := set(options.networks) - set(NETWORK_CHOICES):
        known = ", ".join(NETWORK_CHOICES)
        parser.error(f"--networks {', '.join(sorted(unknown))}: use {known}")
    options.candidates = options.candidates.split(",")
    for candidate in options.candidates:
        mapping, _, ahead = candidate.partition(":")
        if candidate != TORCH and (mapping not in MAPPINGS or not ahead.isdecimal()):
            parser.error(
                f"--candidates {candidate}: use torch, or one of {', '.join(MAPPINGS)} "
                "with the number of steps dispatched ahead, such as jit:2"
            )
    if options.quick:
        options.steps, options.epochs, options.batch_size = 2, 2, 8
    return options


def _in_own_process(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` for ours and `epoch_torch` for PyTorch's, each in a process."""
    setting = {
        key: getattr(options, key)
        for key in ("steps", "epochs", "batch_size", "data_dir")
    }
    setting |= {"network": network, "is_quick": options.quick}
    ours = [name for name in options.candidates if name != TORCH]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled",
        }
        worker = {**setting, "candidates": ours, "folder": name}
        command = [sys.executable, "-m", "benchmarks.epoch", f"--out={folder}/ours"]
        command.append(f"--worker={json.dumps(worker)}")
        subprocess.run(command, env=environment, check=True)
        result = json.loads((folder / "ours").read_text())
        if TORCH in options.candidates:
            result["rows"].append(_torch(folder, options, result.pop("torch")))
        else:
            result.pop("torch")
        return result


def _torch(
    folder: Path, options: argparse.Namespace, setting: dict[str, Any]
) -> dict[str, Any]:
    """PyTorch's row, or the reason why there is none."""
    if util.find_spec("torch") is None:
        return {"name": TORCH, "why": "PyTorch is not installed"}
    setting |= {"workers": options.workers or (1 if options.quick else 0)}
    setting["compile"] = not (options.no_torch_compile or options.quick)
    (folder / "setting.json").write_text(json.dumps(setting))
    paths = [f"{folder}/{name}" for name in ("setting.json", "work.npz", "torch")]
    command = [sys.executable, "-m", "benchmarks.epoch.torch_loop", *paths]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"name": TORCH, "why": f"failed: {last[:100]}"}
    return {"name": TORCH, **json.loads((folder / "torch").read_text())}


def measure(
    *,
    network: str,
    candidates: list[str],
    folder: str,
    steps: int,
    epochs: int,
    batch_size: int,
    data_dir: str,
    is_quick: bool,
) -> dict[str, Any]:
    """This project's candidates in this process; leaves the work of PyTorch's."""
    import jax

    config = make_config(network, steps, epochs, batch_size, is_quick)
    splits = make_splits(steps * batch_size, data_dir)
    rows = []
    for candidate in candidates:
        config.devices.mapping, _, ahead = candidate.partition(":")
        config.devices.steps_in_flight = int(ahead)
        config.devices.num_devices = int(candidate.startswith("jit"))  # 0: all
        used = config.devices.num_devices or jax.local_device_count()
        row = {"name": candidate, "devices": used}
        try:
            row |= _run(config, splits, Path(folder) / candidate.replace(":", "-"))
        except Exception as error:  # out of memory, groups that do not divide, …
            row["why"] = f"{type(error).__name__}: {str(error)[:100]}"
        rows.append(row)
        jax.clear_caches()
    save_work(Path(folder) / "work.npz", splits)
    optimizer = config.optimizer
    torch_setting = {
        "model": config.model.name,
        "options": config.model.options.to_dict(),
        "num_classes": splits.spec.num_classes,
        "dtype": config.model.dtype,
        "learning_rate": optimizer.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "clip_norm": optimizer.clip_norm,
        **{"steps": steps, "epochs": epochs, "batch_size": batch_size},
    }
    return {
        "machine": machine(),
        "versions": versions(),
        "network": network,
        "num_rows": batch_size * config.policies.num_policies,
        "images": "CIFAR-10" if data_dir else "noise",
        "dtype": config.model.dtype,
        "rows": rows,
        "torch": torch_setting,
    }


def make_config(
    network: str, steps: int, epochs: int, batch_size: int, is_quick: bool
) -> Any:
    """The preset's run over epochs of so many steps; one more, which compiles."""
    from benchmarks.train_step import presets

    config = presets.get_config(NETWORKS[network][0], "ours")
    config.batch_size = batch_size
    config.batch_norm.group_size = batch_size
    config.num_passes = 1
    config.epochs = epochs + 1
    config.optimizer.milestones = ()
    config.evaluation.every_epochs = epochs + 1
    config.data.num_train_images = steps * batch_size
    if is_quick:
        config.model.options = TINY[config.model.name]
        config.model.dtype = "float32"
    return config


def make_splits(num_images: int, data_dir: str) -> Any:
    """The splits of a run: a part of CIFAR-10, or noise of its shape."""
    from aaa_jax import data
    from aaa_jax.experiments import build

    spec = data.DATASETS["cifar10"]
    if data_dir:
        some = {"data_dir": data_dir, "num_images": num_images, "seed": 0}
        train = data.load("cifar10", "train", **some)
    else:
        random = np.random.default_rng(0)
        train = data.Dataset(
            random.integers(0, 256, (num_images, 32, 32, 3), np.uint8),
            random.integers(0, 10, num_images).astype(np.int32),
            tuple(map(str, range(10))),
        )
    some_images = train._replace(images=train.images[:8], labels=train.labels[:8])
    return build.Splits(spec, train, some_images, num_images, train.images.shape[1:])


def _run(config: Any, splits: Any, workdir: Path) -> dict[str, Any]:
    """Seconds of a step in each epoch but the first, and of that epoch's extra."""
    from unittest import mock

    from aaa_jax.train import loop
    from aaa_jax.workdir import run_directory

    with mock.patch.object(loop, "open_splits", return_value=splits):
        loop.train_and_evaluate(config, str(workdir))
    lines = run_directory.read_lines(workdir, "timing")
    seconds = [line["train_seconds"] / line["steps"] for line in lines]
    first, rest = lines[0]["train_seconds"], seconds[1:]
    return {
        "seconds": rest,
        "first_s": first - float(np.median(rest)) * lines[0]["steps"],
        "controller_s": lines[-1].get("controller_seconds"),
    }


def save_work(path: Path, splits: Any) -> None:
    """The images and random policies for `epoch_torch.load_work`."""
    work = make_work(32, 8)._replace(images=splits.train.images)
    np.savez(path, labels=splits.train.labels, **work._asdict())


def markdown(record: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Speed of the whole loop of an epoch",
        "",
        f"Made by `{record['command']}`; what is measured is said in "
        "`benchmarks/epoch` and `torch_loop.py`.",
        "",
        *provenance(record["machine"], record["versions"]),
        f"- load average at the start: {record['load_average']:.1f}",
    ]
    for table in record["networks"]:
        lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: dict[str, Any]) -> list[str]:
    num_rows = table["num_rows"]
    torch = next((r for r in table["rows"] if r["name"] == TORCH), {})
    lines = [
        f"## {table['network']}, {table['dtype']}, {num_rows} rows a step, "
        f"{table['images']}",
        "",
        "| loop | augmented images/s | ms a step (fastest–slowest epoch) | "
        f"{STEPS_PER_EPOCH} steps, s | × PyTorch | before the first step, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    notes = []
    for row in table["rows"]:
        if "why" in row:
            lines.append(f"| {_label(row)} | {row['why']} | – | – | – | – |")
            continue
        step = float(np.median(row["seconds"]))
        spread = f"{1e3 * min(row['seconds']):.1f}–{1e3 * max(row['seconds']):.1f}"
        ratio = np.median(torch["seconds"]) / step if "seconds" in torch else None
        lines.append(
            f"| {_label(row)} | {num_rows / step:,.0f} | {1e3 * step:.1f} ({spread}) | "
            f"{STEPS_PER_EPOCH * step:.1f} | {'–' if ratio is None else f'{ratio:.2f}'}"
            f" | {row['first_s']:.1f} |"
        )
        notes += _notes(row, num_rows)
    return [*lines, "", *notes] if notes else lines


def _label(row: dict[str, Any]) -> str:
    if row["name"] == TORCH:
        workers = f", {row['workers']} workers" if "workers" in row else ""
        return f"PyTorch, Pillow{workers}"
    mapping, _, ahead = row["name"].partition(":")
    return f"ours, {mapping}, {row['devices']} device(s), {ahead} steps ahead"


def _notes(row: dict[str, Any], num_rows: int) -> list[str]:
    """What bounds PyTorch's loop; what the controller takes of ours."""
    if row["name"] == TORCH:
        return [
            f"- PyTorch on {row['device']}: its step on rows that are there "
            f"{1e3 * row['step_s']:.1f} ms, a batch of its loader without training "
            f"{1e3 * row['batch_s']:.1f} ms ({num_rows / row['batch_s']:,.0f} images/s)"
        ]
    if row.get("controller_s") is None:
        return []
    return [
        f"- {_label(row)}: a sample of policies and a controller update take "
        f"{1e3 * row['controller_s']:.1f} ms, once an epoch"
    ]


if __name__ == "__main__":
    main()
