"""What every policy source is: three pure functions, and what they report."""

import functools
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import objective
from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import RANGES
from aaa_jax.augment.policies import Policies, check_policies, require_policies

Info = dict[str, jax.Array]

REWARDS = ("loss", "gain")
CREDITS = ("policy", "sub_policy", "sub_policy_less_image_mean")

MOST_POLICIES, MOST_SUB_POLICIES = 1024, 4096  # of a round, of a policy


class RoundOutcome(NamedTuple):
    """What a round says of its policies; larger losses mean harder policies.

    Attributes:
        losses: float32 [M], L̂_m.
        standard_errors: float32 [M], of `losses`; None: not known.
        sub_policy_losses: float32 [M, Q], what the source's `credit` and `reward` ask
            for beyond L̂_m, or None. One that no row drew has the mean of the others.
        sub_policy_errors: as `sub_policy_losses`, their standard errors; 0 where no row
            drew it.
    """

    losses: jax.Array
    standard_errors: jax.Array | None = None
    sub_policy_losses: jax.Array | None = None
    sub_policy_errors: jax.Array | None = None

    def rewarded(self, credit: str) -> jax.Array:
        """What a controller with this credit learns from: [M] or [M, Q]."""
        finest = self.sub_policy_losses
        if finest is None:
            return self.losses
        return jnp.mean(finest, axis=1) if credit == "policy" else finest


class PolicySource(NamedTuple):
    """Where policies come from (Alg. 1, lines 3 and 10); made by a row of `SOURCES`.

    Attributes:
        init: key -> state, a pytree of arrays; `()` where nothing is learned.
        sample: (key, state, progress) -> Policies of M policies; progress in [0, 1) is
            the fraction of training done.
        update: (state, policies, RoundOutcome) -> (state, info). `info` has the same
            keys for every source, all float32 and finite: op_entropy,
            magnitude_entropy, kl, gradient_norm, entropy_weight []; rewards [M], or
            [M, Q] where sub-policies are rewarded; log_probs [M]; op_shares [17] and
            magnitude_shares [magnitudes of the range table], the expected shares under
            the distribution that the policies were drawn from.
        name: the source's row in `SOURCES`.
        num_policies: M.
        is_learned: whether `update` changes the state.
        ranges: the range table of its magnitudes, which its policies name too; None:
            the config's.
        order: one of `policy_json.ORDERS`; None: the config's.
        fill: colour (red, green, blue) of moved-in pixels; None: the config's.
        snapshot: state -> what a run keeps of it in `controller/`, a mapping of names
            to arrays; None: nothing.
        reward: one of REWARDS: the loss, as in Eq. 8, or the gain: the loss that the
            network had on the same rows at the round's start, less its loss now.
        credit: one of CREDITS: what the outcome of a round must hold: no losses of
            sub-policies; the mean loss of each one's rows; the same after each row's
            loss was lessened by the mean over the M rows of its image.
    """

    init: Callable[[jax.Array], Any]
    sample: Callable[[jax.Array, Any, jax.Array | float], Policies]
    update: Callable[[Any, Policies, RoundOutcome], tuple[Any, Info]]
    name: str
    num_policies: int
    is_learned: bool = False
    ranges: str | None = None
    order: str | None = None
    fill: tuple[int, int, int] | None = None
    snapshot: Callable[[Any], dict[str, Any]] | None = None
    reward: str = "loss"
    credit: str = "policy"


def constant_source(
    name: str,
    policies: Policies,
    *,
    order: str | None = None,
    fill: tuple[int, int, int] | None = None,
) -> PolicySource:
    """A source that gives the same policies in every round, in their own ranges."""
    return PolicySource(
        no_state,
        functools.partial(_sample_constant, policies),
        describe,
        name,
        policies.num_policies,
        ranges=policies.ranges,
        order=order,
        fill=fill,
    )


