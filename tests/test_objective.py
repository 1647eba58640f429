import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax import objective

M, N, K, D = 4, 6, 5, 3


def softmax(logits: np.ndarray) -> np.ndarray:
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def numpy_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    probabilities = softmax(logits.astype(np.float64))
    return -np.log(probabilities[np.arange(len(labels)), labels])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_cross_entropy_is_float32_for_bfloat16_logits_and_large_ones():
    logits = jnp.array([[1000.0, -1000.0]], jnp.bfloat16)
    losses = objective.cross_entropy(logits, jnp.array([1]))
    assert losses.dtype == jnp.float32
    np.testing.assert_array_equal(losses, [2000.0])


def test_a_label_out_of_range_gives_nan_for_its_row_only():
    losses = objective.cross_entropy(jnp.zeros((3, K)), jnp.array([K, -1, 0]))
    np.testing.assert_array_equal(np.isnan(losses), [True, True, False])


def test_per_policy_losses_are_the_means_over_each_policys_instances(rng):
    logits = rng.normal(size=(M, N, K)).astype(np.float32)
    labels = rng.integers(K, size=N)
    expected = [numpy_cross_entropy(logits[m], labels).mean() for m in range(M)]
    np.testing.assert_allclose(
        objective.per_policy_losses(logits, labels), expected, rtol=1e-6
    )
    batched = jax.vmap(objective.per_policy_losses)(
        logits[None], jnp.asarray(labels)[None]
    )
    np.testing.assert_allclose(batched[0], expected, rtol=1e-6)


def test_sums_of_rows_in_any_order_and_in_shares_are_the_policies_losses(rng):
    logits = rng.normal(size=(M, N, K)).astype(np.float32)
    labels = rng.integers(K, size=N)
    rows = np.array([numpy_cross_entropy(logits[m], labels) for m in range(M)])
    order = rng.permutation(M * N)
    values = rows.reshape(-1)[order].astype(np.float32)
    policy_of_row = jnp.asarray(np.repeat(np.arange(M), N)[order])
    sums = objective.per_policy_sums(values, policy_of_row, M)
    np.testing.assert_allclose(
        sums / N, objective.per_policy_losses(logits, labels), rtol=1e-6
    )
    shares = [
        objective.per_policy_sums(values[i::3], policy_of_row[i::3], M)
        for i in range(3)
    ]
    np.testing.assert_allclose(sum(shares), rows.sum(1), rtol=1e-6)


def test_a_nan_row_spoils_its_own_policys_sum_only():
    sums = objective.per_policy_sums(jnp.array([1.0, jnp.nan]), jnp.array([0, 1]), 2)
    assert sums[0] == 1
    assert np.isnan(sums[1])


def test_eq_4s_gradient_equals_eq_6s_and_numpys(rng):
    images = rng.normal(size=(M, N, D)).astype(np.float32)  # already augmented
    labels = rng.integers(K, size=N)
    weights = rng.normal(size=(D, K)).astype(np.float32)

    def eq_4(w):
        rows = images.reshape(M * N, D) @ w
        return jnp.mean(objective.cross_entropy(rows, jnp.tile(labels, M)))

    def policy_loss(w, m):
        return objective.per_policy_losses((images[m] @ w)[None], labels)[0]

    def large(w):
        losses = objective.per_policy_losses(images @ w, labels)
        return objective.large_batch_loss(losses)

    eq_6 = sum(jax.grad(policy_loss)(weights, m) for m in range(M)) / M
    errors = softmax(images @ weights) - np.eye(K)[labels][None]
    expected = np.einsum("mnd,mnk->dk", images, errors) / (M * N)
    for gradient in (jax.grad(eq_4)(weights), eq_6, jax.jit(jax.grad(large))(weights)):
        np.testing.assert_allclose(gradient, expected, atol=3e-7)


def steps_of_losses(rng, counts):
    return [rng.gamma(2.0, size=(M, count)).astype(np.float32) for count in counts]


def run_average(steps, decay=None):
    average = objective.init_average(M)
    update = jax.jit(objective.update_average, static_argnames="decay")
    for step in steps:
        square_means = np.mean(step**2, axis=1)
        average = update(
            average, step.mean(1), square_means, step.shape[1], decay=decay
        )
    return average


