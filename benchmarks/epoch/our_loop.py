"""This project's loop: `train_and_evaluate` itself, timed by its own `timing.jsonl`."""

import argparse
import tempfile
from typing import Any
from unittest import mock

import jax
import numpy as np

from aaa_jax import data
from aaa_jax.experiments.splits import Splits
from aaa_jax.train import loop
from aaa_jax.workdir import run_directory
from benchmarks import measure
from benchmarks.augment.engine import make_work
from benchmarks.augment.work import Work
from benchmarks.train_step import presets


def measure_candidates(
    network: str, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table of a network by the options, and the arguments of `torch_loop`."""
    config = make_config(network, options)
    splits = make_splits(options.steps * options.batch_size, options.data_dir)
    rows = []
    for candidate in (name for name in options.candidates if name != "torch"):
        config.devices.mapping, _, ahead = candidate.partition(":")
        config.devices.steps_in_flight = int(ahead)
        config.devices.num_devices = int(candidate.startswith("jit"))  # 0: all
        used = config.devices.num_devices or jax.local_device_count()
        row = {"name": candidate, "devices": used}
        try:
            row |= _run(config, splits)
        except Exception as error:  # out of memory, groups that do not divide, …
            row["why"] = f"{type(error).__name__}: {str(error)[:100]}"
        rows.append(row)
        jax.clear_caches()
    table = {
        "network": network,
        "num_rows": options.batch_size * config.policies.num_policies,
        "images": "CIFAR-10" if options.data_dir else "noise",
        "dtype": config.model.dtype,
        "rows": rows,
    }
    spec, is_compiled = splits.spec, not options.quick
    torch = {
        "setting": presets.torch_setting(config, spec, is_compiled=is_compiled),
        "work": torch_work(splits),
        "labels": splits.train.labels,
    }
    return measure.place() | {"table": table}, torch


def make_config(network: str, options: argparse.Namespace) -> Any:
    """The preset's run over epochs of so many steps; one more, which compiles."""
    config = presets.get_config(presets.NETWORKS[network][0], "ours")
    config.batch_size = config.batch_norm.group_size = options.batch_size
    config.num_passes = 1
    config.epochs = config.evaluation.every_epochs = options.epochs + 1
    config.optimizer.milestones = ()
    config.policies.round_steps = 0  # the controller's update comes once an epoch
    config.data.num_train_images = options.steps * options.batch_size
    if options.quick:
        config.model.options = presets.TINY[config.model.name]
        config.model.dtype = "float32"
    return config


def make_splits(num_images: int, data_dir: str) -> Splits:
    """The splits of a run: a part of CIFAR-10, or noise of its shape."""
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
    return Splits(spec, train, some_images, num_images, train.images.shape[1:])


def torch_work(splits: Splits) -> Work:
    """All images of the train split, and random policies."""
    return make_work(32, 8)._replace(images=splits.train.images)


def _run(config: Any, splits: Splits) -> dict[str, Any]:
    """Seconds of a step in each epoch except the first, and what the first adds."""
    with (
        tempfile.TemporaryDirectory() as workdir,
        mock.patch.object(loop, "open_splits", return_value=splits),
    ):
        loop.train_and_evaluate(config, workdir)
        lines = run_directory.read_lines(workdir, "timing")
    first, *rest = [line["train_seconds"] / line["steps"] for line in lines]
    return {
        "seconds": rest,
        "first_s": (first - float(np.median(rest))) * lines[0]["steps"],
        "controller_s": lines[-1].get("controller_seconds"),
    }