def describe(state: Any, policies: Policies, outcome: RoundOutcome) -> tuple[Any, Info]:
    """An `update` that learns nothing and describes the policies it is given.

    Shares count every op with its probability; an Identity has no magnitude. Entropies
    are those of the shares.
    """
    policies = check_policies(policies)
    num_magnitudes = RANGES[policies.ranges or "monotone"].num_magnitudes
    is_op = policies.ops < ops.NUM_SEARCH_OPS
    op_shares = _shares(policies.ops, policies.probs, len(ops.OPS))
    magnitude_shares = _shares(
        policies.magnitudes, jnp.where(is_op, policies.probs, 0.0), num_magnitudes
    )
    return state, constant_info(policies, outcome) | {
        "op_entropy": _entropy_fraction(op_shares, ops.NUM_SEARCH_OPS),
        "magnitude_entropy": _entropy_fraction(magnitude_shares, num_magnitudes),
        "op_shares": op_shares,
        "magnitude_shares": magnitude_shares,
    }


def constant_info(policies: Policies, outcome: RoundOutcome) -> Info:
    """The part of `info` that is the same for every source that does not learn."""
    rewards = objective.normalize_losses(losses_of(policies, outcome))
    return {
        "rewards": jnp.where(jnp.all(jnp.isfinite(rewards)), rewards, 0.0),
        "log_probs": jnp.zeros(rewards.shape, jnp.float32),
        "gradient_norm": jnp.float32(0.0),
        "kl": jnp.float32(0.0),
        "entropy_weight": jnp.float32(0.0),
    }


def losses_of(policies: Policies, outcome: RoundOutcome) -> jax.Array:
    """The losses of a round, float32 [M], if there is one for each of M policies."""
    if not isinstance(outcome, RoundOutcome):
        found = type(outcome).__name__
        raise ValueError(f"outcome is {found}: give RoundOutcome(losses), losses [M]")
    require_policies(policies)
    shape = (policies.num_policies,)
    if np.shape(outcome.losses) != shape:
        found = list(np.shape(outcome.losses))
        raise ValueError(f"losses {found}: {list(shape)}, one a policy, is needed")
    return jnp.asarray(outcome.losses, jnp.float32)


def no_state(key: jax.Array) -> tuple[()]:
    """The `init` of a source without a state."""
    return ()


def check(holds: bool, message: str) -> None:
    """Raises a ValueError with this message unless the condition holds."""
    if not holds:
        raise ValueError(message)


def check_positive(**values: float | None) -> None:
    """Refuses an option that is neither None nor positive, by its name."""
    for name, value in values.items():
        is_positive = isinstance(value, numbers.Real) and value > 0
        check(value is None or is_positive, f"{name} is {value!r}, must be positive")


def check_one_of(allowed: Iterable[str], **values: str) -> None:
    """Refuses an option that is not one of these names."""
    for name, value in values.items():
        check(value in allowed, f"{name} {value!r} is not in {', '.join(allowed)}")


def check_sizes(most: int, **sizes: int) -> None:
    """Refuses a size that is not from 1 to `most`, by its name."""
    for name, size in sizes.items():
        check(
            isinstance(size, int | np.integer) and 1 <= size <= most,
            f"{name} is {size!r}, must be a whole number from 1 to {most}",
        )


def check_shape(num_policies: int, num_sub_policies: int = 1) -> None:
    """Refuses a number of policies or sub-policies that nobody can mean."""
    check_sizes(MOST_POLICIES, num_policies=num_policies)
    check_sizes(MOST_SUB_POLICIES, num_sub_policies=num_sub_policies)


def _sample_constant(
    policies: Policies, key: jax.Array, state: Any, progress: jax.Array | float
) -> Policies:
    return policies


def _shares(values: jax.Array, weights: jax.Array, width: int) -> jax.Array:
    counts = jnp.zeros(width, jnp.float32).at[values].add(weights)
    return counts / jnp.maximum(jnp.sum(counts), jnp.finfo(jnp.float32).tiny)


def _entropy_fraction(shares: jax.Array, width: int) -> jax.Array:
    # entr(0) has a NaN in a branch not taken, which jax_debug_nans reports.
    logs = jnp.log(jnp.where(shares > 0, shares, 1.0))
    entropy = -jnp.sum(shares * logs)
    return jnp.minimum(entropy / math.log(width), 1.0)
