"""Runs of the digits with a tiny network: their configs, and processes of them."""

import os
import pathlib
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from aaa_jax.experiments.build import Experiment
from aaa_jax.workdir import checkpoints, run_directory
from configs import digits

ROOT = pathlib.Path(__file__).resolve().parents[2]
# N = 8, M = 2, 5 steps an epoch, 4 epochs, a round of 3 steps, so that rounds cross
# epochs and checkpoints fall inside both.
TINY = {
    "model.name": "tests.support.tiny:factory",
    "data.num_train_images": 40,
    "batch_size": 8,
    "batch_norm.group_size": 4,
    "policies.num_policies": 2,
    "policies.round_steps": 3,
    "epochs": 4,
    "evaluation.batch_size": 150,
    "evaluation.every_epochs": 2,
    "devices.num_devices": 1,
    "compilation_cache": False,
    "log.pictures": False,
}


def small_config(argument: str = "ours", **changes: Any) -> ConfigDict:
    """`TINY` with changes; an argument's own M = 1 stays."""
    config = digits.get_config(argument)
    with config.unlocked():
        config.model.options = {}
        values = TINY | changes
        if config.policies.num_policies == 1:
            values.pop("policies.num_policies", None)
        config.update_from_flattened_dict(values)
    return config


def bare_experiment(total_steps: int = 20) -> Experiment:
    """Of numbers only: epochs of 5 steps, rounds of 3, each second epoch tested."""
    bare = Experiment(**dict.fromkeys(Experiment._fields))
    return bare._replace(
        source=types.SimpleNamespace(is_learned=True, snapshot=None),
        recipe=types.SimpleNamespace(steps_per_epoch=5, round_steps=3, num_passes=2),
        total_steps=total_steps,
        test_every_steps=10,
        scale=1.0,
    )


def command(workdir: pathlib.Path, values: Mapping[str, Any], *more: str) -> list[str]:
    """Runs `launch.py` with these values of the digits' config."""
    overrides = [f"--config.{key}={value}" for key, value in values.items()]
    words = [sys.executable, "launch.py", "--config=configs/digits.py"]
    words += [f"--workdir={workdir}", "--config.model.options={}"]
    return [*words, *overrides, *more]


def start(
    workdir: pathlib.Path,
    values: Mapping[str, Any],
    *more: str,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """A process of `launch.py` with these values of the digits' config."""
    return subprocess.Popen(
        command(workdir, values, *more),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def newest(workdir: pathlib.Path) -> int:
    """The step of the newest complete checkpoint, 0 before the first."""
    return max(run_directory.steps_in(workdir / "checkpoints"), default=0)


def wait_until_saved(
    process: subprocess.Popen, workdir: pathlib.Path, step: int
) -> None:
    deadline = time.monotonic() + 300
    while newest(workdir) < step:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"step {step} is not saved in 5 minutes"
        time.sleep(0.002)


def finish(process: subprocess.Popen, seconds: float = 600) -> tuple[str, int]:
    try:
        printed, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return printed, process.returncode


def copy_until(step: int, run: pathlib.Path, copy: pathlib.Path) -> pathlib.Path:
    """A copy of a run as if it had died right after that checkpoint."""
    shutil.copytree(run, copy, dirs_exist_ok=True)
    for later in run_directory.steps_in(copy / "checkpoints"):
        if later > step:
            shutil.rmtree(copy / "checkpoints" / str(later))
    return copy


def assert_equal_runs(one: pathlib.Path, other: pathlib.Path) -> None:
    """Their lines and their newest checkpoints have the same bytes."""
    for name in ("metrics.jsonl", "policies.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    (step, ours), (their_step, theirs) = map(checkpoints.read_newest, (one, other))
    assert (step, ours.keys()) == (their_step, theirs.keys())
    for name, leaf in ours.items():
        assert leaf.tobytes() == theirs[name].tobytes(), name
