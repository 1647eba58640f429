"""What a run writes of itself: the content of its lines, from arrays on the host.

Nothing in a line of ``metrics.jsonl`` or ``policies.jsonl`` depends on time. Where and
how lines are written is `metrics.py`'s business, when is `train.py`'s.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.experiments.build import Experiment
from aaa_jax.search import collapse
from aaa_jax.train.compiled import Round, RunState

MOST_CHAINS = 100  # of a policy in policies.jsonl
NEARLY = "up to rounding (--deterministic: bit for bit)"


def round_line(done: int, closed: Round, experiment: Experiment) -> dict[str, Any]:
    """A line of ``policies.jsonl``: a round's policies, and what was learned of them.

    Args:
        done: steps of the run when the round was over.
        closed: the round, on the host.
        experiment: the run's.
    """
    recipe = experiment.recipe
    info = {name: np.asarray(value) for name, value in closed.info.items()}
    return (
        {"round": done // recipe.round_steps - 1}
        | policies_entry(closed.policies, experiment)
        | info
        | _diagnosis(closed, experiment)
    )


def policies_entry(sampled: Policies, experiment: Experiment) -> dict[str, Any]:
    """Policies by name with all that is needed to apply them again.

    The hundreds and thousands of chains by which a source spells out a published
    distribution are left out: they follow from the config.
    """
    if sampled.num_sub_policies > MOST_CHAINS and not experiment.source.is_learned:
        return {}
    recipe = experiment.recipe
    return policy_json.to_json(
        jax.device_get(sampled),
        ranges=recipe.rows.ranges,
        order="policy_first" if recipe.rows.policy_first else "standard_first",
        fill=recipe.rows.fill,
    )


def epoch_line(
    epoch: int,
    state: RunState,
    experiment: Experiment,
    tested: Mapping[str, float],
) -> dict[str, Any]:
    """A line of ``metrics.jsonl``.

    Args:
        epoch: from 0; lines count from 1.
        state: at the epoch's end, on the host.
        experiment: the run's.
        tested: error rates of the test split, or nothing.

    Returns:
        Losses in nats, errors in percent, entropies as fractions of the maximum. What
        is not known yet (no test in this epoch, no round over) is left out; the
        training loss of an epoch whose steps were all left out is None.
    """
    step = int(state.train.step)
    total, count = (float(value) for value in state.train.epoch_loss)
    line: dict[str, Any] = {
        "epoch": epoch + 1,
        **({"scale": experiment.scale} if experiment.scale < 1 else {}),
        "learning_rate": float(experiment.schedule(np.int32(step - 1))),
    }
    line["train_loss"] = total / count if count else None
    line |= tested
    if int(state.train.skipped_steps):
        line["skipped_steps"] = int(state.train.skipped_steps)
    if step >= experiment.recipe.round_steps:
        line |= _diagnosis(state.last_round, experiment)
    return line


def entropy(closed: Round) -> float:
    """What the source of a round's policies expects, as a fraction of the maximum.

    Of ops and magnitudes together; the round may still be on the device.
    """
    heads = (closed.info[name] for name in ("op_entropy", "magnitude_entropy"))
    return collapse.joint_entropy(*(float(head) for head in heads))


def beginning(
    experiment: Experiment, dataset: str, used: Sequence[jax.Device], mapping: str
) -> str:
    """What is about to run, on what, and whether it can be repeated bit for bit."""
    recipe, source = experiment.recipe, experiment.source
    rounds = experiment.total_steps // recipe.round_steps
    device = used[0]
    count = len({used_by.process_index for used_by in used})
    together = f", {count} processes" if count > 1 else ""
    exact = device.platform == "cpu" or is_deterministic(
        os.environ.get("XLA_FLAGS", "")
    )
    return (
        f"{_scaled(experiment.scale)}"
        f"{dataset}: {source.name} policies, M = {source.num_policies}, "
        f"N = {recipe.layout.num_images}; {experiment.total_steps} steps of "
        f"{recipe.layout.num_rows} rows in {rounds} rounds\n"
        f"{len(used)} x {device.device_kind} ({mapping}{together}), "
        f"jax {jax.__version__}; "
        f"a resumed run equals one never stopped {'bit for bit' if exact else NEARLY}"
    )


def is_deterministic(xla_flags: str) -> bool:
    """Whether XLA is told to repeat bit for bit on GPUs; the last word counts.

    Args:
        xla_flags: of the environment; a flag without a value is true.
    """
    told = False
    for flag in xla_flags.split():
        name, _, value = flag.partition("=")
        if name.lstrip("-") == "xla_gpu_deterministic_ops":
            told = value.lower() in ("", "true", "1")
    return told


def stale_lines(
    step: int, experiment: Experiment, is_tested: bool
) -> Callable[[str, Mapping[str, Any]], bool]:
    """Which lines up to a checkpoint's step a run never stopped would not have.

    Those of policies under which the loss was not finite, since that step is done
    again. Of results, the line of an epoch that is not over: it was the last one while
    ``max_steps`` said so; and the checkpoint's own, which is written again, where it
    was tested for that reason only, or is to be tested for it.

    Args:
        step: of the checkpoint that the run goes on from.
        experiment: the run's.
        is_tested: whether an epoch that ends with that step is evaluated.

    Returns:
        (file, line) -> whether it is such a line.
    """

    def is_stale(name: str, line: Mapping[str, Any]) -> bool:
        if name == "policies":
            return bool(line.get("nonfinite_loss"))
        if name != "metrics":
            return False
        is_own = line["step"] == step
        is_wrong = is_own and ("test_error" in line) != is_tested
        return is_wrong or not experiment.ends_epoch(line["step"])

    return is_stale


def resumed(step: int, experiment: Experiment) -> str:
    """That a run goes on, and where."""
    return f"going on from the checkpoint at step {step} of {experiment.total_steps}"


def ending(line: Mapping[str, Any], workdir: str, *, was_finished: bool) -> str:
    """The result of a finished run, and where everything is.

    Args:
        line: the last of ``metrics.jsonl``.
        workdir: the run's directory.
        was_finished: whether it was finished before this call.
    """
    state = f", controller {line['state']}" if "state" in line else ""
    if line.get("skipped_steps"):
        state += f", skipped {line['skipped_steps']} steps"
    return (
        f"{_scaled(line.get('scale', 1.0))}"
        f"{'this run is finished already' if was_finished else 'finished'}: "
        f"test error {line['test_error']:.2f} % after epoch {line['epoch']} "
        f"({line['test_images']} images){state}\n"
        f"metrics, policies, TensorBoard events and checkpoints are in {workdir}"
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
