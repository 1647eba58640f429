"""The paper's equations, one pure function each: losses, their average, rewards.

Everything here is float32, whatever the target network's dtype. Nothing here knows
what an image, a policy or a controller is; `[M]` is one number per policy. Gradients
are taken by the caller: the training rule (Eqs. 4, 6) is the gradient of
`large_batch_loss`, which `train/step` takes as a sum over rows; the controller's
(Eqs. 8, 9) is that of `policy_gradient_loss`.
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp

NORMALIZATIONS = ("standardize", "center")
CLIP = 0.2  # of the ratio of probabilities, as in PPO


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of each row, the L[F(x, w), y] of every equation.

    Silent: plain cross-entropy, without label smoothing, is also the reward's loss.

    Args:
        logits: float [B, K], the target network's output.
        labels: int [B]; a label outside 0…K-1 gives NaN, so that it cannot pass.

    Returns:
        float32 [B], in nats.
    """
    chex.assert_rank([logits, labels], [2, 1])
    chex.assert_equal_shape_prefix([logits, labels], 1)
    logits = logits.astype(jnp.float32)
    classes = jnp.arange(logits.shape[1])
    is_label = labels[:, None] == classes[None, :]
    of_label = jnp.sum(jnp.where(is_label, logits, 0.0), axis=1)
    losses = jax.nn.logsumexp(logits, axis=1) - of_label
    return jnp.where(jnp.any(is_label, axis=1), losses, jnp.nan)


