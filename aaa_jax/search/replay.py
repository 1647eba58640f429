"""Recorded policies as a policy source: transfer from a run (Table 6), or from a file.

A run records every round's policies with their losses, range table, order and fill, and
snapshots of its controller. `replay_source` trains something else with them, by
progress: target epoch e of E_t uses source epoch floor(e * E_s / E_t). What is recorded
is applied as it was, or refused.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aaa_jax.augment import policy_json
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import SavedPolicies
from aaa_jax.runtime import paths, randomness
from aaa_jax.search import controller
from aaa_jax.search.policy_source import (
    PolicySource,
    check,
    check_one_of,
    check_shape,
    constant_source,
    describe,
)
from aaa_jax.search.recorded_run import Recording, read_recording
from aaa_jax.workdir import snapshots

# Silent: which of an epoch's M policies a transferred run uses. Sec. 3.2: "the 5 best
# policies are concatenated to form a single policy with 25 sub-policies".
SELECTIONS = ("best5", "all", "resample")
NUM_BEST = 5


class Requested(NamedTuple):
    """How a config wants policies to be applied: values of policies.KEY.

    The defaults leave it to what was recorded; anything else must be what was recorded.
    A recorded fill "alpha" must be requested.
    """

    ranges: str = "monotone"
    order: str = "standard_first"
    fill: str = "dataset"


AS_RECORDED = Requested()


def replay_source(
    run: str,
    num_policies: int = 1,
    *,
    selection: str = "best5",
    requested: Requested = AS_RECORDED,
) -> PolicySource:
    """The policies that a run recorded, by progress (Table 6, Policy transfer).

    Args:
        run: the directory of a finished run.
        num_policies: M; "best5" and "all" give the same policy M times.
        selection: "best5": the five policies of highest average loss as one policy;
            "all": all of a round's policies as one; "resample": five policies drawn
            anew in every round from the controller as it was when the round began.
        requested: what the config asks for; see `Requested`.

    Raises:
        ValueError: what is recorded is missing, or cannot be honoured.
    """
    check_shape(num_policies)
    check_one_of(SELECTIONS, selection=selection)
    run = paths.expand(run)
    recording = read_recording(run)
    saved = recording.saved
    _check_requested(requested, run, saved, recording.fill_name)
    if selection == "resample":
        state, sample = _resampled(run, recording, num_policies)
    else:
        state = select(recording, selection)
        kind = recording.num_rounds, num_policies
        sample = functools.partial(_sample_selected, *kind)
    return PolicySource(
        functools.partial(_init_arrays, state),
        sample,
        describe,
        "replay",
        num_policies,
        ranges=saved.ranges,
        order=saved.order,
        fill=saved.fill,
    )


def file_source(
    path: str, num_policies: int | None = None, *, requested: Requested = AS_RECORDED
) -> PolicySource:
    """The policies of a JSON file in every round (`docs/policies.md`).

    Args:
        path: of the file.
        num_policies: M; the file holds M policies, or one, which is then repeated;
            None: as many as the file holds.
        requested: what the config asks for; see `Requested`.

    Raises:
        ValueError: the file is missing or wrong, or cannot be honoured.
    """
    saved = policy_json.load_policies(path)
    if num_policies is None:
        num_policies = saved.policies.num_policies
    check_shape(num_policies)
    _check_requested(requested, path, saved, "alpha" if saved.alpha else "dataset")
    given = saved.policies
    if given.num_policies == 1:
        given = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_policies, 0), given)
    check(
        given.num_policies == num_policies,
        f"num_policies is {num_policies}, but {path} has {given.num_policies} policies:"
        f" give num_policies={given.num_policies}, or a file with one",
    )
    return constant_source("file", given, order=saved.order, fill=saved.fill)


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

    return jax.tree.map(concatenate, recording.saved.policies)


def round_at(progress: jax.Array | float, num_rounds: int) -> jax.Array:
    """The round floor(progress * R) of a recording of R rounds, int32 [].

    Progress in float32 may be too small by a relative 2e-7. The product is raised by
    twice that, so that a round begins where it should.
    """
    place = jnp.asarray(progress, jnp.float32) * num_rounds * (1 + 4e-7)
    return jnp.clip(place.astype(jnp.int32), 0, num_rounds - 1)


def _init_arrays(state: Any, key: jax.Array) -> Any:
    return jax.tree.map(jnp.asarray, state)


def _sample_selected(
    num_rounds: int,
    num_policies: int,
    key: jax.Array,
    state: Policies,
    progress: jax.Array | float,
) -> Policies:
    now = round_at(progress, num_rounds)
    return jax.tree.map(lambda leaf: jnp.repeat(leaf[now], num_policies, axis=0), state)


def _resampled(run: str, recording: Recording, num_policies: int) -> tuple:
    """The state, which holds the controllers, and `sample` of policies drawn anew."""
    module = _recorded_controller(run, recording)
    begins = np.concatenate([[0], recording.steps[:-1]])
    steps = np.asarray(snapshots.snapshot_steps(run))
    check(
        len(steps) > 0 and steps[0] == 0,
        f"{run} has no snapshots of its controller from the first step on, in "
        f"{snapshots.FOLDER}/: use replay_selection=best5 or all",
    )
    places = np.searchsorted(steps, begins, side="right") - 1
    used, place_of_round = np.unique(places, return_inverse=True)
    loaded = [_recorded_params(run, steps[place], module) for place in used]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *loaded)
    state = {"params": stacked, "place": place_of_round.astype(np.int32)}
    kind = num_policies, recording.num_rounds, recording.saved.ranges
    return state, functools.partial(_sample_anew, module, *kind)


def _sample_anew(
    module: controller.Controller,
    num_policies: int,
    num_rounds: int,
    ranges: str,
    key: jax.Array,
    state: dict[str, Any],
    progress: jax.Array | float,
) -> Policies:
    place = state["place"][round_at(progress, num_rounds)]
    params = {"params": jax.tree.map(lambda leaf: leaf[place], state["params"])}
    drawn = controller.sample(key, params, module, num_policies * NUM_BEST)
    shape = (num_policies, NUM_BEST * module.num_sub_policies, controller.CHAIN_LENGTH)
    shaped = jax.tree.map(lambda leaf: leaf.reshape(shape), drawn)
    return dataclasses.replace(shaped, ranges=ranges)


def _recorded_controller(run: str, recording: Recording) -> controller.Controller:
    """The controller of the run's config, for policies of the recorded shape."""
    check(
        recording.source == "adversarial",
        f"{run} has no controller (its source is {recording.source!r}): "
        "use replay_selection=best5 or all",
    )
    try:
        options = recording.config["controller"]
        module = controller.Controller(
            num_sub_policies=recording.saved.policies.ops.shape[2],
            hidden_size=options["hidden_size"],
            embedding_size=options["embedding_size"],
            tanh_constant=options["tanh_constant"] or None,
            temperature=options["temperature"],
            reset_per_sub_policy=options["reset_per_sub_policy"],
        )
        _param_shapes(module)
    except Exception as error:  # JAX and Flax raise many kinds
        raise ValueError(
            f"{run}/config.json has no controller that can be built: it is not the "
            "config of a run of launch.py, or damaged"
        ) from error
    return module


