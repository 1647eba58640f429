import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aaa_jax import objective
from aaa_jax.augment.policies import Policies
from aaa_jax.search import controller, sources
from aaa_jax.search.controller import Controller, sample, update
from aaa_jax.search.policy_source import RoundOutcome
from benchmarks.collapse import __main__ as bandit

TINY = Controller(num_sub_policies=1, num_ops=3, num_magnitudes=2, hidden_size=5)
TINY_Q2 = TINY.clone(num_sub_policies=2)
RESET = TINY_Q2.clone(reset_per_sub_policy=True)
TANH = TINY_Q2.clone(tanh_constant=1.5, temperature=0.7)
SMALL = {"one": TINY, "carried": TINY_Q2, "reset": RESET, "tanh": TANH}

log_probs = jax.jit(controller.log_probs, static_argnums=1)


@functools.cache
def make_params(module, scale=8.0, seed=0):
    """Parameters large enough that decisions differ and depend on each other."""
    tx = optax.sgd(1.0)
    params = controller.init(jax.random.key(seed), module, tx).params
    return jax.tree.map(lambda leaf: scale * leaf, params)


def make_state(module, tx, scale=8.0, entropy_weight=0.0):
    params = make_params(module, scale)
    weight = jnp.float32(entropy_weight)
    return controller.ControllerState(params, tx.init(params), weight)


def all_policies(module) -> Policies:
    pairs = list(itertools.product(range(module.num_ops), range(module.num_magnitudes)))
    space = np.array(list(itertools.product(pairs, repeat=2 * module.num_sub_policies)))
    space = space.reshape(len(space), module.num_sub_policies, 2, 2).astype(np.int32)
    return Policies(
        ops=jnp.asarray(space[..., 0]),
        magnitudes=jnp.asarray(space[..., 1]),
        probs=jnp.ones(space.shape[:-1]),
    )


