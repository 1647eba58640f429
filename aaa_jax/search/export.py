"""Writes the policies of a run as one JSON file that any program can read.

    python -m aaa_jax policies RUN > policies.json
    python -m aaa_jax policies RUN --epoch=120 --select=best5 > policies.json

`docs/policies.md` describes the file; `--config.policies.source=file` trains with it.
Replaying all epochs of a run needs no export: `configs/NAME.py:transfer`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import paths
from aaa_jax.augment import policy_json
from aaa_jax.search import recorded_run, replay
from aaa_jax.search.policy_source import check
from aaa_jax.workdir import run_facts

SELECTIONS = ("policies", "best5", "all")


def export(
    run: str,
    *,
    epoch: int | None = None,
    round_number: int | None = None,
    selection: str = "policies",
) -> dict[str, Any]:
    """The policies of one round of a run, as the JSON object of `docs/policies.md`.

    Args:
        run: the run's directory; the run may still go on.
        epoch: from 1, as in `metrics.jsonl`: the last round that ended in it.
        round_number: from 0, as in `policies.jsonl`, instead of an epoch; without
            either, the last round.
        selection: "policies", the M policies; or one policy of the five of highest
            loss ("best5") or of all sub-policies ("all").

    Raises:
        ValueError: in one line, what is missing.
    """
    run = paths.expand(run)
    recording = recorded_run.read_recording(run, finished=False)
    number = _find_round(run, recording, epoch, round_number)
    if selection == "policies":
        chosen = recording.saved.policies
    else:
        chosen = replay.select(recording, selection)
    record = policy_json.to_json(
        jax.tree.map(lambda leaf: jnp.asarray(leaf[number]), chosen),
        ranges=recording.saved.ranges,
        order=recording.saved.order,
        fill=recording.saved.fill,
    )
    if recording.fill_name == "alpha":
        record["alpha"] = True
    losses = [None if np.isneginf(x) else float(x) for x in recording.losses[number]]
    record["origin"] = {
        "round": number,
        "step": int(recording.steps[number]),
        "source": recording.source,
        "selection": selection,
        "losses": losses,
    }
    return record


def _find_round(
    run: str, recording: recorded_run.Recording, epoch: int | None, number: int | None
) -> int:
    """The number of the round that is asked for."""
    last = recording.num_rounds - 1
    check(epoch is None or number is None, "give an epoch or a round, not both")
    if epoch is None:
        number = last if number is None else number
        no_round = f"{run} has no round {number}: it has rounds 0 to {last}"
        check(0 <= number <= last, no_round)
        return number
    steps_per_epoch = run_facts.load_facts(run).get("steps_per_epoch")
    if steps_per_epoch is None:
        raise ValueError(f"{run} has no run.json with steps_per_epoch: give --round")
    epochs = (recording.steps - 1) // steps_per_epoch + 1  # in which the rounds ended
    check(epoch in epochs, f"no round of {run} ended in epoch {epoch}")
    return int(np.flatnonzero(epochs == epoch)[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 2 after one line where it cannot work."""
    parser = argparse.ArgumentParser(
        prog="aaa-jax policies",
        description="Writes the policies of a run as JSON, to the standard output.",
    )
    parser.add_argument("run", help="a run's directory")
    parser.add_argument("--epoch", type=int, help="from 1; without: the last round")
    parser.add_argument("--round", type=int, help="from 0, instead of an epoch")
    parser.add_argument(
        "--select",
        choices=SELECTIONS,
        default="policies",
        help="the M policies; or one of the five hardest, or of all",
    )
    given = parser.parse_args(arguments)
    try:
        record = export(
            given.run,
            epoch=given.epoch,
            round_number=given.round,
            selection=given.select,
        )
    except ValueError as error:
        print(f"aaa-jax policies: {error}", file=sys.stderr)
        return 2
    json.dump(record, sys.stdout, indent=1)
    print()
    return 0
