"""The JAX candidates: this engine with each driver, and the naive `vmap(lax.switch)`.

Also what only a compiled program can tell: memory, bytes moved, compile time.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import large_batch, standard
from aaa_jax.augment.magnitudes import coefficient_rows, range_table
from aaa_jax.augment.ops import OPS, Inputs
from aaa_jax.augment.policies import Policies
from aaa_jax.search.pillow_policy import FILL
from aaa_jax.search.sources import random_source
from benchmarks import measure, plans
from benchmarks.augment.work import Candidate, Draws, Work, photographs

NUM_POLICIES, NUM_SUB_POLICIES, CHAIN_LENGTH = 8, 5, 2

# (draws, images [N, H, W, 3], policies) -> uint8 [M N, H, W, 3].
Apply = Callable[[large_batch.Draws, jax.Array, Policies], jax.Array]


def make_work(side: int, num_rows: int) -> Work:
    """A mini-batch of photograph-like images and M random policies."""
    table = range_table("monotone")
    source = random_source(NUM_POLICIES, NUM_SUB_POLICIES)
    policies = source.sample(jax.random.key(0), (), 0.0)
    values = [
        [[table.value(op.name, m, s, side, side) for s in (1, -1)] for m in range(10)]
        for op in OPS
    ]
    return Work(
        images=photographs(num_rows // NUM_POLICIES, side),
        names=tuple(op.name for op in OPS),
        ops=np.asarray(policies.ops),
        magnitudes=np.asarray(policies.magnitudes),
        values=np.array(values),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def by_driver(
    driver: str, draws: large_batch.Draws, images: jax.Array, policies: Policies
) -> jax.Array:
    """This engine."""
    rows, policy_of_row = _rows(images, policies)
    size = {"group_size": len(images), "fill": FILL, "driver": driver}
    return large_batch.apply_policies(draws, rows, policies, policy_of_row, **size)


def naive(draws: large_batch.Draws, images: jax.Array, policies: Policies) -> jax.Array:
    """One `lax.switch` over the ops of `ops.py` per image and op, under `vmap`."""
    rows, policy_of_row = _rows(images, policies)
    place = (policy_of_row, draws.sub_policy)
    ops, signs = policies.ops[place], draws.sign
    magnitudes, size = policies.magnitudes[place], images.shape[1:3]
    table = coefficient_rows(ops, magnitudes, signs, "monotone", *size)
    columns = (ops, table, draws.center, images[draws.partner])
    for s in range(ops.shape[1]):
        step = jax.tree.map(lambda leaf, s=s: leaf[:, s], columns)
        rows = by_switch(rows, *step)
    return rows


def by_switch(
    images: jax.Array, ops: jax.Array, rows: Any, centers: jax.Array, partners: Any
) -> jax.Array:
    """An op for each image: uint8 [B, H, W, 3]; `rows` are its coefficients."""
    branches = [op.apply for op in OPS]
    color = jnp.array(FILL, jnp.uint8)

    def one(image, op, row, center, partner):
        return jax.lax.switch(op, branches, image, row, Inputs(center, partner, color))

    return jax.vmap(one)(images, ops, rows, centers, partners)


def _rows(images: jax.Array, policies: Policies) -> tuple[jax.Array, jax.Array]:
    """uint8 [M N, H, W, 3] and each row's policy int32 [M N]."""
    num_images, num_policies = len(images), policies.num_policies
    rows = jnp.broadcast_to(images[None], (num_policies, *images.shape))
    policy_of_row = jnp.repeat(jnp.arange(num_policies, dtype=jnp.int32), num_images)
    return rows.reshape(-1, *images.shape[1:]), policy_of_row


def whole(work: Work, apply: Apply) -> tuple[Callable[..., jax.Array], tuple[Any, ...]]:
    """Draw, apply, normalise as one program; its arguments, of which one is a seed."""

    def augment(seed: jax.Array, images: jax.Array, policies: Policies) -> jax.Array:
        _, policy_of_row = _rows(images, policies)
        height, width = images.shape[1:3]
        size = {"height": height, "width": width, "group_size": len(images)}
        draws = large_batch.draw(jax.random.key(seed), policies, policy_of_row, **size)
        pixels = apply(draws, images, policies)
        return standard.normalize(pixels, work.mean, work.std)

    return augment, (np.int32(0), jnp.asarray(work.images), _policies(work))


def compile_candidate(work: Work, apply: Apply, num_devices: int) -> Candidate:
    """The whole program; devices share out the M policies."""
    augment, arguments = whole(work, apply)
    _, images, policies = arguments
    if num_devices == 1:
        seconds, compiled = plans.compile_for(None, augment, arguments)
        memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
        facts = {
            "compile_s": seconds,
            "rows": work.num_rows,
            "output_bytes": memory.output_size_in_bytes,
            "temporary_bytes": memory.temp_size_in_bytes,
            "bytes_accessed": cost.get("bytes accessed", float("nan")),  # XLA's guess
        }

        def run(seed: int) -> jax.Array:
            return jax.block_until_ready(compiled(np.int32(seed), images, policies))

    else:
        facts = {}
        shares = jax.tree.map(
            lambda leaf: leaf.reshape(num_devices, -1, *leaf.shape[1:]), policies
        )
        mapped = jax.pmap(augment, in_axes=(0, None, 0))
        seeds = np.arange(num_devices, dtype=np.int32)

        def run(seed: int) -> jax.Array:
            return jax.block_until_ready(
                mapped(num_devices * seed + seeds, images, shares)
            )

    return Candidate(run, functools.partial(replay, work, apply), facts)


def replay(work: Work, apply: Apply, draws: Draws) -> np.ndarray:
    """Augment with given draws, without normalising: uint8 [N M, H, W, 3]."""
    ours = large_batch.Draws(
        sub_policy=jnp.asarray(draws.sub_policy, jnp.int32),
        applied=jnp.ones(draws.sign.shape, bool),
        sign=jnp.asarray(draws.sign, jnp.int32),
        center=jnp.asarray(draws.center, jnp.int32),
        partner=jnp.asarray(draws.partner, jnp.int32),
    )
    images = jnp.asarray(work.images)
    return np.asarray(jax.jit(apply)(ours, images, _policies(work)))


def _policies(work: Work) -> Policies:
    """The work's policies, every op applied."""
    return Policies(
        ops=jnp.asarray(work.ops, jnp.int32),
        magnitudes=jnp.asarray(work.magnitudes, jnp.int32),
        probs=jnp.ones(work.ops.shape, jnp.float32),
    )


def copy_bandwidth(num_bytes: int) -> float:
    """Bytes read and written per second by the simplest kernel on the device."""
    values = jnp.zeros(num_bytes // 4, jnp.float32)
    double = jax.jit(lambda values: values * 2)
    seconds = measure.seconds_of(lambda _: jax.block_until_ready(double(values)), 5)
    return 2 * num_bytes / min(seconds)