def take(policies, rows):
    return jax.tree.map(lambda leaf: leaf[rows], policies)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_log_prob_and_entropy(params, module, policies):
    """An LSTM of PyTorch's kind, one policy and one decision at a time, in float64."""
    p = {k: np.asarray(v, np.float64) for k, v in params["params"].items()}
    results = []
    for ops, magnitudes in zip(
        np.asarray(policies.ops), np.asarray(policies.magnitudes), strict=True
    ):
        log_prob = entropy = 0.0
        hidden = cell = np.zeros(module.hidden_size)
        inputs = np.zeros(module.embedding_size)
        actions = np.stack([ops, magnitudes], axis=-1).reshape(-1)
        for t, action in enumerate(actions):
            if module.reset_per_sub_policy and t % 4 == 0:
                hidden = cell = np.zeros(module.hidden_size)
                inputs = np.zeros(module.embedding_size)
            gates = np.concatenate([inputs, hidden]) @ p["lstm_kernel"] + p["lstm_bias"]
            i, f, g, o = gates.reshape(4, -1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            head = "op" if t % 2 == 0 else "magnitude"
            logits = hidden @ p[f"{head}_kernel"] + p[f"{head}_bias"]
            if module.tanh_constant is not None:
                logits = module.tanh_constant * np.tanh(logits)
            logits = logits / module.temperature
            log_p = logits - np.log(np.exp(logits).sum())
            log_prob += log_p[action]
            entropy -= np.exp(log_p) @ log_p
            inputs = p["embedding"][action if t % 2 == 0 else module.num_ops + action]
        results.append((log_prob, entropy))
    return np.array(results).T


@pytest.mark.parametrize("module", SMALL.values(), ids=SMALL)
def test_probabilities_over_a_tiny_space_sum_to_one(module):
    probs = log_probs(make_params(module), module, all_policies(module))
    size = (module.num_ops * module.num_magnitudes) ** (2 * module.num_sub_policies)
    assert probs.log_prob.shape == (size,)
    # float32: 1296 terms.
    np.testing.assert_allclose(jnp.sum(jnp.exp(probs.log_prob)), 1.0, atol=1e-5)


@pytest.mark.parametrize("module", SMALL.values(), ids=SMALL)
def test_log_p_and_entropy_equal_a_numpy_lstms(module):
    params = make_params(module)
    policies = take(all_policies(module), slice(0, None, 35))
    probs = log_probs(params, module, policies)
    log_prob, entropy = numpy_log_prob_and_entropy(params, module, policies)
    assert np.ptp(log_prob) > 0.5  # the policies differ
    np.testing.assert_allclose(probs.log_prob, log_prob, atol=1e-5)
    np.testing.assert_allclose(probs.entropy, entropy, atol=1e-5)


def test_sampled_frequencies_equal_probabilities():
    params, number = make_params(TINY), 20_000
    drawn = sample(jax.random.key(3), params, TINY, number)
    place = 0
    for s in range(2):  # the position in `all_policies`
        pair = drawn.ops[:, 0, s] * TINY.num_magnitudes + drawn.magnitudes[:, 0, s]
        place = place * 6 + np.asarray(pair)
    frequencies = np.bincount(place, minlength=36) / number
    p = np.exp(log_probs(params, TINY, all_policies(TINY)).log_prob)
    # Five standard deviations of a binomial frequency.
    assert np.all(np.abs(frequencies - p) < 5 * np.sqrt(p * (1 - p) / number))
    assert drawn.ops.dtype == drawn.magnitudes.dtype == jnp.int32
    np.testing.assert_array_equal(drawn.probs, np.ones((number, 1, 2), np.float32))


def test_parameters_start_uniform_in_a_tenth_with_zero_head_biases():
    params = controller.init(jax.random.key(0), Controller(), optax.sgd(1.0)).params
    params = params["params"]
    for name in ("embedding", "lstm_kernel", "op_kernel", "magnitude_kernel"):
        weights = np.asarray(params[name])
        assert 0.098 < np.abs(weights).max() <= 0.1
        # Uniform in ±a has the deviation a / √3.
        np.testing.assert_allclose(weights.std(), 0.1 / math.sqrt(3), rtol=0.05)
    assert not params["op_bias"].any()
    assert not params["magnitude_bias"].any()
    sizes = (26 * 32, 132 * 400, 400, 100 * 16, 16, 100 * 10, 10)
    assert sorted(leaf.size for leaf in params.values()) == sorted(sizes)


def directional_derivative(params, direction, function, step=1e-4):
    """Central difference in float64: its error is of order step² = 1e-8."""
    move = {k: np.asarray(v, np.float64) for k, v in direction["params"].items()}
    values = []
    for sign in (1, -1):
        moved = {
            k: np.asarray(v, np.float64) + sign * step * move[k]
            for k, v in params["params"].items()
        }
        values.append(function({"params": moved}))
    return (values[0] - values[1]) / (2 * step)


def dot(a, b):
    products = jax.tree.map(lambda x, y: np.vdot(np.float64(x), np.float64(y)), a, b)
    return sum(jax.tree.leaves(products))


def estimated_derivative(params, module, losses, direction):
    """Σ_τ p(τ) · (derivative of an update's objective with the losses of τ)."""
    policies = all_policies(module)
    p = jnp.exp(log_probs(params, module, policies).log_prob)

    def expected_surrogate(theta):
        rewarded = log_probs(theta, module, policies).sub_policy_log_prob
        each = jax.vmap(objective.policy_gradient_loss)(
            rewarded[:, None], jnp.asarray(losses, jnp.float32)[:, None]
        )
        return jnp.sum(p * each)

    return -dot(jax.grad(expected_surrogate)(params), direction)


@pytest.mark.parametrize("module", [RESET, TINY_Q2], ids=["reset", "carried"])
def test_credit_per_sub_policy_is_an_exact_gradient_by_enumeration(module):
    """Σ_τ p(τ) Σ_q L(τ_q) ∇log p(τ_q | those before) is a gradient of E Σ_q L(τ_q).

    Of the whole expectation if the state is reset, since then no sub-policy depends on
    those before; else of the one in which those before are drawn as θ draws them now.
    """
    policies, params = all_policies(module), make_params(module, 4.0)
    direction = make_params(module, 10.0, seed=9)
    hardness = np.random.default_rng(0).gamma(2.0, size=36)
    index = np.arange(1296)
    losses = np.stack([hardness[index // 36], hardness[index % 36]], axis=1)
    estimated = estimated_derivative(params, module, losses, direction)
    one = module.clone(num_sub_policies=1)

    def first_and_all(theta):
        first, _ = numpy_log_prob_and_entropy(theta, one, all_policies(one))
        whole, _ = numpy_log_prob_and_entropy(theta, module, policies)
        return first, whole

    before = first_and_all(params)[0]

    def expected_loss(theta):
        first, whole = first_and_all(theta)
        if module is RESET:
            return np.exp(whole) @ losses.sum(axis=1)
        second = whole - first[index // 36] + before[index // 36]
        return np.exp(first) @ hardness + np.exp(second) @ losses[:, 1]

    exact = directional_derivative(params, direction, expected_loss)
    np.testing.assert_allclose(estimated, exact, rtol=1e-4)


def test_rewards_of_sub_policies_are_normalised_over_all_of_them():
    tx = optax.sgd(1.0)
    state = make_state(TINY_Q2, tx)
    policies = take(all_policies(TINY_Q2), jnp.array([3, 500, 700]))
    losses = np.array([[0.5, 2.0], [1.0, 1.7], [3.0, 0.1]], np.float32)
    new, info = update(state, policies, losses, module=TINY_Q2, tx=tx)
    rewards = (losses - losses.mean()) / (losses.std() + 1e-5)
    np.testing.assert_allclose(info["rewards"], rewards, atol=1e-6)

    def maximised(theta):
        own = log_probs(theta, TINY_Q2, policies).sub_policy_log_prob
        return jnp.sum(own * rewards) / 3

    step = jax.tree.map(jnp.subtract, new.params, state.params)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, step, jax.grad(maximised)(state.params))


def test_further_steps_on_a_rounds_policies_follow_ppos_clipped_ratio():
    """Two steps of gradient ascent, the second one on NumPy's clipped objective."""
    tx = optax.sgd(0.1)
    state = make_state(TINY_Q2, tx, 4.0)
    policies = take(all_policies(TINY_Q2), jnp.array([3, 500, 700, 1234]))
    losses = np.array([0.5, 2.0, 1.0, 1.7], np.float32)
    run = functools.partial(update, module=TINY_Q2, tx=tx)
    once, info = run(state, policies, losses)
    twice, again = run(state, policies, losses, steps=2)
    for name in ("rewards", "gradient_norm", "log_probs", "entropy_weight"):
        np.testing.assert_array_equal(info[name], again[name])
    assert again["kl"] > info["kl"]
    rewards = np.asarray(info["rewards"], np.float64)
    old, _ = numpy_log_prob_and_entropy(state.params, TINY_Q2, policies)
    moved, _ = numpy_log_prob_and_entropy(once.params, TINY_Q2, policies)
    ratio = np.exp(moved - old)
    is_clipped = np.where(rewards > 0, ratio > 1.2, ratio < 0.8)
    assert 0 < is_clipped.sum() < 4

    def maximised(theta):
        new, _ = numpy_log_prob_and_entropy(theta, TINY_Q2, policies)
        return np.mean(rewards * np.exp(new - old) * ~is_clipped)

    step = jax.tree.map(jnp.subtract, twice.params, once.params)
    direction = make_params(TINY_Q2, 10.0, seed=9)
    exact = directional_derivative(once.params, direction, maximised)
    np.testing.assert_allclose(dot(step, direction), 0.1 * exact, rtol=1e-3)


def test_an_update_ascends_reward_and_summed_entropy():
    """One step of gradient ascent with rate 1 is Eq. 9 plus the entropy penalty."""
    weight, module = 0.3, TINY_Q2
    tx = optax.sgd(1.0)
    state = make_state(module, tx, 4.0, weight)
    params, direction = state.params, make_params(module, 10.0, seed=9)
    policies = take(all_policies(module), jnp.array([3, 500, 700, 1234]))
    losses = np.array([0.5, 2.0, 1.0, 1.7], np.float32)
    new_state, info = update(state, policies, losses, module=module, tx=tx)

    rewards = (losses - losses.mean()) / (losses.std() + 1e-5)
    np.testing.assert_allclose(info["rewards"], rewards, atol=1e-6)

    def maximised(theta):
        log_p, entropy = numpy_log_prob_and_entropy(theta, module, policies)
        return np.mean(rewards * log_p) + weight * entropy.mean()

    exact = directional_derivative(params, direction, maximised)
    step = jax.tree.map(jnp.subtract, new_state.params, params)
    # Differences of float32 parameters of size 1.
    np.testing.assert_allclose(dot(step, direction), exact, rtol=1e-5)
    np.testing.assert_allclose(info["gradient_norm"], optax.tree.norm(step), rtol=1e-5)
    log_prob, entropy = numpy_log_prob_and_entropy(params, module, policies)
    np.testing.assert_allclose(info["log_probs"], log_prob, atol=1e-5)
    np.testing.assert_allclose(
        info["op_entropy"] * 4 * np.log(3) + info["magnitude_entropy"] * 4 * np.log(2),
        entropy.mean(),
        rtol=1e-5,
    )
    assert new_state.entropy_weight == np.float32(weight)


def test_the_divergence_is_that_of_the_two_distributions():
    before, after = make_params(TINY), make_params(TINY, 7.0, seed=1)
    policies = all_policies(TINY)
    old = np.float64(log_probs(before, TINY, policies).log_prob)
    new = np.float64(log_probs(after, TINY, policies).log_prob)
    exact = np.exp(old) @ (old - new)
    number = 20_000
    drawn = sample(jax.random.key(0), before, TINY, number)
    estimate = controller.divergence(
        log_probs(before, TINY, drawn), log_probs(after, TINY, drawn)
    )
    # A mean over 20,000 draws of a number of size `exact`.
    np.testing.assert_allclose(estimate, exact, rtol=0.03)


def test_the_largest_entropy_is_that_of_the_papers_search_space():
    np.testing.assert_allclose(
        controller.max_entropy(Controller()), 10 * (math.log(16) + math.log(10))
    )


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("ops", 16), ("ops", -1), ("magnitudes", 10), ("magnitudes", -1)],
)
def test_policies_that_cannot_be_drawn_are_refused_or_change_nothing(field, wrong):
    source = sources.adversarial_source(2, 1, hidden_size=4, embedding_size=3)
    state = source.init(jax.random.key(0))
    drawn = source.sample(jax.random.key(1), state, 0.0)
    values = getattr(drawn, field).at[1, 0, 1].set(wrong)
    changed = dataclasses.replace(drawn, **{field: values})
    outcome = RoundOutcome(jnp.array([1.0, 2.0]))
    with pytest.raises(
        ValueError, match=rf"policies.{field} has {wrong} at \[1, 0, 1\]"
    ):
        source.update(state, changed, outcome)
    new_state, info = jax.jit(source.update)(state, changed, outcome)
    jax.tree.map(np.testing.assert_array_equal, new_state, state)
    assert all(np.all(np.isfinite(value)) for value in info.values())


def test_a_loss_that_is_not_finite_changes_nothing():
    tx = optax.adam(1e-3)
    state = controller.init(jax.random.key(0), TINY, tx)
    policies = take(all_policies(TINY), jnp.array([1, 30]))
    center = functools.partial(update, module=TINY, tx=tx, normalization="center")
    for bad in (np.nan, np.inf, -np.inf, 1e30):  # the last one's gradient overflows
        new_state, info = center(state, policies, jnp.array([1.0, bad]))
        jax.tree.map(np.testing.assert_array_equal, new_state, state)
        assert all(np.isfinite(value).all() for value in info.values())
        np.testing.assert_array_equal(info["rewards"], [0, 0])


# A bandit, five seeds: the mean entropy over ten updates, as a fraction of the maximum,
# against that of an independent simulation, ± 0.1.


@pytest.fixture
def play(monkeypatch):
    """Plays the game in which hardness stays (o + 1)/16 · l/9."""
    monkeypatch.setattr(bandit, "GAMES", {"table": bandit.GAMES["table"]})
    return lambda options, updates: bandit.play_games(options, 5, updates)["table"]


SLOW = {"marks": pytest.mark.slow}
RESET_EACH = {"reset_per_sub_policy": True}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (1.00, 0.86, 0.57, 0.36, 0.24)),
        ({"entropy_weight": 0.2}, (1.00, 0.94, 0.86, 0.82, 0.81)),
        pytest.param(RESET_EACH, (1.00, 1.00, 0.99, 0.93, 0.76), **SLOW),
        pytest.param({"tanh_constant": 1.5}, (1.00, 0.90, 0.82, 0.78, 0.75), **SLOW),
        pytest.param({}, (1.00, 0.86, 0.57, 0.36, 0.24, 0.08), **SLOW),
    ],
    ids=["carried", "entropy weight 0.2", "reset", "tanh 1.5", "long"],
)
def test_the_bandit_is_learned_as_fast_as_in_an_independent_simulation(
    options, expected, play
):
    shown = bandit.SHOWN[: len(expected)]  # the last one shows the collapse
    entropy = play(options, shown[-1])["entropy"]
    means = [bandit.at(entropy, update) for update in shown]
    np.testing.assert_allclose(means, expected, atol=0.1)


def test_the_entropy_target_holds_and_the_cap_bounds_every_step(play):
    target, cap = 0.8, 0.02
    played = play({"entropy_target": target, "kl_cap": cap}, 250)
    fractions, kls = played["entropy"], played["kl"]
    # Unrestrained, the entropy falls to 0.2 and some steps go 0.03 nats far.
    np.testing.assert_allclose(fractions[:, 200:].mean(axis=1), target, atol=0.03)
    assert fractions[:, 100:].min() > target - 0.15
    assert kls.max() <= cap
    assert (kls > cap / 2).any()  # the cap was felt
