"""The policies that a run recorded, read back whole and checked, or refused by name.

Only this module judges whether a run directory can serve `replay` and `export`:
whatever its files hold, what `read_recording` returns is sound.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import SavedPolicies
from aaa_jax.search.policy_source import check
from aaa_jax.workdir import run_directory, snapshots

_MOST = 2**31 - 1  # int32, as counted on the devices
_MOST_LOSS = float(np.finfo(np.float32).max)
_WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


class Recording(NamedTuple):
    """The policies of every round of a run, on the host.

    Attributes:
        policies: int32 and float32 [R, M, Q, S], of R rounds; NumPy arrays.
        losses: float64 [R, M], the average loss under each policy; -inf where unknown.
        steps: int [R], steps done when the round was over; increasing.
        ranges: name of the range table.
        order: of `policy_json.ORDERS`.
        fill: colour (red, green, blue) of moved-in pixels.
        config: the run's configuration; only what `setting` gives is checked.
        source: name of the run's policy source.
        fill_name: what the run's config called that colour, such as "alpha".
    """

    policies: Policies
    losses: np.ndarray
    steps: np.ndarray
    ranges: str
    order: str
    fill: tuple[int, int, int]
    config: dict[str, Any]
    source: str
    fill_name: str

    @property
    def num_rounds(self) -> int:
        """The number of rounds, R."""
        return len(self.steps)


def read_recording(run: str, *, finished: bool = True) -> Recording:
    """Reads the policies of a run from its directory.

    Args:
        run: the directory.
        finished: refuse a run that has rounds to go.

    Raises:
        ValueError: in one line, what is missing or contradicts itself.
    """
    check(
        bool(run),
        "no run is given: set policies.replay_run to the directory of a finished one",
    )
    check(pathlib.Path(run).is_dir(), f"{run} is not a directory: give that of a run")
    try:
        config = run_directory.read_config(run)
        lines = run_directory.read_lines(run, "policies")
        facts = snapshots.load_facts(run)
    except run_directory.RunDirectoryError as error:
        raise ValueError(f"{run} cannot be replayed: {error}") from error
    source = setting(run, config, "policies.source", str)
    fill = setting(run, config, "policies.fill", str)
    rounds = [line for line in lines if "round" in line]
    check(bool(rounds), f"{run} has no round in policies.jsonl: no run, or too short")
    check(
        all("policies" in line for line in rounds),
        f"{run} does not record its policies, since they follow from its config "
        f"(source {source!r}): use that preset argument instead",
    )
    numbers = [line["round"] for line in rounds]
    check(
        numbers == list(range(len(rounds))),
        f"{run}/policies.jsonl does not hold the rounds 0 to {len(rounds) - 1} in "
        "order: it is incomplete",
    )
    if finished and {"total_steps", "round_steps"} <= facts.keys():
        planned = facts["total_steps"] // facts["round_steps"]
        check(
            len(rounds) >= planned,
            f"{run} is not finished ({len(rounds)} of {planned} rounds): finish it",
        )
    saved = _parse(run, rounds)
    return Recording(
        policies=jax.tree.map(
            lambda *leaves: np.stack(leaves), *[one.policies for one in saved]
        ),
        losses=_losses(run, rounds, saved[0].policies.num_policies),
        steps=_steps(run, rounds),
        ranges=saved[0].ranges,
        order=saved[0].order,
        fill=saved[0].fill,
        config=config,
        source=source,
        fill_name=fill,
    )


def setting(
    run: str,
    config: Mapping[str, Any],
    key: str,
    kind: type,
    low: float = 0,
    high: float = _MOST,
) -> Any:
    """A value of a recorded config.

    Args:
        run: the directory, for the message.
        config: of its config.json, whatever that holds.
        key: dotted.
        kind: str, bool, int or float.
        low: the least number allowed.
        high: the largest.

    Raises:
        ValueError: it is missing or of another kind.
    """
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    kinds = (int, float) if kind is float else (kind,)
    is_number = kind in (int, float)
    check(
        type(value) in kinds and (not is_number or low <= value <= high),
        f"{run}/config.json has {key} {str(value)[:40]!r}, where {_WORDS[kind]}"
        + (f" from {low:g} to {high:g}" if is_number else "")
        + " is needed: it is not the config of a run of launch.py, or damaged",
    )
    return value


def _parse(run: str, rounds: Sequence[Mapping[str, Any]]) -> list[SavedPolicies]:
    """The policies of every round, all of one shape, ranges, order and fill."""
    saved = []
    for number, line in enumerate(rounds):
        try:
            saved.append(policy_json.from_json(line))
        except ValueError as error:
            raise ValueError(
                f"{run}/policies.jsonl: round {number}: {error}"
            ) from error
    first = saved[0]
    for number, other in enumerate(saved):
        for key in ("ranges", "order", "fill"):
            was, now = getattr(first, key), getattr(other, key)
            check(
                was == now, f"{run}: {key} is {was!r} in round 0, {now!r} in {number}"
            )
        check(
            other.policies.ops.shape == first.policies.ops.shape,
            f"{run}: round {number} has policies of another shape than round 0",
        )
    return saved


def _losses(
    run: str, rounds: Sequence[Mapping[str, Any]], num_policies: int
) -> np.ndarray:
    """The losses of every round, float64 [R, M]; null is -inf."""
    for number, line in enumerate(rounds):
        given = line.get("losses")
        good = isinstance(given, list) and [
            loss is None or (type(loss) in (int, float) and abs(loss) <= _MOST_LOSS)
            for loss in given
        ]
        check(
            isinstance(good, list) and len(good) == num_policies and all(good),
            f"{run}/policies.jsonl: round {number} has losses {str(given)[:40]!r}, "
            f"where a list of {num_policies} numbers is needed, one a policy",
        )
    return np.array(
        [[-np.inf if x is None else x for x in line["losses"]] for line in rounds],
        np.float64,
    )


def _steps(run: str, rounds: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The steps at which rounds were over, int [R]."""
    steps = [line["step"] for line in rounds]
    increasing = all(
        0 <= before < step <= _MOST
        for before, step in zip([0, *steps], steps, strict=False)
    )
    check(
        increasing,
        f"{run}/policies.jsonl: its rounds end at steps that do not increase: it is "
        "damaged",
    )
    return np.array(steps, np.int64)