def per_policy_losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy of each policy's instances, L_m (Eq. 5).

    Args:
        logits: float [M, N, K], the target network's output on the large batch.
        labels: int [N], shared by the M instances of an image.

    Returns:
        float32 [M].

    Raises:
        ValueError: the shapes are not these.
    """
    found = jnp.shape(logits), jnp.shape(labels)
    if len(found[0]) != 3 or found[1] != found[0][1:2]:
        raise ValueError(
            f"logits {list(found[0])} and labels {list(found[1])}: [M, N, K] and [N] "
            "are needed, one label for each of the N images"
        )
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    return jnp.mean(jax.vmap(cross_entropy, in_axes=(0, None))(logits, labels), axis=1)


def per_policy_sums(
    row_values: jax.Array, policy_of_row: jax.Array, num_policies: int
) -> jax.Array:
    """Sum over each policy's rows, for a large batch in any order (Eq. 5's sum).

    The sums of the shares of a large batch (devices, passes) add up to the sums of
    the whole. A row with another number than 0…M-1 counts nowhere. A masked sum and
    no scatter: the same bits every time on every backend.

    Args:
        row_values: float [B], a number per row, such as its cross-entropy.
        policy_of_row: int [B], 0…M-1.
        num_policies: M.

    Returns:
        float32 [M].
    """
    chex.assert_rank([row_values, policy_of_row], 1)
    chex.assert_equal_shape([row_values, policy_of_row])
    policies = jnp.arange(num_policies)
    is_own = policies[:, None] == policy_of_row[None, :]
    values = row_values.astype(jnp.float32)[None, :]
    return jnp.sum(jnp.where(is_own, values, 0.0), axis=1)


def large_batch_loss(losses: jax.Array) -> jax.Array:
    """The target network's objective: the mean of L_m over the M policies (Eqs. 4, 6).

    Its gradient is the bracket of Eq. 6, which equals that of Eq. 4, the mean over
    all N·M rows; the learning rate is not scaled by M.

    Args:
        losses: float32 [M], L_m of Eq. 5.

    Returns:
        float32 [].
    """
    chex.assert_rank(losses, 1)
    return jnp.mean(losses)


@flax.struct.dataclass
class LossAverage:
    """Sums from which the moving average of L_m is read (Sec. 3.3, footnote 2).

    Every field is a plain sum, so those of several devices may be added.

    Attributes:
        total: float32 [M], weighted sum of the losses; of sub-policies [M, Q].
        square_total: as `total`, of the mean squared losses of images.
        weight: float32 [], sum of the weights; of sub-policies [M, Q].
        variance_weight: as `weight`, sum of weight² / images, for the standard error.
    """

    total: jax.Array
    square_total: jax.Array
    weight: jax.Array
    variance_weight: jax.Array


def init_average(num_policies: int, num_sub_policies: int = 0) -> LossAverage:
    """The empty average of M policies (Alg. 1, line 2), or of their sub-policies."""
    shape: tuple[int, ...] = (num_policies,)
    weights: tuple[int, ...] = ()
    if num_sub_policies:
        shape = weights = (num_policies, num_sub_policies)
    # A buffer each: a donated argument must not hold the same buffer twice.
    return LossAverage(
        total=jnp.zeros(shape, jnp.float32),
        square_total=jnp.zeros(shape, jnp.float32),
        weight=jnp.zeros(weights, jnp.float32),
        variance_weight=jnp.zeros(weights, jnp.float32),
    )


def update_average(
    average: LossAverage,
    losses: jax.Array,
    square_means: jax.Array,
    count: jax.Array | float,
    *,
    decay: float | None = None,
) -> LossAverage:
    """Takes one mini-batch's losses into the average (Alg. 1, line 7).

    Silent: the paper says "moving average over an epoch". Here it is the running mean
    over the round's images, so that every image of the round counts the same; with
    `decay` it is exponential over steps, with the bias of its start corrected.

    Args:
        average: the sums so far.
        losses: float32 [M], L_m of this step, or [M, Q] of the sub-policies.
        square_means: as `losses`, mean over the same images of their squared loss.
        count: images behind each of `losses`, > 0; [M, Q] of sub-policies, and where it
            is 0 the average stays.
        decay: None, or the exponential average's decay per step, in (0, 1).

    Returns:
        The sums with this step.
    """
    chex.assert_equal_shape([average.total, losses, square_means])
    if decay is not None and not 0 < decay < 1:
        raise ValueError(f"decay must be None or lie in (0, 1), not {decay}")
    keep = 1.0 if decay is None else decay
    images = jnp.asarray(count, jnp.float32)
    weight = images if decay is None else jnp.float32(1.0 - decay) * (images > 0)
    return LossAverage(
        total=keep * average.total + weight * losses.astype(jnp.float32),
        square_total=keep * average.square_total
        + weight * square_means.astype(jnp.float32),
        weight=keep * average.weight + weight,
        variance_weight=keep**2 * average.variance_weight
        + weight**2 / jnp.maximum(images, 1.0),
    )


def average_losses(average: LossAverage) -> jax.Array:
    """The moving average of L_m, L̂_m (Alg. 1, lines 7-8): as `total`; 0 if empty."""
    return average.total / _at_least_tiny(average.weight)


def standard_errors(average: LossAverage) -> jax.Array:
    """Standard error of each L̂_m, from the spread of the images' losses.

    It is sqrt(variance / images). Of the exponential average the images are the
    effective number weight² / Σ(step's weight² / step's images), which for the running
    mean is just the number seen. It takes the images' losses as independent.

    Args:
        average: the sums of a round.

    Returns:
        float32, as `total`; 0 if empty.
    """
    weight = _at_least_tiny(average.weight)
    mean = average.total / weight
    variance = jnp.maximum(average.square_total / weight - mean**2, 0.0)
    return jnp.sqrt(variance * average.variance_weight) / weight


def normalize_losses(
    averages: jax.Array, *, mode: str = "standardize", eps: float = 1e-5
) -> jax.Array:
    """The rewards L̃_m: L̂_m normalised over the M policies (Alg. 1, line 9).

    Silent: the paper does not say how. "standardize" is (L̂ - mean) / (std + eps) with
    the population's standard deviation; "center" only subtracts the mean.

    Args:
        averages: float32 [M], L̂_m; larger means a harder policy.
        mode: one of NORMALIZATIONS.
        eps: keeps equal losses at zero reward, in the losses' unit.

    Returns:
        float32 [M], mean 0; larger is better for the controller.
    """
    averages = jnp.asarray(averages, jnp.float32)
    if averages.ndim != 1 or averages.size == 0:
        raise ValueError(f"averages {list(averages.shape)}: [M], M > 0, are needed")
    if mode not in NORMALIZATIONS:
        raise ValueError(f"mode must be one of {NORMALIZATIONS}, not {mode!r}")
    # The squares of losses above 1e18 overflow: a power of two scales those. Ordinary
    # losses keep a path of their own, so that XLA rounds them as ever.
    largest = jnp.max(jnp.abs(averages))
    is_huge = (largest > 1e15) & jnp.isfinite(largest)
    scaled = _normalized(averages * 2.0**-70, mode, eps * 2.0**-70)
    scaled = scaled * 2.0**70 if mode == "center" else scaled
    return jnp.where(is_huge, scaled, _normalized(averages, mode, eps))


def _normalized(averages: jax.Array, mode: str, eps: float) -> jax.Array:
    # From the first element, so that equal losses give exactly zero.
    shifted = averages - averages[:1]
    centered = shifted - jnp.mean(shifted)
    return centered if mode == "center" else centered / (jnp.std(shifted) + eps)


def less_image_means(row_losses: jax.Array, rows_of_image: jax.Array) -> jax.Array:
    """Each row's loss less the mean over the M rows of its image: a baseline.

    It takes away how hard the image is, which no policy is to be praised for. The own
    row is in the mean: all differences are (M - 1)/M of those to the other rows' mean,
    which normalisation takes out.

    Args:
        row_losses: float32 [B], cross-entropies.
        rows_of_image: int [N, M], the rows that show each image, each row once.

    Returns:
        float32 [B].
    """
    chex.assert_rank([row_losses, rows_of_image], [1, 2])
    of_image = row_losses[rows_of_image]
    centered = of_image - jnp.mean(of_image, axis=1, keepdims=True)
    return jnp.zeros_like(row_losses).at[rows_of_image].set(centered)


def policy_gradient_loss(log_probs: jax.Array, rewards: jax.Array) -> jax.Array:
    """Minus the REINFORCE surrogate of J(θ) (Eqs. 7-9), for a minimiser.

    Its gradient in θ is -(1/M) Σ L̃_m ∇ log p_m, minus the direction of Eq. 9: with
    rewards L_m it estimates -∇J (Eq. 8), without bias.

    Args:
        log_probs: float32 [M], log p_m, in nats, a function of θ; or [M, Q], of the
            four decisions of each sub-policy given those before.
        rewards: as `log_probs`, L_m or L̃_m; no gradient flows through them.

    Returns:
        float32 [].
    """
    chex.assert_equal_shape([log_probs, rewards])
    products = jax.lax.stop_gradient(rewards) * log_probs
    return -jnp.mean(products.reshape(len(products), -1).sum(axis=1))


def clipped_policy_gradient_loss(
    log_probs: jax.Array, drawn_log_probs: jax.Array, rewards: jax.Array
) -> jax.Array:
    """PPO's objective for further steps on policies that an earlier θ drew.

    Silent: the paper's one update a round is one step. Where θ has not moved the
    gradient is that of `policy_gradient_loss`; a probability that has moved by more
    than CLIP in its reward's direction gets none. Source: "Proximal Policy Optimization
    Algorithms", Schulman et al., https://arxiv.org/abs/1707.06347, Eq. 7.

    Args:
        log_probs: float32 [M] or [M, Q], see `policy_gradient_loss`.
        drawn_log_probs: the same under the θ that drew the policies.
        rewards: the same shape.

    Returns:
        float32 [].
    """
    chex.assert_equal_shape([log_probs, drawn_log_probs, rewards])
    ratio = jnp.exp(log_probs - jax.lax.stop_gradient(drawn_log_probs))
    rewards = jax.lax.stop_gradient(rewards)
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    products = jnp.minimum(ratio * rewards, clipped * rewards)
    return -jnp.mean(products.reshape(len(products), -1).sum(axis=1))


def _at_least_tiny(weight: jax.Array) -> jax.Array:
    return jnp.maximum(weight, jnp.finfo(jnp.float32).tiny)
