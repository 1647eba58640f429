"""The controller A(·, θ): an LSTM that samples policies, and its REINFORCE update.

It decides a policy in 4Q steps: type, magnitude, type, magnitude, … (Fig. 3). `sample`
makes `Policies` from a key, `update` makes new parameters from `Policies` and their
losses. Everything is float32 and can be jitted.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aaa_jax import objective
from aaa_jax.augment.checks import check_integers
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.augment.ops import NUM_SEARCH_OPS
from aaa_jax.augment.policies import Policies
from aaa_jax.runtime import randomness

CHAIN_LENGTH = 2  # ops in a sub-policy (Sec. 3.2)
MOST_UNITS = 4096  # of the LSTM and the embeddings
MOST_STEPS = 32  # on a round's policies; each is compiled
# Of an entropy target: what the entropy weight grows by for the missing fraction of the
# maximal entropy. The first adds up over the updates, the second is for one update.
DUAL_RATE, DAMPING = 0.1, 5.0

Params = Any
LstmState = tuple[jax.Array, jax.Array]  # hidden and cell, each float32 [M, hidden]

# No TF32 on GPUs: the products are tiny.
_dot = functools.partial(jnp.dot, precision=jax.lax.Precision.HIGHEST)


@randomness.initializing
def _uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    size = int(np.prod(shape))  # flat: the same numbers, faster to compile
    return jax.random.uniform(key, (size,), jnp.float32, -0.1, 0.1).reshape(shape)


class Controller(nn.Module):
    """One step of the LSTM and its two heads (Fig. 3, Sec. 4.1).

    Silent: types and magnitudes share one table of embeddings, and all steps share the
    heads. Weights and the LSTM's bias start uniform in ±0.1, the heads' biases at 0.
    Silent: the LSTM's state is carried through all 4Q decisions ("20 discrete
    parameters to form a whole policy"); with `reset_per_sub_policy` every sub-policy
    begins without it.
    Departure: `tanh_constant` c makes the logits c·tanh(logits), and `temperature`
    divides them. The paper's controller has None and 1.
    """

    num_sub_policies: int = 5
    num_ops: int = NUM_SEARCH_OPS
    num_magnitudes: int = NUM_MAGNITUDES
    hidden_size: int = 100
    embedding_size: int = 32
    tanh_constant: float | None = None
    temperature: float = 1.0
    reset_per_sub_policy: bool = False

    def setup(self) -> None:
        """Declares the parameters."""
        hidden, inputs = self.hidden_size, self.embedding_size
        embeddings = (self.num_ops + self.num_magnitudes, inputs)
        self.embedding = self.param("embedding", _uniform, embeddings)
        rows = inputs + hidden
        self.lstm_kernel = self.param("lstm_kernel", _uniform, (rows, 4 * hidden))
        self.lstm_bias = self.param("lstm_bias", _uniform, (4 * hidden,))
        self.op_head = self._head("op", self.num_ops)
        self.magnitude_head = self._head("magnitude", self.num_magnitudes)

    def _head(self, name: str, width: int) -> tuple[jax.Array, jax.Array]:
        kernel = self.param(f"{name}_kernel", _uniform, (self.hidden_size, width))
        zeros = nn.initializers.zeros
        return kernel, self.param(f"{name}_bias", zeros, (width,), jnp.float32)

    def __call__(
        self, state: LstmState, inputs: jax.Array, *, is_op: bool
    ) -> tuple[LstmState, jax.Array]:
        """One decision: a step of the LSTM, and the logits of a type or a magnitude.

        Args:
            state: float32 [M, hidden] twice.
            inputs: float32 [M, embedding], the embedding of the last decision.
            is_op: whether a type is decided; else a magnitude.

        Returns:
            The next state, and float32 [M, num_ops or num_magnitudes].
        """
        hidden, cell = state
        rows = jnp.concatenate([inputs, hidden], axis=1)
        gates = _dot(rows, self.lstm_kernel) + self.lstm_bias[None, :]
        i, f, g, o = jnp.split(gates, 4, axis=1)
        cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
        hidden = nn.sigmoid(o) * jnp.tanh(cell)
        kernel, bias = self.op_head if is_op else self.magnitude_head
        logits = _dot(hidden, kernel) + bias[None, :]
        if self.tanh_constant is not None:
            logits = self.tanh_constant * jnp.tanh(logits)
        return (hidden, cell), logits / self.temperature

    def embed(self, actions: jax.Array) -> jax.Array:
        """Embeddings [M, embedding] of ops (from 0) and magnitudes (from num_ops)."""
        return self.embedding[actions]


class PolicyProbs(NamedTuple):
    """How probable the controller finds given policies, and what else it considered."""

    log_prob: jax.Array  # float32 [M], log p_m, the sum over the 4Q decisions, in nats
    # float32 [M, Q], its part in the four decisions of each sub-policy, given those
    # before
    sub_policy_log_prob: jax.Array
    # float32 [M], the summed entropies of the decisions along policy m
    entropy: jax.Array
    # float32 [M, Q, 2, num_ops], of all choices in each decision
    op_log_probs: jax.Array
    magnitude_log_probs: jax.Array  # float32 [M, Q, 2, num_magnitudes]


@flax.struct.dataclass
class ControllerState:
    """What a controller has learned."""

    params: Params  # θ, the parameters of `Controller`
    opt_state: optax.OptState  # the optimiser's state
    entropy_weight: jax.Array  # float32 []; only an entropy target changes it


@randomness.drawing
@functools.partial(jax.jit, static_argnames=("module", "tx"))
def init(
    key: jax.Array,
    module: Controller,
    tx: optax.GradientTransformation,
    *,
    entropy_weight: float = 1e-5,
) -> ControllerState:
    """A controller with fresh parameters (Alg. 1, "Initialization").

    Args:
        key: of all random numbers.
        module: the controller, with its sizes and restraints.
        tx: the optimiser; the paper's is `optax.adam(3.5e-4)` (Sec. 4.1).
        entropy_weight: the entropy penalty's weight on the entropy summed over the
            4Q decisions (Sec. 4.1). An entropy target moves it from this value.
    """
    inputs = jnp.zeros((1, module.embedding_size), jnp.float32)
    params = module.init(key, _zero_state(module, 1), inputs, is_op=True)
    return ControllerState(
        params=params,
        opt_state=tx.init(params),
        entropy_weight=jnp.asarray(entropy_weight, jnp.float32),
    )


@randomness.drawing
@functools.partial(jax.jit, static_argnames=("module", "num_policies"))
def sample(
    key: jax.Array, params: Params, module: Controller, num_policies: int
) -> Policies:
    """Draws M policies, each from p(·; θ) (Alg. 1, line 3).

    All policies draw decision t with `fold_in(key, t)`. So a controller whose heads are
    zero draws what uniform sampling draws from the same key.
    """

    def draw(decision: jax.Array, logits: jax.Array) -> jax.Array:
        folded = jax.random.fold_in(key, decision)
        drawn = jax.random.categorical(folded, logits, mode="low")
        return drawn.astype(jnp.int32)

    chosen = _decide(params, module, num_policies, draw)
    probs = jnp.ones(chosen.ops.shape, jnp.float32)
    return Policies(ops=chosen.ops, magnitudes=chosen.magnitudes, probs=probs)


def log_probs(params: Params, module: Controller, policies: Policies) -> PolicyProbs:
    """The log-probability of given policies under the controller, log p_m (Eq. 8).

    The policies are of the search space, with as many sub-policies as the module's.
    """
    num_policies = policies.num_policies
    shape = num_policies, module.num_sub_policies, CHAIN_LENGTH
    chex.assert_shape([policies.ops, policies.magnitudes], shape)
    given = jnp.stack([policies.ops, policies.magnitudes], axis=3)
    given = given.reshape(num_policies, -1).T

    def choose_given(decision: jax.Array, logits: jax.Array) -> jax.Array:
        return given[decision]

    chosen = _decide(params, module, num_policies, choose_given)
    log_prob = _pick(chosen.op_log_probs, policies.ops)
    log_prob += _pick(chosen.magnitude_log_probs, policies.magnitudes)
    entropies = _entropy(chosen.op_log_probs) + _entropy(chosen.magnitude_log_probs)
    return PolicyProbs(
        log_prob=jnp.sum(log_prob, axis=(1, 2)),
        sub_policy_log_prob=jnp.sum(log_prob, axis=2),
        entropy=jnp.sum(entropies, axis=(1, 2)),
        op_log_probs=chosen.op_log_probs,
        magnitude_log_probs=chosen.magnitude_log_probs,
    )


@functools.partial(
    jax.jit,
    static_argnames=(
        *("module", "tx", "normalization"),
        *("entropy_target", "kl_cap", "steps"),
    ),
)
def update(
    state: ControllerState,
    policies: Policies,
    losses: jax.Array,
    *,
    module: Controller,
    tx: optax.GradientTransformation,
    normalization: str = "standardize",
    entropy_target: float | None = None,
    kl_cap: float | None = None,
    steps: int = 1,
) -> tuple[ControllerState, dict[str, jax.Array]]:
    """REINFORCE on θ: one step, the paper's (Eq. 9; Alg. 1, lines 9-10), or several.

    Maximises (1/M) Σ L̃_m log p_m + weight · entropy, the entropy summed over the 4Q
    decisions and averaged over the M policies.

    Silent: the entropy's gradient is taken with the sampled prefixes held fixed.
    Departure: losses [M, Q] reward each sub-policy's own four decisions, instead of the
    policy's mean all twenty. That is unbiased where the LSTM's state is reset per
    sub-policy. Where it is carried, what a decision does to the later sub-policies goes
    unrewarded: the gradient is the exact one with the sampled prefixes held fixed.
    Silent: one step on a round's policies; with more, their ratios of probabilities
    are clipped as PPO does.
    Departure: `entropy_target` makes the entropy weight the dual variable of
    "entropy ≥ target", plus a term in the present shortfall (an augmented Lagrangian).
    Without that term the entropy swings widely, because the controller answers slowly.
    Departure: `kl_cap` bounds the KL divergence from the old to the new controller: a
    step that is too long is halved until it fits.
    If a loss or a gradient is not finite, or the controller cannot have drawn these
    policies, the state stays as it is, and the rewards are reported as 0.

    Args:
        state: the controller that sampled `policies`.
        policies: the M policies of the round.
        losses: float32 [M], L̂_m, or [M, Q], of the sub-policies; larger means harder.
        module: the controller.
        tx: the optimiser that `init` was given.
        normalization: see `objective.normalize_losses`; of [M, Q] over all.
        entropy_target: None, or a fraction of the maximal entropy, in (0, 1).
        kl_cap: None, or the largest KL divergence per policy, in nats.
        steps: of the optimiser.

    Returns:
        The new state, and float32 values for the log by name: rewards [M] or [M, Q],
        kl [] from the old to the new controller, gradient_norm [] of the first step,
        the entropy_weight [] that it used, and what `_describe` returns.
    """
    policies, is_possible = _within(policies, module)
    flat = objective.normalize_losses(losses.reshape(-1), mode=normalization)
    rewards = flat.reshape(losses.shape)
    params, opt_state = state.params, state.opt_state
    probs: Any = None  # of the controller that drew the policies
    norms = []
    for step in range(steps):
        gradients, aux = jax.grad(_objective, has_aux=True)(
            params,
            probs,
            rewards,
            policies,
            module=module,
            entropy_weight=state.entropy_weight,
            entropy_target=entropy_target,
        )
        if step == 0:
            probs, shortfall, weight = aux
        norms.append(optax.tree.norm(gradients))
        updates, opt_state = tx.update(gradients, opt_state, params)
        params, kl = _capped_step(params, updates, probs, module, policies, kl_cap)
    usable = jnp.all(jnp.isfinite(rewards)) & jnp.all(jnp.isfinite(jnp.stack(norms)))
    usable &= is_possible
    moved = jnp.maximum(state.entropy_weight + DUAL_RATE * shortfall, 0.0)
    new_state = ControllerState(params, opt_state, entropy_weight=moved)
    new_state = jax.tree.map(lambda a, b: jnp.where(usable, a, b), new_state, state)
    return new_state, _describe(probs) | {
        "rewards": jnp.where(usable, rewards, 0.0),
        "gradient_norm": jnp.where(usable, norms[0], 0.0),
        "kl": jnp.where(usable, kl, 0.0),
        "entropy_weight": weight,
    }


def check_drawn(policies: Policies, module: Controller) -> Policies:
    """The same in int32, if the controller can have drawn them, as far as is known."""
    shape = *np.shape(policies.ops)[:1], module.num_sub_policies, CHAIN_LENGTH
    highest = {"ops": module.num_ops - 1, "magnitudes": module.num_magnitudes - 1}
    checked: dict[str, Any] = {
        name: check_integers(f"policies.{name}", getattr(policies, name), shape, most)
        for name, most in highest.items()
    }
    return dataclasses.replace(policies, **checked)


def _within(policies: Policies, module: Controller) -> tuple[Policies, jax.Array]:
    """Policies of the search space, and whether they are the given ones: bool []."""
    ops = jnp.clip(policies.ops, 0, module.num_ops - 1)
    magnitudes = jnp.clip(policies.magnitudes, 0, module.num_magnitudes - 1)
    is_same = jnp.all(ops == policies.ops) & jnp.all(magnitudes == policies.magnitudes)
    return dataclasses.replace(policies, ops=ops, magnitudes=magnitudes), is_same


def divergence(before: PolicyProbs, after: PolicyProbs) -> jax.Array:
    """KL divergence from one controller to another, in nats: float32 [], at least 0.

    It is estimated on policies that the first controller drew: the exact KL of each
    decision given its prefix, summed over decisions, averaged over policies.
    """
    decisions = zip(before[3:], after[3:], strict=True)
    total = sum(jnp.sum(jnp.exp(old) * (old - new)) for old, new in decisions)
    return jnp.maximum(total / before.log_prob.shape[0], 0.0)


def max_entropy(module: Controller) -> float:
    """Entropy of the uniform policy, 2Q (ln 16 + ln 10) nats, 50.75 for Q = 5."""
    choices = module.num_ops * module.num_magnitudes
    return CHAIN_LENGTH * module.num_sub_policies * float(np.log(choices))


class _Decisions(NamedTuple):
    """All decisions, and the log-probabilities of all alternatives: [M, Q, 2, …]."""

    ops: jax.Array
    magnitudes: jax.Array
    op_log_probs: jax.Array
    magnitude_log_probs: jax.Array


def _decide(
    params: Params,
    module: Controller,
    num_policies: int,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
) -> _Decisions:
    """Makes the 4Q decisions; `choose(t, logits [M, width])` returns them, int [M]."""
    decide: Any = functools.partial(module.apply, params)
    embed: Any = functools.partial(module.apply, params, method="embed")
    start = _zero_state(module, num_policies)
    no_input = jnp.zeros((num_policies, module.embedding_size), jnp.float32)

    def decide_op(
        carry: tuple[LstmState, jax.Array], index: jax.Array
    ) -> tuple[tuple[LstmState, jax.Array], _Decisions]:
        if module.reset_per_sub_policy:
            carry = jax.tree.map(
                lambda new, old: jnp.where(index % CHAIN_LENGTH == 0, new, old),
                (start, no_input),
                carry,
            )
        state, op_logits = decide(*carry, is_op=True)
        ops = choose(2 * index, op_logits)
        state, logits = decide(state, embed(ops), is_op=False)
        magnitudes = choose(2 * index + 1, logits)
        log_probs = jax.nn.log_softmax(op_logits), jax.nn.log_softmax(logits)
        inputs = embed(module.num_ops + magnitudes)
        return (state, inputs), _Decisions(ops, magnitudes, *log_probs)

    indices = jnp.arange(CHAIN_LENGTH * module.num_sub_policies, dtype=jnp.int32)
    in_order = jax.lax.scan(decide_op, (start, no_input), indices)[1]
    shape = (num_policies, module.num_sub_policies, CHAIN_LENGTH)
    return jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, 1, 0).reshape(shape + leaf.shape[2:]), in_order
    )


def _zero_state(module: Controller, num_policies: int) -> LstmState:
    zeros = jnp.zeros((num_policies, module.hidden_size), jnp.float32)
    return zeros, zeros


def _pick(log_probs: jax.Array, actions: jax.Array) -> jax.Array:
    """The entries [...] of `log_probs` [..., width] at `actions` [...]."""
    return jnp.take_along_axis(log_probs, actions[..., None], axis=-1)[..., 0]


def _entropy(log_probs: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


def _objective(
    params: Params,
    drawn: PolicyProbs | None,
    rewards: jax.Array,
    policies: Policies,
    *,
    module: Controller,
    entropy_weight: jax.Array,
    entropy_target: float | None,
) -> tuple[jax.Array, tuple[PolicyProbs, jax.Array, jax.Array]]:
    """What a step of `update` minimises, and the parts of it that are to be known.

    Those are the probabilities, the shortfall of entropy and the entropy weight.
    `drawn` is given from the second step on.
    """
    probs = log_probs(params, module, policies)

    def rewarded(some: PolicyProbs) -> jax.Array:
        return some.log_prob if rewards.ndim == 1 else some.sub_policy_log_prob

    if drawn is None:
        surrogate = objective.policy_gradient_loss(rewarded(probs), rewards)
    else:
        surrogate = objective.clipped_policy_gradient_loss(
            rewarded(probs), rewarded(drawn), rewards
        )
    entropy = jnp.mean(probs.entropy)
    shortfall = jnp.float32(0.0)
    if entropy_target is not None:
        fraction = jax.lax.stop_gradient(entropy) / max_entropy(module)
        shortfall = entropy_target - fraction
    weight = jnp.maximum(entropy_weight + DAMPING * shortfall, 0.0)
    return surrogate - weight * entropy, (probs, shortfall, weight)


def _capped_step(
    params: Params,
    updates: optax.Updates,
    before: PolicyProbs,
    module: Controller,
    policies: Policies,
    kl_cap: float | None,
) -> tuple[Params, jax.Array]:
    """Applies the updates, halved until the KL is within the cap; also returns it."""

    def stepped(scale: jax.Array) -> tuple[Params, jax.Array]:
        scaled = jax.tree.map(lambda leaf: scale * leaf, updates)
        candidate = optax.apply_updates(params, scaled)
        return candidate, divergence(before, log_probs(candidate, module, policies))

    whole = stepped(jnp.float32(1.0))
    if kl_cap is None:
        return whole
    return jax.lax.while_loop(
        lambda carry: carry[2] > kl_cap,
        lambda carry: (carry[0] / 2, *stepped(carry[0] / 2)),
        (jnp.float32(1.0), *whole),
    )[1:]


def _describe(probs: PolicyProbs) -> dict[str, jax.Array]:
    """How sure the controller was when it drew the policies: see `PolicySource.update`.

    Entropies and shares are means over the decisions along the M policies.
    """
    op_log_probs, magnitude_log_probs = probs[3:]

    def fraction(log_probs: jax.Array) -> jax.Array:
        return jnp.mean(_entropy(log_probs)) / float(np.log(log_probs.shape[-1]))

    return {
        "op_entropy": fraction(op_log_probs),
        "magnitude_entropy": fraction(magnitude_log_probs),
        "op_shares": jnp.mean(jnp.exp(op_log_probs), axis=(0, 1, 2)),
        "magnitude_shares": jnp.mean(jnp.exp(magnitude_log_probs), axis=(0, 1, 2)),
        "log_probs": probs.log_prob,
    }
