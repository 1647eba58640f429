"""Learning-rate schedules and the optimiser of the target network (optax)."""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

SCHEDULES = ("step", "cosine")


def learning_rate_schedule(
    name: str,
    base: float,
    total_steps: int,
    *,
    steps_per_epoch: int = 1,
    milestones: Sequence[float] = (),
    factor: float = 0.2,
    warmup_steps: int = 0,
) -> optax.Schedule:
    """The learning rate as a function of the step 0 ... total_steps - 1 (Table 7).

    Silent: the paper names the schedules only. Both move per step. Cosine is
    base * (1 + cos(pi * t)) / 2 with t from 0 at the end of the warm-up to 1 at
    total_steps, so it ends at 0. Step is base * factor ** (milestones reached).
    Warm-up is linear, base * (step + 1) / warmup_steps (Goyal et al. 2017).

    Args:
        name: of `SCHEDULES`.
        base: the learning rate after the warm-up.
        total_steps: steps of the whole training.
        steps_per_epoch: what a milestone is multiplied with.
        milestones: epochs, increasing; "step" only.
        factor: multiplies the learning rate at each milestone; "step" only.
        warmup_steps: 0 for none.

    Returns:
        A function of an int step to a float32 scalar.
    """
    if base <= 0:
        raise ValueError(f"the learning rate is above 0: {base}")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"a warm-up of {warmup_steps} steps (optimizer.warmup_epochs) must be at "
            f"least 0 and shorter than the training of {total_steps} steps (epochs)"
        )
    if name == "step" and not 0 < factor <= 1:
        raise ValueError(f"the step factor is in (0, 1]: {factor}")
    if any(a >= b for a, b in zip((0, *milestones), milestones, strict=False)):
        raise ValueError(f"milestones are increasing epochs above 0: {milestones}")
    drops = [round(epoch * steps_per_epoch) for epoch in milestones]

    def share(step: jax.Array) -> jax.Array:
        if name == "cosine":
            span = total_steps - warmup_steps
            done = jnp.clip((step - warmup_steps) / span, 0.0, 1.0)
            return 0.5 * (1.0 + jnp.cos(jnp.pi * done))
        reached = sum((step >= drop).astype(jnp.float32) for drop in drops)
        return jnp.asarray(factor, jnp.float32) ** reached

    def schedule(count: chex.Numeric) -> jax.Array:
        step = jnp.asarray(count)
        rate = base * share(step)
        if warmup_steps:
            rising = base * (step + 1) / warmup_steps
            rate = jnp.where(step < warmup_steps, rising, rate)
        return jnp.asarray(rate, jnp.float32)

    return schedule


def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    decay_norm_and_bias: bool = True,
    clip_norm: float | None = None,
) -> optax.GradientTransformation:
    """SGD with coupled weight decay, then clipping, then (Nesterov) momentum.

    With g the gradient: g <- g + weight_decay * w; g is scaled to the global norm
    clip_norm if it is longer; v <- momentum * v + g; w <- w - lr * (g + momentum * v),
    or w - lr * v without Nesterov.

    Silent: Nesterov, momentum, decay on all parameters and clipping of the gradient
    with the decay added are those of AutoAugment's code.

    Args:
        schedule: step to learning rate.
        momentum: in [0, 1); 0 keeps no state.
        nesterov: look ahead.
        weight_decay: at least 0.
        decay_norm_and_bias: also decay parameters of rank 0 and 1.
        clip_norm: the longest gradient, above 0; None for no clipping.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is in [0, 1): {momentum}")
    if weight_decay < 0:
        raise ValueError(f"weight decay is at least 0: {weight_decay}")
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm is above 0, or None: {clip_norm}")
    mask = None if decay_norm_and_bias else _is_kernel
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask),
        optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm),
        optax.sgd(schedule, momentum or None, nesterov=nesterov and momentum > 0),
    )


def _is_kernel(params: chex.ArrayTree) -> Any:
    """True for weights of layers; batch normalisation and biases have rank 1."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
