"""The policies that a run recorded, read from its directory.

A directory that is damaged, unfinished or not of a run is refused in one line that
names the file and what is wrong with it.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from aaa_jax.augment import policy_json
from aaa_jax.augment.policy_json import SavedPolicies
from aaa_jax.search.policy_source import check
from aaa_jax.workdir import run_directory, run_facts

_MOST_STEPS = 2**31 - 1  # int32, as counted on the devices


class Recording(NamedTuple):
    """The policies of every round of a run, on the host."""

    # the policies [R, M, Q, S] of R rounds as NumPy arrays, and the range table, order
    # and fill that they were applied with
    saved: SavedPolicies
    # float64 [R, M], the average loss under each policy; -inf where unknown
    losses: np.ndarray
    steps: np.ndarray  # int64 [R], steps done when the round was over; increasing
    config: dict[str, Any]  # the run's configuration, as it stands in config.json
    source: str  # name of the run's policy source
    fill_name: str  # what the run's config called the fill colour, such as "alpha"

    @property
    def num_rounds(self) -> int:
        """The number of rounds, R."""
        return len(self.steps)


def read_recording(run: str, *, finished: bool = True) -> Recording:
    """Reads a run's policies; with `finished`, refuses one that has rounds to go.

    Raises:
        ValueError: in one line, what is missing or contradicts itself.
    """
    is_there = bool(run) and pathlib.Path(run).is_dir()
    check(is_there, f"{run} is not a directory: give that of a run")
    try:
        config = run_directory.read_config(run)
        lines = run_directory.read_lines(run, "policies")
        source, fill_name = (config["policies"][key] for key in ("source", "fill"))
    except run_directory.RunDirectoryError as error:
        raise ValueError(f"{run} cannot be replayed: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{run}/config.json does not say policies.source and policies.fill: it is "
            "not the config of a run of launch.py, or damaged"
        ) from error
    rounds = [line for line in lines if "round" in line]
    check(bool(rounds), f"{run} has no round in policies.jsonl: no run, or too short")
    check(
        "policies" in rounds[0],
        f"{run} does not record its policies, since they follow from its config "
        f"(source {source!r}): use that preset argument instead",
    )
    if finished:
        _check_finished(run, len(rounds))
    saved, losses, steps = _read_rounds(f"{run}/policies.jsonl", rounds)
    return Recording(saved, losses, steps, config, source, fill_name)


def _check_finished(run: str, num_rounds: int) -> None:
    """Refuses a run that has rounds to go, if it says how long it is."""
    facts = run_facts.load_facts(run)
    if {"total_steps", "round_steps"} <= facts.keys():
        planned = facts["total_steps"] // facts["round_steps"]
        check(
            num_rounds >= planned,
            f"{run} is not finished ({num_rounds} of {planned} rounds): finish it",
        )


def _read_rounds(
    path: str, rounds: Sequence[Mapping[str, Any]]
) -> tuple[SavedPolicies, np.ndarray, np.ndarray]:
    """The policies of all rounds, stacked, their losses [R, M] and last steps [R]."""
    saved: list[SavedPolicies] = []
    losses, steps = [], [0]
    for number, line in enumerate(rounds):
        try:
            there = line["round"]
            check(there == number, f"it is missing, round {there!r} is in its place")
            end, before = line["step"], steps[-1]
            check(before < end <= _MOST_STEPS, f"it ends at step {end} after {before}")
            one = policy_json.from_json(line)
            losses.append(_losses(line, one.policies.num_policies))
            steps.append(end)
            saved.append(one)
            kind, first = ((*o[1:4], o.policies.ops.shape) for o in (one, saved[0]))
            check(kind == first, f"it is of the kind {kind}, the first of {first}")
        except ValueError as error:
            raise ValueError(f"{path}: round {number}: {error}") from error
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), *[one.policies for one in saved]
    )
    in_order = saved[0]._replace(policies=stacked)
    return in_order, np.stack(losses), np.array(steps[1:], np.int64)


def _losses(line: Mapping[str, Any], num_policies: int) -> np.ndarray:
    """The losses of a round, float64 [M]; null is -inf."""
    given: Any = line.get("losses")
    try:
        losses = np.array([-np.inf if x is None else x for x in given], np.float64)
    except (TypeError, ValueError, OverflowError):
        losses = np.empty(0)
    if losses.shape != (num_policies,) or not np.all(losses < np.inf):
        raise ValueError(
            f"losses are {str(given)[:40]!r}: a list of {num_policies} numbers is "
            "needed, one for each policy"
        )
    return losses
