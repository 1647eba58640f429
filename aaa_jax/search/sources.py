"""Policy sources: where each round's policies come from, as three pure functions.

A training loop needs nothing else to run any row of Table 4 or column of Table 1:

    source = SOURCES["adversarial"](num_policies=8)
    state = source.init(key)
    policies = source.sample(key, state, progress)      # at the start of a round
    state, info = source.update(state, policies, RoundOutcome(losses))  # at its end

All three can be jitted. A new source is a function here and a row in `SOURCES`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aaa_jax import objective
from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.augment.policies import Policies, check_policies, identity_policies
from aaa_jax.runtime import randomness
from aaa_jax.search import controller, published
from aaa_jax.search.policy_source import (
    CREDITS,
    REWARDS,
    Info,
    PolicySource,
    RoundOutcome,
    check,
    check_one_of,
    check_positive,
    check_shape,
    check_sizes,
    constant_info,
    constant_source,
    describe,
    losses_of,
    no_state,
)
from aaa_jax.search.replay import file_source, replay_source

RANDAUGMENT_SCALES = (10, 30)


def adversarial_source(
    num_policies: int = 8,
    num_sub_policies: int = 5,
    *,
    hidden_size: int = 100,
    embedding_size: int = 32,
    learning_rate: float = 3.5e-4,
    entropy_weight: float = 1e-5,
    normalization: str = "standardize",
    reset_per_sub_policy: bool = False,
    tanh_constant: float | None = None,
    temperature: float = 1.0,
    entropy_target: float | None = None,
    kl_cap: float | None = None,
    reward: str = "loss",
    credit: str = "policy",
    steps_per_round: int = 1,
) -> PolicySource:
    """The paper's controller, which learns to make training hard (Eqs. 7-9, Table 4).

    Args:
        num_policies: M; at least 2, since rewards are relative.
        num_sub_policies: Q.
        hidden_size: units of the LSTM.
        embedding_size: numbers per embedded action.
        learning_rate: of Adam.
        entropy_weight: on the entropy summed over the decisions.
        normalization: one of `objective.NORMALIZATIONS`.
        reset_per_sub_policy: forget the last sub-policy before the next is drawn.
        tanh_constant: None, or c in logits = c tanh(logits).
        temperature: divides the logits.
        entropy_target: None, or a fraction of the maximal entropy, in (0, 1).
        kl_cap: None, or the most nats between successive controllers.
        reward: one of `REWARDS`, see `PolicySource`.
        credit: one of `CREDITS`: a reward for each policy (Eq. 9), or for each
            sub-policy, see `PolicySource`.
        steps_per_round: of Adam on a round's policies; the paper's is 1.
    """
    check_shape(num_policies, num_sub_policies)
    check(num_policies >= 2, f"num_policies is {num_policies}, must be at least 2")
    check_sizes(
        controller.MOST_UNITS, hidden_size=hidden_size, embedding_size=embedding_size
    )
    check_positive(learning_rate=learning_rate, temperature=temperature)
    check_positive(tanh_constant=tanh_constant, kl_cap=kl_cap)
    check(entropy_weight >= 0, f"entropy_weight is {entropy_weight}, must be >= 0")
    check(
        entropy_target is None or 0 < entropy_target < 1,
        f"entropy_target is {entropy_target}, must be None or in (0, 1)",
    )
    check_one_of(objective.NORMALIZATIONS, normalization=normalization)
    check_one_of(REWARDS, reward=reward)
    check_one_of(CREDITS, credit=credit)
    check_sizes(controller.MOST_STEPS, steps_per_round=steps_per_round)
    module = controller.Controller(
        num_sub_policies=num_sub_policies,
        hidden_size=hidden_size,
        embedding_size=embedding_size,
        tanh_constant=tanh_constant,
        temperature=temperature,
        reset_per_sub_policy=reset_per_sub_policy,
    )
    return PolicySource(
        functools.partial(
            _init_controller, module, learning_rate, entropy_weight=entropy_weight
        ),
        functools.partial(_sample_controller, module, num_policies),
        functools.partial(
            _update_controller,
            module,
            learning_rate,
            normalization=normalization,
            entropy_target=entropy_target,
            kl_cap=kl_cap,
            steps=steps_per_round,
            credit=credit,
        ),
        "adversarial",
        num_policies,
        is_learned=True,
        snapshot=_snapshot,
        reward=reward,
        credit=credit,
    )


# One optimiser for equal rates, so that equal sources share what is compiled.
_adam = functools.lru_cache(optax.adam)


def _init_controller(
    module: controller.Controller,
    learning_rate: float,
    key: jax.Array,
    *,
    entropy_weight: float,
) -> controller.ControllerState:
    tx = _adam(learning_rate)
    return controller.init(key, module, tx, entropy_weight=entropy_weight)


def _sample_controller(
    module: controller.Controller,
    num_policies: int,
    key: jax.Array,
    state: controller.ControllerState,
    progress: jax.Array | float,
) -> Policies:
    return controller.sample(key, state.params, module, num_policies)


def _update_controller(
    module: controller.Controller,
    learning_rate: float,
    state: controller.ControllerState,
    policies: Policies,
    outcome: RoundOutcome,
    *,
    credit: str,
    **options: Any,
) -> tuple[controller.ControllerState, Info]:
    losses_of(policies, outcome)
    drawn = controller.check_drawn(policies, module)
    tx, losses = _adam(learning_rate), outcome.rewarded(credit)
    state, info = controller.update(
        state, drawn, losses, module=module, tx=tx, **options
    )
    return state, info | {"op_shares": _of_all_ops(info["op_shares"])}


def _snapshot(state: controller.ControllerState) -> dict[str, Any]:
    """What a run keeps of a controller: enough to sample from it again."""
    return state.params | {"entropy_weight": state.entropy_weight}


def random_source(num_policies: int = 8, num_sub_policies: int = 5) -> PolicySource:
    """Fresh policies every round, uniform over the search space (Table 4, Random).

    From the same key it draws what a controller whose heads are zero draws.
    """
    check_shape(num_policies, num_sub_policies)
    shape = (num_policies, num_sub_policies, controller.CHAIN_LENGTH)
    return PolicySource(
        no_state,
        functools.partial(_sample_uniform, shape=shape),
        functools.partial(_describe_uniform, shape),
        "random",
        num_policies,
    )


@randomness.drawing
@functools.partial(jax.jit, static_argnames="shape")
def _sample_uniform(
    key: jax.Array, state: Any, progress: jax.Array | float, *, shape: tuple[int, ...]
) -> Policies:
    def draw(decision: jax.Array, width: int) -> jax.Array:
        logits = jnp.zeros((shape[0], width), jnp.float32)
        folded = jax.random.fold_in(key, decision)
        drawn = jax.random.categorical(folded, logits, mode="low")
        return drawn.astype(jnp.int32)

    steps = jnp.arange(math.prod(shape[1:]), dtype=jnp.int32)
    types = jax.vmap(lambda t: draw(2 * t, ops.NUM_SEARCH_OPS))(steps)
    magnitudes = jax.vmap(lambda t: draw(2 * t + 1, NUM_MAGNITUDES))(steps)
    return Policies(
        ops=types.T.reshape(shape),
        magnitudes=magnitudes.T.reshape(shape),
        probs=jnp.ones(shape, jnp.float32),
    )


def _describe_uniform(
    shape: tuple[int, ...], state: Any, policies: Policies, outcome: RoundOutcome
) -> tuple[Any, Info]:
    policies = check_policies(policies)
    op_shares = jnp.full(ops.NUM_SEARCH_OPS, 1 / ops.NUM_SEARCH_OPS, jnp.float32)
    log_prob = -math.prod(shape[1:]) * math.log(ops.NUM_SEARCH_OPS * NUM_MAGNITUDES)
    return state, constant_info(policies, outcome) | {
        "op_entropy": jnp.float32(1.0),
        "magnitude_entropy": jnp.float32(1.0),
        "log_probs": jnp.full(shape[0], log_prob, jnp.float32),
        "op_shares": _of_all_ops(op_shares),
        "magnitude_shares": jnp.full(NUM_MAGNITUDES, 1 / NUM_MAGNITUDES, jnp.float32),
    }


def fixed_source(
    policies: Policies | None = None, *, num_policies: int = 8
) -> PolicySource:
    """The same policies in every round (Table 4, Baseline at M = 1 and Fixed at M = 8).

    Args:
        policies: what to apply; None: M identity policies, plain training.
        num_policies: M of the identity policies; unused if `policies` are given.
    """
    if policies is None:
        check_shape(num_policies)
        policies = identity_policies(num_policies)
    return constant_source("fixed", policies)


def published_source(policy: str = "cifar10", num_policies: int = 1) -> PolicySource:
    """A policy that AutoAugment published, the same M times (Table 1, AutoAugment).

    Args:
        policy: a key of `published.AUTOAUGMENT`: the dataset it was found on.
        num_policies: M.
    """
    check_one_of(published.AUTOAUGMENT, policy=policy)
    # AutoAugment's own code crops and flips small images after the policy.
    order = "standard_first" if policy == "imagenet" else "policy_first"
    policies = _from_chains(published.AUTOAUGMENT[policy], num_policies, "release")
    return constant_source("published", policies, order=order)


def randaugment_source(
    num_policies: int = 8, *, num_ops: int = 2, magnitude: int = 9, scale: int = 10
) -> PolicySource:
    """RandAugment: each image draws one of all ordered tuples of 14 ops.

    Silent: the scale of the magnitude. RandAugment's paper has 0 to 10, "where a value
    of 10 indicates the maximum scale", and so has timm; torchvision has 0 to 30. The
    paper's searches also name 14 and 28, beyond its maximum: they are refused.

    Args:
        num_policies: M.
        num_ops: ops in a tuple, 1 to 4; the paper's N.
        magnitude: of all ops, 0 to `scale`, which is the strongest; the paper's M.
        scale: 10 or 30.
    """
    check(1 <= num_ops <= 4, f"num_ops is {num_ops}, must be from 1 to 4")
    check(scale in RANDAUGMENT_SCALES, f"scale is {scale}, must be 10 or 30")
    is_whole = isinstance(magnitude, int | np.integer)
    in_scale = is_whole and 0 <= magnitude <= scale
    check(in_scale, f"magnitude is {magnitude}, must be 0 to {scale}, the strongest")
    last = published.NUM_WIDE_MAGNITUDES - 1
    chains = published.randaugment(num_ops, magnitude * last // scale)
    policies = _from_chains(chains, num_policies, "randaugment")
    return constant_source("randaugment", policies)


def trivialaugment_source(num_policies: int = 8) -> PolicySource:
    """TrivialAugment (wide): each image draws one of 14 ops at one of 31 magnitudes."""
    policies = _from_chains(published.trivialaugment(), num_policies, "trivial_wide")
    return constant_source("trivialaugment", policies)


def schedule_source(num_policies: int = 1, *, num_chains: int = 4096) -> PolicySource:
    """PBA's CIFAR schedule: a distribution over chains that moves with progress.

    Each policy is `num_chains` chains drawn anew every round, each as PBA draws it for
    an image: 0, 1 or 2 ops, the first that apply in a shuffled walk over 30 entries.
    Departure: images of a round share these chains, instead of drawing their own.
    Departure: a run of more or fewer than 200 epochs stretches the schedule exactly;
    PBA rounds every part's epochs down.

    Args:
        num_policies: M.
        num_chains: Q, the sub-policies of a policy.
    """
    check_shape(num_policies)
    check_sizes(2**20, num_chains=num_chains)
    parts = published.pba_cifar()
    ends = np.cumsum([epochs for epochs, _ in parts]).astype(np.float32)
    entries = _from_chains([entries for _, entries in parts], 1, "release")
    return PolicySource(
        no_state,
        functools.partial(
            _sample_schedule,
            entries=entries,
            ends=ends,
            shape=(num_policies, num_chains),
        ),
        describe,
        "schedule",
        num_policies,
        ranges="release",
        order="policy_first",
    )


@randomness.drawing
@functools.partial(jax.jit, static_argnames="shape")
def _sample_schedule(
    key: jax.Array,
    state: Any,
    progress: jax.Array | float,
    *,
    entries: Policies,
    ends: jax.Array,
    shape: tuple[int, int],
) -> Policies:
    """Chains [M, Q, 2] as PBA draws them; Identity fills up.

    They are of the part of the schedule [1, parts, 30] that ends at float32 [parts].
    """
    # 1e-3, because float32 may round a part's first epoch down.
    epoch = jnp.asarray(progress, jnp.float32) * ends[-1] + 1e-3
    part = jnp.minimum(jnp.sum(epoch >= ends), len(ends) - 1)
    now = jax.tree.map(lambda leaf: leaf[0, part], entries)
    count_key, place_key, apply_key = jax.random.split(key, 3)
    logits = jnp.log(jnp.asarray(published.PBA_NUM_OPS_PROBS, jnp.float32))
    count = jax.random.categorical(count_key, logits, shape=(*shape, 1), mode="low")
    # Entries in random order, those that do not apply behind all others.
    in_order = (*shape, *now.ops.shape)
    place = jax.random.uniform(place_key, in_order, jnp.float32)
    chance = jax.random.uniform(apply_key, in_order, jnp.float32)
    applies = chance < now.probs[None, None]
    nearness, first = jax.lax.top_k(jnp.where(applies, -place, -jnp.inf), 2)
    is_used = jnp.isfinite(nearness) & (jnp.arange(2)[None, None] < count)
    return Policies(
        ops=jnp.where(is_used, now.ops[first], ops.op_index("Identity")),
        magnitudes=jnp.where(is_used, now.magnitudes[first], 0),
        probs=jnp.ones((*shape, 2), jnp.float32),
        ranges=entries.ranges,
    )


def _from_chains(
    chains: Sequence[published.Chain], num_policies: int, ranges: str
) -> Policies:
    """The same chains for each of M policies, padded with Identity."""
    check_shape(num_policies)
    length = max(len(chain) for chain in chains)
    blank = ("Identity", 1.0, 0)
    rows = [[*chain, *[blank] * (length - len(chain))] for chain in chains]
    numbers = np.array([[(ops.op_index(op), m, p) for op, p, m in row] for row in rows])
    indices, magnitudes, probs = np.moveaxis(
        np.broadcast_to(numbers, (num_policies, *numbers.shape)), -1, 0
    )
    return Policies(
        ops=jnp.asarray(indices, jnp.int32),
        magnitudes=jnp.asarray(magnitudes, jnp.int32),
        probs=jnp.asarray(probs, jnp.float32),
        ranges=ranges,
    )


def _of_all_ops(search_shares: jax.Array) -> jax.Array:
    """Shares [16] of the search space's ops as shares [17] of `ops.OPS`."""
    return jnp.pad(search_shares, (0, len(ops.OPS) - ops.NUM_SEARCH_OPS))


SOURCES: dict[str, Callable[..., PolicySource]] = {
    "adversarial": adversarial_source,
    "random": random_source,
    "fixed": fixed_source,
    "published": published_source,
    "schedule": schedule_source,
    "randaugment": randaugment_source,
    "trivialaugment": trivialaugment_source,
    "replay": replay_source,
    "file": file_source,
}