@pytest.mark.parametrize("decay", [None, 0.8])
def test_the_average_is_over_all_images_or_has_geometric_weights(decay, rng):
    counts = np.array([8, 8, 3, 8])
    steps = steps_of_losses(rng, counts)
    weights = counts if decay is None else decay ** np.arange(len(counts))[::-1]
    weights = weights / weights.sum()
    mean = weights @ [step.mean(1, dtype=np.float64) for step in steps]
    square = weights @ [(step.astype(np.float64) ** 2).mean(1) for step in steps]
    images = 1 / np.sum(weights**2 / counts)
    average = run_average(steps, decay)
    np.testing.assert_allclose(objective.average_losses(average), mean, rtol=1e-6)
    errors = np.sqrt((square - mean**2) / images)
    # A difference of two numbers of its size.
    np.testing.assert_allclose(objective.standard_errors(average), errors, rtol=1e-5)


@pytest.mark.parametrize("decay", [None, 0.8])
def test_constant_losses_average_to_themselves_without_error(decay):
    steps = [np.full((M, 4), 1.5, np.float32)] * 5
    average = run_average(steps, decay)
    np.testing.assert_allclose(objective.average_losses(average), 1.5, rtol=1e-6)
    # sqrt of a rounding error of 1.5² in float32, over 4 images.
    np.testing.assert_allclose(objective.standard_errors(average), 0, atol=5e-4)


def test_partial_sums_of_two_devices_add_up_to_the_average_of_all(rng):
    steps = steps_of_losses(rng, [8, 8, 8])
    shares = [run_average([s[:, i::2] for s in steps]) for i in range(2)]
    added = jax.tree.map(jnp.add, *shares)
    whole = run_average(steps)
    for part, expected in zip(
        jax.tree.leaves(added), jax.tree.leaves(whole), strict=True
    ):
        np.testing.assert_allclose(part, expected, rtol=1e-6)


@pytest.mark.parametrize("decay", [None, 0.8])
def test_each_sub_policy_is_averaged_over_the_steps_that_drew_it(rng, decay):
    steps = [(rng.gamma(2.0, size=(M, 2)), rng.integers(0, 3, (M, 2))) for _ in "abcd"]
    average = objective.init_average(M, 2)
    for losses, counts in steps:
        counts[0, 0] = 0
        losses = np.where(counts > 0, losses, 0).astype(np.float32)
        average = objective.update_average(
            average, losses, losses**2, jnp.asarray(counts), decay=decay
        )
    weights = np.stack([counts for _, counts in steps]).astype(float)
    images = weights.sum(0)
    if decay is not None:
        kept = decay ** np.arange(len(steps))[::-1, None, None] * (weights > 0)
        shares = np.sum(kept**2 / np.maximum(weights, 1), axis=0)
        images = kept.sum(0) ** 2 / np.maximum(shares, 1e-9)
        weights = kept
    some = np.maximum(weights.sum(0), 1e-9)
    mean = sum(w * x for w, (x, _) in zip(weights, steps, strict=True)) / some
    square = sum(w * x**2 for w, (x, _) in zip(weights, steps, strict=True)) / some
    np.testing.assert_allclose(objective.average_losses(average), mean, rtol=1e-5)
    errors = np.sqrt((square - mean**2)[1:] / images[1:])
    found = objective.standard_errors(average)
    np.testing.assert_allclose(found[1:], errors, atol=1e-3)  # of a difference
    assert (average.weight[0, 0], found[0, 0]) == (0, 0)


def test_losses_less_the_mean_of_their_image_sum_to_zero_for_each_image(rng):
    image = rng.permutation(np.repeat(np.arange(N), M))
    losses = rng.gamma(2.0, size=N * M).astype(np.float32)
    rows_of_image = np.argsort(image, kind="stable").reshape(N, M)
    found = objective.less_image_means(jnp.asarray(losses), jnp.asarray(rows_of_image))
    expected = [
        losses[row] - losses[image == image[row]].mean() for row in range(N * M)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_decay_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="decay must be None or lie in"):
        objective.update_average(
            objective.init_average(M), jnp.ones(M), jnp.ones(M), 1, decay=1.0
        )


def test_rewards_have_mean_zero_and_population_deviation_one_if_standardized(rng):
    losses = rng.gamma(2.0, size=8)
    given, centred = jnp.asarray(losses, jnp.float32), losses - losses.mean()
    rewards = objective.normalize_losses(given)
    expected = centred / (losses.std(ddof=0) + 1e-5)
    np.testing.assert_allclose(rewards, expected, atol=1e-6)
    rewards = objective.normalize_losses(given, mode="center")
    np.testing.assert_allclose(rewards, centred, atol=1e-6)


@pytest.mark.parametrize("mode", objective.NORMALIZATIONS)
@pytest.mark.parametrize("num_policies", [1, 3, 8])
def test_equal_losses_give_zero_rewards(mode, num_policies):
    losses = jnp.full(num_policies, 2.30258)
    rewards = jax.jit(objective.normalize_losses, static_argnames="mode")(
        losses, mode=mode
    )
    np.testing.assert_array_equal(rewards, np.zeros(num_policies))


