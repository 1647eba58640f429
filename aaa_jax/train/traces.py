"""What a run leaves in its directory besides its lines, for transfer, tables and costs.

Snapshots of its controller, its length and devices, the time of its search: when they
are written, and what they hold; how is the business of `snapshots`. Process 0 writes.
"""

import functools
import importlib.metadata
import pathlib
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from etils import epath

import aaa_jax
from aaa_jax.experiments.build import Experiment
from aaa_jax.runtime import processes
from aaa_jax.train.compiled import Program, RunState
from aaa_jax.train.resume import DATA
from aaa_jax.workdir import run_directory, snapshots


def begin(path: epath.Path, experiment: Experiment, state: RunState) -> None:
    """Of a run from the first step: the snapshot before it, and none of an older run.

    Raises:
        metrics.RunDirectoryError: it cannot be written; as of all functions here.
    """
    _truncate_after(path, None)
    keep(path, experiment, state)


def go_back(path: epath.Path, experiment: Experiment, step: int) -> None:
    """Makes the snapshots those of a run never stopped at the checkpoint of `step`.

    One of that step itself, within an epoch, is of a run that ended there by its
    ``max_steps``, and was since told to go on.
    """
    _truncate_after(path, step if experiment.ends_epoch(step) else step - 1)


def keep(path: epath.Path, experiment: Experiment, state: RunState) -> None:
    """The snapshot of an epoch's end, before its checkpoint; of a learned source."""
    snapshot = experiment.source.snapshot
    if snapshot is not None and processes.is_first():
        arrays = jax.device_get(snapshot(state.source))
        with _clear_errors(path):
            snapshots.save_snapshot(path, int(state.train.step), arrays)


def write_facts(
    path: epath.Path,
    experiment: Experiment,
    used: Sequence[jax.Device],
    fingerprint: Mapping[str, int],
    origin: Mapping[str, Any],
) -> None:
    """Writes ``run.json``: the run's length, devices, data, versions and origin.

    A run keeps the origin that it began with, whatever command goes on with it.
    """
    if not processes.is_first():
        return
    recipe = experiment.recipe
    recorded = snapshots.load_facts(path)
    facts = {
        "total_steps": experiment.total_steps,
        "steps_per_epoch": recipe.steps_per_epoch,
        "round_steps": recipe.round_steps,
        "num_devices": len(used),
        "device": used[0].device_kind,
        "versions": _versions(),
        "commit": _commit(),
        "origin": recorded.get("origin") or dict(origin),
        DATA: dict(fingerprint),
    }
    with _clear_errors(path):
        snapshots.save_facts(path, facts)


def search_seconds(
    program: Program,
    experiment: Experiment,
    root: jax.Array,
    state: RunState,
    first: int,
) -> float:
    """What the policy search took of the steps since `first`, timed apart (Table 5).

    Steps are dispatched ahead, so that a round's sampling and update cannot be timed
    where they happen: one of each is done again, its result dropped, and counted as
    often as rounds ended.

    Args:
        program: of the run.
        experiment: of the run; a source that learns nothing searches nothing.
        root: of the run.
        state: of the run, ready.
        first: a step.
    """
    round_steps = experiment.recipe.round_steps
    rounds = int(state.train.step) // round_steps - first // round_steps
    if not experiment.source.is_learned or rounds == 0:
        return 0.0
    # Of a run that goes on within a round, the first call, which compiles.
    jax.block_until_ready(program.sample(state.source, root, np.int32(0)))
    started = time.monotonic()
    policies = program.sample(state.source, root, np.int32(0))
    jax.block_until_ready(program.close_round(state.source, policies, state.train))
    return rounds * (time.monotonic() - started)


def _versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    libraries = ("jax", "flax", "optax", "numpy")
    found = {name: importlib.metadata.version(name) for name in libraries}
    own = {"aaa_jax": aaa_jax.__version__, "python": platform.python_version()}
    return found | own


@functools.cache
def _commit() -> str:
    """The commit that is checked out here, with `-dirty` if files differ from it.

    Empty where the program does not run from a checkout, or git is missing.
    """
    checkout = pathlib.Path(aaa_jax.__file__).parents[1]
    if not (checkout / ".git").exists():
        return ""
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    command = ["git", "--no-optional-locks", "-C", str(checkout), *describe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _truncate_after(path: epath.Path, step: int | None) -> None:
    if processes.is_first():
        with _clear_errors(path):
            snapshots.truncate_after(path, step)


@contextmanager
def _clear_errors(path: epath.Path) -> Iterator[None]:
    """Turns an error of the file system into one clear line."""
    try:
        yield
    except OSError as error:
        raise run_directory.RunDirectoryError(
            f"cannot write in {path}: {error.strerror or error}. Give it room and write"
            " permission, or choose another --workdir; what is there is kept."
        ) from error