def _param_shapes(module: controller.Controller) -> dict[str, tuple[int, ...]]:
    init = functools.partial(controller.init, module=module, tx=optax.identity())
    params = jax.eval_shape(init, randomness.key_of_seed(0)).params["params"]
    return {name: leaf.shape for name, leaf in params.items()}


def _recorded_params(
    run: str, step: int, module: controller.Controller
) -> dict[str, np.ndarray]:
    """The parameters of a snapshot, if they fit the controller of the run's config."""
    params = snapshots.load_snapshot(run, step).get("params", {})
    found, expected = jax.tree.map(np.shape, params), _param_shapes(module)
    check(
        found == expected,
        f"{run}/{snapshots.FOLDER}/{step}.npz has parameters of the shapes {found}, "
        f"but the controller of its config.json has {expected}: they are of different "
        "runs; use replay_selection=best5 or all",
    )
    return params


def _check_requested(
    requested: Requested, where: str, saved: SavedPolicies, fill_name: str
) -> None:
    """Refuses a config that requests something other than what was recorded."""
    recorded = Requested(saved.ranges, saved.order, fill_name)
    for key, wish, default, was in zip(
        Requested._fields, requested, AS_RECORDED, recorded, strict=True
    ):
        right = "alpha" if was == "alpha" else default
        check(
            wish in (right, was),
            f"policies.{key} is {wish!r}, but {where} was recorded with {was!r}: set "
            f"policies.{key}={right}, which applies it as recorded",
        )