@pytest.mark.parametrize("mode", ["standardize", "center"])
@pytest.mark.parametrize("unit", [1e20, 1e38])
def test_losses_whose_squares_overflow_are_normalised_too(unit, mode):
    losses = jnp.array([1.0, 2.0, 3.0]) * unit
    steps = np.array([-1.0, 0.0, 1.0])
    want = steps * unit if mode == "center" else steps / np.sqrt(2 / 3)
    got = objective.normalize_losses(losses, mode=mode)
    rounding = 1e-6 * np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=0, atol=rounding)


def test_ordinary_losses_are_rounded_as_by_the_plain_formula(rng):
    """In one program with the average that they come from, where XLA may rewrite."""

    def plain(total, weight):
        losses = total / weight
        shifted = losses - losses[:1]
        return (shifted - jnp.mean(shifted)) / (jnp.std(shifted) + 1e-5)

    def ours(total, weight):
        return objective.normalize_losses(total / weight)

    totals = jnp.asarray(rng.normal(300, 5, (50, 8)), jnp.float32)
    for total in totals:
        weight = jnp.float32(128 + 3 * total[0])
        expected = jax.jit(plain)(total, weight)
        np.testing.assert_array_equal(jax.jit(ours)(total, weight), expected)


@pytest.mark.parametrize("labels", [(2, 3), (2, 4), (2,), ()])
def test_labels_of_another_shape_are_named(labels):
    message = r"logits \[2, 3, 4\] and labels .*: \[M, N, K\] and \[N\] are needed"
    with pytest.raises(ValueError, match=message):
        objective.per_policy_losses(jnp.zeros((2, 3, 4)), jnp.zeros(labels, jnp.int32))


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match="'rank'"):
        objective.normalize_losses(jnp.ones(2), mode="rank")


def test_reinforce_gradient_is_the_exact_gradient_by_enumeration(rng):
    """E over actions of the surrogate's gradient = -∇ Σ p L = -p (L - p·L) (Eq. 8)."""
    logits = jnp.asarray(rng.normal(size=7), jnp.float32)
    hardness = jnp.asarray(rng.gamma(2.0, size=7), jnp.float32)

    def surrogate(theta, action):
        log_probs = jax.nn.log_softmax(theta)[action][None]
        return objective.policy_gradient_loss(log_probs, hardness[action][None])

    gradients = jax.vmap(jax.grad(surrogate), in_axes=(None, 0))(logits, jnp.arange(7))
    p = softmax(np.asarray(logits, np.float64))
    expected = -p * (hardness - p @ hardness)
    np.testing.assert_allclose(p @ np.asarray(gradients), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(M,), (M, 3)])
def test_the_policy_gradient_loss_sums_over_sub_policies_and_moves_no_reward(
    shape, rng
):
    log_probs, rewards = rng.normal(size=(2, *shape)).astype(np.float32)
    both = jax.value_and_grad(objective.policy_gradient_loss, argnums=(0, 1))
    loss, gradients = both(log_probs, rewards)
    np.testing.assert_allclose(loss, -np.sum(rewards * log_probs) / M, rtol=1e-5)
    np.testing.assert_allclose(gradients[0], -rewards / M, rtol=1e-6)
    np.testing.assert_array_equal(gradients[1], np.zeros(shape))


@pytest.mark.parametrize("shape", [(M,), (M, 3)])
def test_the_clipped_loss_is_ppos(shape, rng):
    old, new, rewards = rng.normal(size=(3, *shape)).astype(np.float32) / 3
    clipped = objective.clipped_policy_gradient_loss
    ratio = np.exp(new - old)
    least = np.minimum(ratio * rewards, np.clip(ratio, 0.8, 1.2) * rewards)
    loss, gradients = jax.value_and_grad(clipped, argnums=(0, 1, 2))(new, old, rewards)
    np.testing.assert_allclose(loss, -np.sum(least) / M, rtol=1e-5)
    is_free = np.where(rewards > 0, ratio < 1.2, ratio > 0.8)
    assert 0 < is_free.sum() < is_free.size
    expected = -rewards * ratio * is_free / M
    np.testing.assert_allclose(gradients[0], expected, rtol=1e-5)
    assert not np.any(gradients[1])
    assert not np.any(gradients[2])
    # Where nothing has moved it is REINFORCE.
    gradient = jax.grad(clipped)(old, old, rewards)
    plain = jax.grad(objective.policy_gradient_loss)(old, rewards)
    np.testing.assert_allclose(gradient, plain, rtol=1e-6)
