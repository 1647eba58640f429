"""Writes the policies of a run as one JSON file that any program can read.

    python -m aaa_jax policies RUN > policies.json
    python -m aaa_jax policies RUN --epoch=120 --select=best5 > policies.json
    python -m aaa_jax policies RUN --format=pillow > policy.py

The last is a transform for PyTorch's data loaders: `pillow_policy` with the policies.
`docs/policies.md` describes the file; `--config.policies.source=file` trains with it.
Replaying all epochs of a run needs no export: `configs/NAME.py:transfer`.
"""

import argparse
import json
import pathlib
import pprint
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import policy_json
from aaa_jax.runtime import paths
from aaa_jax.search import pillow_policy, recorded_run, replay
from aaa_jax.search.policy_source import check
from aaa_jax.workdir import run_facts

SELECTIONS = ("policies", "best5", "all")


def export(
    run: str,
    *,
    epoch: int | None = None,
    round_number: int | None = None,
    selection: str = "policies",
    image_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The policies of one round of a run, as the JSON object of `docs/policies.md`.

    Args:
        run: the run's directory; the run may still go on.
        epoch: from 1, as in `metrics.jsonl`: the last round that ended in it.
        round_number: from 0, as in `policies.jsonl`, instead of an epoch; without
            either, the last round.
        selection: "policies", the M policies; or one policy of the five of highest
            loss ("best5") or of all sub-policies ("all").
        image_size: height and width that the values are for; None: the run's, if its
            run.json says it, else there are none.

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
    side = run_facts.load_facts(run).get(run_facts.DATASET, {}).get("image_size")
    record = policy_json.to_json(
        jax.tree.map(lambda leaf: jnp.asarray(leaf[number]), chosen),
        ranges=recording.saved.ranges,
        order=recording.saved.order,
        fill=recording.saved.fill,
        alpha=recording.fill_name == "alpha",
        image_size=image_size or (side and (side, side)),
    )
    losses = [None if np.isneginf(x) else float(x) for x in recording.losses[number]]
    record["origin"] = {
        "round": number,
        "step": int(recording.steps[number]),
        "source": recording.source,
        "selection": selection,
        "losses": losses,
    }
    return record


def to_pillow(record: Mapping[str, Any]) -> str:
    """A Python file that applies policies to Pillow images: a copy of `pillow_policy`.

    Args:
        record: of `to_json`, with values.

    Raises:
        ValueError: it has no values, or pixels that are to be invalid.
    """
    check("values" in record, "give --size, the side of the images in pixels")
    check(
        not record.get("alpha"),
        "the run's fill is alpha, which a picture of three channels cannot have: "
        "--format=json has the policies",
    )
    pairs = zip(record["policies"], record["values"], strict=True)
    policies = [
        [
            [
                (name, probability, tuple(drawn))
                for (name, _, probability), drawn in zip(*chains, strict=True)
            ]
            for chains in zip(*pair, strict=True)
        ]
        for pair in pairs
    ]
    height, width = record["image_size"]
    text = pathlib.Path(pillow_policy.__file__).read_text(encoding="utf-8")
    for name, value in (
        ("POLICIES: list[list[list[Op]]]", pprint.pformat(policies, width=88)),
        ("SIZE", (height, width)),
        ("FILL", tuple(record["fill"])),
    ):
        start = text.index(f"\n{name} = ") + len(f"\n{name} = ")
        end = min(text.index(mark, start) for mark in ("  #", "\n"))
        text = f"{text[:start]}{value}{text[end:]}"
    return text


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
    parser.add_argument(
        "--format",
        choices=("json", "pillow"),
        default="json",
        help="JSON, or a Python file with a transform of Pillow images",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="side in pixels of the images that values are for; without: the run's",
    )
    given = parser.parse_args(arguments)
    try:
        record = export(
            given.run,
            epoch=given.epoch,
            round_number=given.round,
            selection=given.select,
            image_size=given.size and (given.size, given.size),
        )
        text = to_pillow(record) if given.format == "pillow" else ""
    except ValueError as error:
        print(f"aaa-jax policies: {error}", file=sys.stderr)
        return 2
    print(text or json.dumps(record, indent=1), end="" if text else "\n")
    return 0
