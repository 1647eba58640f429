"""Schedules against their formulas; the optimiser against NumPy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aaa_jax.experiments import optimizer

EPOCH = 391  # steps of a CIFAR epoch at N = 128
ROUNDING = 3e-7  # relative: a few float32 roundings of the result
# float32 pi * t and its cosine, against the largest value 1:
COSINE_ROUNDING = 3e-7


@pytest.mark.parametrize("warmup", [0, 5 * EPOCH])
@pytest.mark.parametrize("name", optimizer.SCHEDULES)
def test_a_schedule_follows_its_formula_from_the_first_step_to_the_last(name, warmup):
    total, milestones = 120 * EPOCH, (30, 60, 90)
    schedule = optimizer.learning_rate_schedule(
        name,
        0.8,
        total,
        steps_per_epoch=EPOCH,
        milestones=milestones,
        factor=0.1,
        warmup_steps=warmup,
    )
    drops = [epoch * EPOCH for epoch in milestones]
    edges = [0, *([warmup] if warmup else []), *drops, total]
    for step in [*edges, *(edge - 1 for edge in edges[1:]), 1, EPOCH, 100 * EPOCH]:
        reached = sum(step >= drop for drop in drops)
        cosine = (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        share = {"step": 0.1**reached, "cosine": cosine}[name]
        if step < warmup:
            share = (step + 1) / warmup
        tolerance = {"step": 0, "cosine": 0.8 * COSINE_ROUNDING}[name]
        np.testing.assert_allclose(
            schedule(step), 0.8 * share, rtol=ROUNDING, atol=tolerance
        )


@pytest.mark.parametrize("name", optimizer.SCHEDULES)
def test_a_schedule_is_float32_and_the_same_under_jit_and_vmap(name):
    schedule = optimizer.learning_rate_schedule(
        name, 0.1, 50, steps_per_epoch=10, milestones=(2, 3), warmup_steps=7
    )
    steps = jnp.arange(50)
    rates = jnp.stack([schedule(step) for step in range(50)])
    assert rates.dtype == jnp.float32
    # XLA fuses the multiplication by the base into the rest.
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(steps), rates, rtol=1e-6)


make_schedule = functools.partial(
    optimizer.learning_rate_schedule, name="step", base=0.1, total_steps=100
)
make_sgd = functools.partial(optimizer.sgd, lambda step: 0.1)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (make_schedule, {"base": 0.0}, "above 0"),
        (make_schedule, {"warmup_steps": 100}, "shorter"),
        (make_schedule, {"warmup_steps": -1}, "shorter"),
        (make_schedule, {"factor": 2.0}, r"\(0, 1\]"),
        (make_schedule, {"milestones": (60, 30)}, "increasing"),
        (make_sgd, {"momentum": 1.0}, "momentum"),
        (make_sgd, {"weight_decay": -1e-4}, "weight decay"),
        (make_sgd, {"clip_norm": 0.0}, "clip_norm"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


PARAMS = {
    "conv": {"kernel": np.linspace(-1.0, 2.0, 12).reshape(3, 4)},
    "norm": {"scale": np.linspace(0.5, 1.5, 4), "bias": np.linspace(-0.3, 0.3, 4)},
}


STEPS = 4


def falling(step):
    return 0.1 / (1 + step)


def gradients(step):
    generator = np.random.default_rng(step)
    return jax.tree.map(lambda leaf: 3 * generator.normal(size=leaf.shape), PARAMS)


def numpy_sgd(
    params, *, momentum, nesterov, weight_decay, decay_norm_and_bias, clip_norm
):
    """SGD written out, in double: decay, clip, momentum, step."""
    leaves, structure = jax.tree.flatten(params)
    velocity = [np.zeros_like(leaf) for leaf in leaves]
    for step in range(STEPS):
        grads = jax.tree.leaves(gradients(step))
        grads = [
            g + (weight_decay * w if decay_norm_and_bias or w.ndim > 1 else 0)
            for g, w in zip(grads, leaves, strict=True)
        ]
        if clip_norm is not None:
            length = math.sqrt(sum((g**2).sum() for g in grads))
            grads = [g * min(1, clip_norm / length) for g in grads]
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        moves = [
            g + momentum * v if nesterov else v
            for v, g in zip(velocity, grads, strict=True)
        ]
        leaves = [w - falling(step) * m for w, m in zip(leaves, moves, strict=True)]
    return jax.tree.unflatten(structure, leaves)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize("clip", [None, 5.0, 1e3])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_is_the_same_as_written_in_numpy(momentum, clip, decay_all, nesterov):
    options = {
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": 0.05,
        "decay_norm_and_bias": decay_all,
        "clip_norm": clip,
    }
    tx = optimizer.sgd(falling, **options)
    to_float32 = functools.partial(jax.tree.map, jnp.float32)
    params = to_float32(PARAMS)
    state = tx.init(params)
    for step in range(STEPS):
        updates, state = tx.update(to_float32(gradients(step)), state, params)
        params = optax.apply_updates(params, updates)
    # float32 against double over four steps of moves below 3
    close = functools.partial(np.testing.assert_allclose, atol=2e-6)
    jax.tree.map(close, params, numpy_sgd(PARAMS, **options))
