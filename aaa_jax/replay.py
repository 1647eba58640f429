"""Recorded policies as a policy source: transfer from a run (Table 6), or from a file.

A run records every round's policies with their losses, range table, order and fill, and
snapshots of its controller; `replay_source` trains something else with them, by
progress: target epoch e of E_t uses source epoch floor(e * E_s / E_t). What is recorded
is applied as it was, or refused. Where files lie in a run directory is the business of
`metrics` and `snapshots`.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import controller, metrics, policies, snapshots
from aaa_jax.policies import RANGES, Policies, SavedPolicies
from aaa_jax.policy_source import (
    PolicySource,
    check,
    check_shape,
    describe_given,
    no_state,
)

# Silent: which of an epoch's M policies a transferred run uses. Sec. 3.2: "the 5 best
# policies are concatenated to form a single policy with 25 sub-policies".
SELECTIONS = ("best5", "all", "resample")
NUM_BEST = 5
# Config names that leave ranges, order and fill to what was recorded: the defaults.
AS_RECORDED = {
    "ranges": "monotone",
    "order": "standard_first",
    "fill": "dataset",
}


class Recording(NamedTuple):
    """The policies of every round of a run, on the host.

    Attributes:
        policies: int32 and float32 [R, M, Q, S], of R rounds; NumPy arrays.
        losses: float64 [R, M], the average loss under each policy; -inf where unknown.
        steps: int [R], steps done when the round was over.
        ranges: name of the range table.
        order: of `policies.ORDERS`.
        fill: colour (red, green, blue) of moved-in pixels.
        config: the run's configuration.
    """

    policies: Policies
    losses: np.ndarray
    steps: np.ndarray
    ranges: str
    order: str
    fill: tuple[int, int, int]
    config: dict[str, Any]

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
        config = metrics.read_config(run)
        lines = metrics.read_lines(run, "policies")
        facts = snapshots.load_facts(run)
    except metrics.RunDirectoryError as error:
        raise ValueError(f"{run} cannot be replayed: {error}") from error
    rounds = [line for line in lines if "round" in line]
    check(bool(rounds), f"{run} has no round in policies.jsonl: no run, or too short")
    check(
        all("policies" in line for line in rounds),
        f"{run} does not record its policies, since they follow from its config "
        f"(source {config['policies']['source']!r}): use that preset argument instead",
    )
    numbers = [line["round"] for line in rounds]
    check(
        numbers == list(range(len(rounds))),
        f"{run}/policies.jsonl does not hold the rounds 0 to {len(rounds) - 1} in "
        "order: it is incomplete",
    )
    if facts and finished:
        planned = facts["total_steps"] // facts["round_steps"]
        check(
            len(rounds) >= planned,
            f"{run} is not finished ({len(rounds)} of {planned} rounds): finish it",
        )
    return _stack(run, rounds, config)


def replay_source(
    run: str,
    num_policies: int = 1,
    *,
    selection: str = "best5",
    ranges: str = "monotone",
    order: str = "standard_first",
    fill: str = "dataset",
) -> PolicySource:
    """The policies that a run recorded, by progress (Table 6, Policy transfer).

    Args:
        run: the directory of a finished run.
        num_policies: M; "best5" and "all" give the same policy M times.
        selection: "best5": the five policies of highest average loss as one policy;
            "all": all of a round's policies as one; "resample": five policies drawn
            anew in every round from the controller as it was when the round began.
        ranges: the config's range table, for the check: the default leaves it to the
            recording, anything else must be what was recorded.
        order: likewise.
        fill: likewise; "alpha" must be given where it was recorded.

    Raises:
        ValueError: what is recorded is missing, or cannot be honoured.
    """
    check_shape(num_policies, 1)
    check(selection in SELECTIONS, f"selection {selection!r} is not in {SELECTIONS}")
    recording = read_recording(run)
    recorded_fill = str(recording.config["policies"]["fill"])
    _check_honoured(run, "ranges", ranges, recording.ranges)
    _check_honoured(run, "order", order, recording.order)
    _check_fill(run, fill, recorded_fill, recording.fill)
    if selection == "resample":
        init, sample = _resampled(run, recording, num_policies)
    else:
        init, sample = _selected(recording, selection, num_policies)
    return PolicySource(
        init,
        sample,
        describe_given(RANGES[recording.ranges].num_magnitudes),
        "replay",
        num_policies,
        ranges=recording.ranges,
        order=recording.order,
        fill=recording.fill,
    )


def file_source(
    path: str,
    num_policies: int = 1,
    *,
    ranges: str = "monotone",
    order: str = "standard_first",
    fill: str = "dataset",
) -> PolicySource:
    """The policies of a JSON file in every round (`docs/policies.md`).

    Args:
        path: of the file.
        num_policies: M; the file holds M policies, or one, which is then repeated.
        ranges: as in `replay_source`, as the next two.
        order: likewise.
        fill: likewise.

    Raises:
        ValueError: the file is missing or wrong, or cannot be honoured.
    """
    check_shape(num_policies, 1)
    saved, alpha = read_policies(path)
    _check_honoured(path, "ranges", ranges, saved.ranges)
    _check_honoured(path, "order", order, saved.order)
    _check_fill(path, fill, "alpha" if alpha else "dataset", saved.fill)
    given = saved.policies
    if given.num_policies == 1:
        given = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_policies, 0), given)
    check(
        given.num_policies == num_policies,
        f"num_policies is {num_policies}, but {path} has {given.num_policies} policies:"
        f" set policies.num_policies={given.num_policies}, or give a file with one",
    )

    def sample(key: jax.Array, state: Any, progress: jax.Array | float) -> Policies:
        return given

    update = describe_given(RANGES[saved.ranges].num_magnitudes)
    return PolicySource(
        no_state,
        sample,
        update,
        "file",
        num_policies,
        ranges=saved.ranges,
        order=saved.order,
        fill=saved.fill,
    )


def read_policies(path: str) -> tuple[SavedPolicies, bool]:
    """The policies of a JSON file, and whether moved-in pixels are invalid (alpha)."""
    check(bool(path), "no file is given: set policies.file to a JSON file of policies")
    try:
        record = json.loads(pathlib.Path(path).read_text())
        return policies.from_json(record), bool(record.get("alpha", False))
    except (OSError, ValueError) as error:
        raise ValueError(f"the policies of {path} cannot be read: {error}") from error


def select(recording: Recording, selection: str) -> Policies:
    """One policy for every round: NumPy arrays [R, 1, Q', S].

    Args:
        recording: R rounds of M policies.
        selection: "best5", the five (or all, if M is smaller) of highest loss, hardest
            first, ties by their place; or "all".
    """
    num_rounds, num_policies = recording.losses.shape
    if selection == "all":
        chosen = np.tile(np.arange(num_policies), (num_rounds, 1))
    else:
        hardest_first = np.argsort(-recording.losses, axis=1, kind="stable")
        chosen = hardest_first[:, :NUM_BEST]

    def concatenate(leaf: np.ndarray) -> np.ndarray:
        taken = np.take_along_axis(leaf, chosen[:, :, None, None], axis=1)
        return taken.reshape(num_rounds, 1, -1, leaf.shape[3])

    return jax.tree.map(concatenate, recording.policies)


def round_at(progress: jax.Array | float, num_rounds: int) -> jax.Array:
    """The round floor(progress * R) of a recording of R rounds, int32 [].

    What float32 makes of progress is up to 2e-7 too small, relatively; the product is
    raised by twice that, so that a round begins where it should.
    """
    place = jnp.asarray(progress, jnp.float32) * num_rounds * (1 + 4e-7)
    return jnp.clip(place.astype(jnp.int32), 0, num_rounds - 1)


def _stack(run: str, rounds: list[dict[str, Any]], config: dict[str, Any]) -> Recording:
    """Lines of `policies.jsonl` as arrays."""
    try:
        saved = [policies.from_json(line) for line in rounds]
    except ValueError as error:
        raise ValueError(f"{run}/policies.jsonl: {error}") from error
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
    losses = [
        [-np.inf if loss is None else loss for loss in line["losses"]]
        for line in rounds
    ]
    return Recording(
        policies=jax.tree.map(
            lambda *leaves: np.stack(leaves), *[one.policies for one in saved]
        ),
        losses=np.asarray(losses, np.float64),
        steps=np.asarray([line["step"] for line in rounds]),
        ranges=first.ranges,
        order=first.order,
        fill=first.fill,
        config=config,
    )


def _selected(recording: Recording, selection: str, num_policies: int) -> tuple:
    """`init` and `sample` of fixed choices; the state is what every round applies."""
    chosen = select(recording, selection)

    def init(key: jax.Array) -> Policies:
        return jax.tree.map(jnp.asarray, chosen)

    def sample(
        key: jax.Array, state: Policies, progress: jax.Array | float
    ) -> Policies:
        now = round_at(progress, recording.num_rounds)
        return jax.tree.map(
            lambda leaf: jnp.repeat(leaf[now], num_policies, axis=0), state
        )

    return init, sample


def _resampled(run: str, recording: Recording, num_policies: int) -> tuple:
    """`init` and `sample` of draws; the state is the controllers that drew them."""
    module = _recorded_controller(run, recording.config)
    begins = np.concatenate([[0], recording.steps[:-1]])
    steps = np.asarray(snapshots.snapshot_steps(run))
    check(
        len(steps) > 0 and steps[0] == 0,
        f"{run} has no snapshots of its controller from the first step on, in "
        f"{snapshots.FOLDER}/: use replay_selection=best5 or all",
    )
    places = np.searchsorted(steps, begins, side="right") - 1
    used, place_of_round = np.unique(places, return_inverse=True)
    loaded = [snapshots.load_snapshot(run, steps[place])["params"] for place in used]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *loaded)
    state = {"params": stacked, "place": place_of_round.astype(np.int32)}
    shape = (num_policies, NUM_BEST * module.num_sub_policies, controller.CHAIN_LENGTH)

    def init(key: jax.Array) -> dict[str, Any]:
        return jax.tree.map(jnp.asarray, state)

    def sample(
        key: jax.Array, state: dict[str, Any], progress: jax.Array | float
    ) -> Policies:
        place = state["place"][round_at(progress, recording.num_rounds)]
        params = {"params": jax.tree.map(lambda leaf: leaf[place], state["params"])}
        drawn = controller.sample(key, params, module, num_policies * NUM_BEST)
        return jax.tree.map(lambda leaf: leaf.reshape(shape), drawn)

    return init, sample


def _recorded_controller(run: str, config: Mapping[str, Any]) -> controller.Controller:
    check(
        config["policies"]["source"] == "adversarial",
        f"{run} has no controller (its source is {config['policies']['source']!r}): "
        "use replay_selection=best5 or all",
    )
    options = config["controller"]
    return controller.Controller(
        num_sub_policies=config["policies"]["num_sub_policies"],
        hidden_size=options["hidden_size"],
        embedding_size=options["embedding_size"],
        tanh_constant=options["tanh_constant"] or None,
        temperature=options["temperature"],
        reset_per_sub_policy=options["reset_per_sub_policy"],
    )


def _check_honoured(where: str, key: str, given: str, recorded: str) -> None:
    check(
        given in (AS_RECORDED[key], recorded),
        f"policies.{key} is {given!r}, but {where} was recorded with {recorded!r}: "
        f"leave policies.{key} at {AS_RECORDED[key]!r}, which applies it as recorded",
    )


def _check_fill(
    where: str, given: str, recorded: str, color: tuple[int, int, int]
) -> None:
    allowed = ("alpha",) if recorded == "alpha" else (AS_RECORDED["fill"], recorded)
    check(
        given in allowed,
        f"policies.fill is {given!r}, but {where} was recorded with {recorded!r} "
        f"{color}: set policies.fill={allowed[0]}, which applies it as recorded",
    )
