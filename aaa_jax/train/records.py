"""All that a run writes of itself, and what it says: lines, facts, snapshots, messages.

Nothing in a line of ``metrics.jsonl`` or ``policies.jsonl`` depends on time. The room
`workdir` knows how files are written, the loop when; process 0 alone writes.
"""

import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

import aaa_jax
from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.experiments import sizes
from aaa_jax.experiments.build import Experiment
from aaa_jax.experiments.splits import Splits
from aaa_jax.runtime import processes, randomness
from aaa_jax.search import collapse
from aaa_jax.train.compiled import Program, Round, RunState
from aaa_jax.workdir import atomic_files, run_directory, run_facts, snapshots

FEWEST_UPDATES = 100  # before which the paper's controller has not moved
MOST_CHAINS = 100  # of a policy in policies.jsonl
NEARLY = "up to rounding (--deterministic: bit for bit)"
DATA = "data"  # in run.json: the checksums of the run's data


def round_line(done: int, closed: Round, experiment: Experiment) -> dict[str, Any]:
    """A line of ``policies.jsonl``: of a round that was over after so many steps.

    Its policies, and what was learned of them; the round is on the host.
    """
    return (
        {"round": done // experiment.recipe.round_steps - 1}
        | policies_entry(closed.policies, experiment)
        | closed.info
        | _diagnosis(closed, experiment)
    )


def policies_entry(sampled: Policies, experiment: Experiment) -> dict[str, Any]:
    """Policies by name with all that is needed to apply them again.

    The hundreds and thousands of chains by which a source spells out a published
    distribution are left out: they follow from the config.
    """
    if sampled.num_sub_policies > MOST_CHAINS and not experiment.source.is_learned:
        return {}
    rows = experiment.recipe.rows
    return policy_json.to_json(
        jax.device_get(sampled),
        ranges=rows.ranges,
        order="policy_first" if rows.policy_first else "standard_first",
        fill=rows.fill,
    )


def epoch_line(
    epoch: int, state: RunState, experiment: Experiment, tested: Mapping[str, float]
) -> dict[str, Any]:
    """A line of ``metrics.jsonl``.

    Args:
        epoch: from 0; lines count from 1.
        state: at the epoch's end, on the host.
        experiment: of the run.
        tested: error rates of the test split, or nothing.

    Returns:
        Losses in nats, errors in percent, entropies as fractions of the maximum. What
        is not known yet (no test in this epoch, no round over) is left out; the
        training loss of an epoch whose steps were all left out is None.
    """
    step = int(state.train.step)
    total, count = (float(value) for value in state.train.epoch_loss)
    most = experiment.evaluation_view.max_images
    line: dict[str, Any] = {
        "epoch": epoch + 1,
        **({"scale": experiment.scale} if experiment.scale < 1 else {}),
        "learning_rate": float(experiment.schedule(np.int32(step - 1))),
        "train_loss": total / count if count else None,
        **tested,
    }
    if most and tested.get("test_images") == most:
        line["max_test_images"] = most  # a quick look, at a part of the split
    if int(state.train.skipped_steps):
        line["skipped_steps"] = int(state.train.skipped_steps)
    if step >= experiment.recipe.round_steps:
        line |= _diagnosis(state.last_round, experiment)
    return line


def epoch_message(line: Mapping[str, Any], experiment: Experiment) -> str:
    """What the screen says of an epoch, by its line of ``metrics.jsonl``."""
    total = -(-experiment.total_steps // experiment.recipe.steps_per_epoch)
    loss = line["train_loss"]
    parts = [
        f"epoch {line['epoch']}/{total}",
        f"train loss {'n/a' if loss is None else format(loss, '.4f')}",
    ]
    for name, text in (
        ("test_error", "test error {:.2f} %"),
        ("test_loss", "test loss {:.4f}"),
        ("op_entropy", "op entropy {:.3f}"),
        ("magnitude_entropy", "magnitude entropy {:.3f}"),
        ("state", "controller {}"),
        ("skipped_steps", "skipped {}"),
    ):
        if line.get(name) is not None:
            parts.append(text.format(line[name]))
    return "  ".join(parts)


def entropy(closed: Round) -> float:
    """What the source of a round's policies expects, as a fraction of the maximum.

    Of ops and magnitudes together; the round may still be on the device.
    """
    heads = (closed.info[name] for name in ("op_entropy", "magnitude_entropy"))
    return collapse.joint_entropy(*(float(head) for head in heads))


def save_snapshot(path: epath.Path, experiment: Experiment, state: RunState) -> None:
    """Writes the snapshot of a learned source, before the checkpoint of its step."""
    snapshot = experiment.source.snapshot
    if snapshot is not None and processes.is_first():
        arrays = jax.device_get(snapshot(state.source))
        with run_directory.clear_errors("write in", path):
            snapshots.save_snapshot(path, int(state.train.step), arrays)


def write_facts(
    path: epath.Path,
    experiment: Experiment,
    used: Sequence[jax.Device],
    splits: Splits,
    fingerprint: Mapping[str, int],
    origin: Mapping[str, Any],
) -> None:
    """Writes ``run.json``: the run's length, devices, data, versions and origin.

    A run keeps the origin that it began with, whatever command goes on with it. The
    names of images that are held out of its train split go to ``held_out.json``.
    """
    if not processes.is_first():
        return
    recipe = experiment.recipe
    facts = {
        "total_steps": experiment.total_steps,
        "steps_per_epoch": recipe.steps_per_epoch,
        "round_steps": recipe.round_steps,
        "num_passes": recipe.num_passes,
        "num_devices": len(used),
        "device": used[0].device_kind,
        **numerics(),
        "commit": _commit(),
        "origin": run_facts.load_facts(path).get("origin") or dict(origin),
        DATA: dict(fingerprint),
        run_facts.DATASET: splits.facts(),
    }
    with run_directory.clear_errors("write in", path):
        run_facts.save_facts(path, facts)
        if held_out := splits.test.held_out:
            text = json.dumps(list(held_out), indent=0) + "\n"
            atomic_files.write_whole(path / "held_out.json", text.encode())


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
    often as rounds ended. A source that learns nothing searches nothing.
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


def beginning(
    experiment: Experiment, dataset: str, used: Sequence[jax.Device], mapping: str
) -> str:
    """What is about to run, on what, and whether it can be repeated bit for bit."""
    recipe, source = experiment.recipe, experiment.source
    rounds = experiment.total_steps // recipe.round_steps
    device = used[0]
    count = len({each.process_index for each in used})
    together = f", {count} processes" if count > 1 else ""
    flags = os.environ.get("XLA_FLAGS", "")
    is_exact = device.platform == "cpu" or is_deterministic(flags)
    equals = "bit for bit" if is_exact else NEARLY
    return (
        f"{_scaled(experiment.scale)}"
        f"{dataset}: {source.name} policies, M = {source.num_policies}, "
        f"N = {recipe.layout.num_images}; {experiment.total_steps} steps of "
        f"{recipe.layout.num_rows} rows in {rounds} rounds\n"
        f"{_slow_start(experiment, rounds)}"
        f"{len(used)} x {device.device_kind} ({mapping}{together}), "
        f"{recipe.layout.num_groups} groups in {recipe.num_passes} "
        f"pass{'es' if recipe.num_passes > 1 else ''}, "
        f"jax {jax.__version__}; "
        f"a resumed run equals one never stopped {equals}"
    )


def is_deterministic(xla_flags: str) -> bool:
    """Whether XLA is told to repeat bit for bit on GPUs; the last word counts."""
    told = dict(flag.lstrip("-").partition("=")[::2] for flag in xla_flags.split())
    return told.get("xla_gpu_deterministic_ops", "0").lower() in ("", "true", "1")


def ending(line: Mapping[str, Any], workdir: str, *, was_finished: bool) -> str:
    """The result of a run by its last line of ``metrics.jsonl``, and where all is."""
    part = " of the test split: a quick look" if "max_test_images" in line else ""
    state = f", controller {line['state']}" if "state" in line else ""
    if line.get("skipped_steps"):
        state += f", skipped {line['skipped_steps']} steps"
    return (
        f"{_scaled(line.get('scale', 1.0))}"
        f"{'this run is finished already' if was_finished else 'finished'}: "
        f"test error {line['test_error']:.2f} % after epoch {line['epoch']} "
        f"({line['test_images']} images{part}){state}\n"
        f"metrics, policies, TensorBoard events and checkpoints are in {workdir}"
    )


def numerics() -> dict[str, dict[str, Any]]:
    """What a run's numbers depend on besides its config, data and devices.

    The versions of this program and of its libraries, and how numbers are drawn.
    """
    libraries = ("jax", "flax", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    versions |= {"aaa_jax": aaa_jax.__version__, "python": platform.python_version()}
    return {"versions": versions, "numbers": randomness.settings()}


@functools.cache
def _commit() -> str:
    """The commit of this checkout, `-dirty` if files differ; "" if there is none."""
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


def _slow_start(experiment: Experiment, rounds: int) -> str:
    """A line where a controller has too few updates to learn; else nothing."""
    if not experiment.source.is_learned or rounds >= FEWEST_UPDATES:
        return ""
    steps = max(1, experiment.total_steps // sizes.NUM_ROUNDS)
    return (
        f"{rounds} controller updates are planned; before about {FEWEST_UPDATES} it "
        "still draws uniformly, as `random` does: --config.policies.round_steps="
        f"{steps} gives {experiment.total_steps // steps}\n"
    )


def _scaled(scale: float) -> str:
    """A line that says that a run is not what its table says; nothing at full size."""
    if scale >= 1:
        return ""
    return f"SCALED to {scale:g}: fewer epochs and a smaller network than the table's\n"


def _diagnosis(closed: Round, experiment: Experiment) -> dict[str, Any]:
    """Numbers that tell a healthy round from a collapsing one, and its state."""
    info = closed.info
    summary = collapse.summarize(
        closed.policies, info["losses"], info["standard_errors"], info
    )
    if not experiment.source.is_learned:
        return summary
    return summary | {"state": collapse.collapse_state(summary)}
