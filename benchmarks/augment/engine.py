"""The JAX candidates: this engine with each driver, and the naive `vmap(lax.switch)`.

Also what only a compiled program can tell: memory, bytes moved, compile time; and the
time of a training step, which the augmentation is to be small against.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aaa_jax import models, objective
from aaa_jax.augment import large_batch, standard
from aaa_jax.augment.magnitudes import coefficient_rows
from aaa_jax.augment.ops import OPS, Inputs
from aaa_jax.augment.policies import Policies
from benchmarks.augment.work import Draws, Work

# (draws, images [N, H, W, 3], policies) -> uint8 [M, N, H, W, 3].
Apply = Callable[[large_batch.Draws, jax.Array, Policies], jax.Array]


class Compiled(NamedTuple):
    """A compiled candidate.

    Attributes:
        run: seed -> float32 [..., H, W, 3] on the device, perhaps not yet done.
        replay: draws -> uint8 [N M, H, W, 3], to compare with Pillow.
        facts: numbers of the compiled program, see `facts_of`.
    """

    run: Callable[[int], jax.Array]
    replay: Callable[[Draws], np.ndarray]
    facts: dict[str, float]


def policies_of(work: Work) -> Policies:
    """The work's policies, every op applied."""
    return Policies(
        ops=jnp.asarray(work.ops, jnp.int32),
        magnitudes=jnp.asarray(work.magnitudes, jnp.int32),
        probs=jnp.ones(work.ops.shape, jnp.float32),
    )


def engine(work: Work, driver: str) -> Apply:
    """`augment.apply_policies` with a driver."""

    def apply(
        draws: large_batch.Draws, images: jax.Array, policies: Policies
    ) -> jax.Array:
        rows, policy_of_row = _rows(images, policies)
        size = {"group_size": len(images), "fill": work.fill, "driver": driver}
        return large_batch.apply_policies(draws, rows, policies, policy_of_row, **size)

    return apply


def naive(work: Work) -> Apply:
    """One `lax.switch` over the ops of `ops.py` per image and op, under `vmap`."""
    branches = [op.apply for op in OPS]
    fill = jnp.array(work.fill, jnp.uint8)

    def chain(image, ops, rows, centers, partners):
        for s in range(work.ops.shape[2]):
            row = jax.tree.map(lambda leaf, s=s: leaf[s], rows)
            inputs = Inputs(centers[s], partners[s], fill)
            image = jax.lax.switch(ops[s], branches, image, row, inputs)
        return image

    def apply(
        draws: large_batch.Draws, images: jax.Array, policies: Policies
    ) -> jax.Array:
        rows, policy_of_row = _rows(images, policies)
        place = (policy_of_row, draws.sub_policy)
        ops, magnitudes = policies.ops[place], policies.magnitudes[place]
        size = images.shape[1:3]
        table = coefficient_rows(ops, magnitudes, draws.sign, "monotone", *size)
        partners = images[draws.partner]
        return jax.vmap(chain)(rows, ops, table, draws.center, partners)

    return apply


def _rows(images: jax.Array, policies: Policies) -> tuple[jax.Array, jax.Array]:
    """uint8 [M N, H, W, 3] and each row's policy int32 [M N]."""
    num_images, num_policies = len(images), policies.num_policies
    rows = jnp.broadcast_to(images[None], (num_policies, *images.shape))
    policy_of_row = jnp.repeat(jnp.arange(num_policies, dtype=jnp.int32), num_images)
    return rows.reshape(-1, *images.shape[1:]), policy_of_row


def compile_candidate(work: Work, apply: Apply, num_devices: int) -> Compiled:
    """Draw, apply, normalise as one program; devices share out the M policies."""
    images, policies = jnp.asarray(work.images), policies_of(work)
    height, width = images.shape[1:3]

    def pixels(seed: jax.Array, images: jax.Array, policies: Policies) -> jax.Array:
        _, policy_of_row = _rows(images, policies)
        size = {"height": height, "width": width, "group_size": len(images)}
        draws = large_batch.draw(jax.random.key(seed), policies, policy_of_row, **size)
        return apply(draws, images, policies)

    def all_of_it(seed: jax.Array, images: jax.Array, policies: Policies) -> jax.Array:
        return standard.normalize(pixels(seed, images, policies), work.mean, work.std)

    start = time.perf_counter()
    if num_devices == 1:
        compiled = jax.jit(all_of_it).lower(np.int32(0), images, policies).compile()
        facts = facts_of(compiled, len(images) * policies.num_policies)
        run = lambda seed: compiled(np.int32(seed), images, policies)  # noqa: E731
    else:
        facts = {}
        shares = jax.tree.map(
            lambda leaf: leaf.reshape(num_devices, -1, *leaf.shape[1:]), policies
        )
        mapped = jax.pmap(all_of_it, in_axes=(0, None, 0))
        seeds = np.arange(num_devices, dtype=np.int32)
        run = lambda seed: mapped(num_devices * seed + seeds, images, shares)  # noqa: E731
        jax.block_until_ready(run(0))
    facts["compile_s"] = time.perf_counter() - start

    return Compiled(run, lambda draws: replay(work, apply, draws), facts)


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
    return np.asarray(jax.jit(apply)(ours, images, policies_of(work)))


def facts_of(compiled: Any, num_rows: int) -> dict[str, float]:
    """Memory in bytes, and the bytes that XLA expects the program to move."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
    facts = {
        "input_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "bytes_accessed": cost.get("bytes accessed", float("nan")),
        "rows": num_rows,
    }
    return {name: float(value) for name, value in facts.items()}


def copy_bandwidth(num_bytes: int) -> float:
    """Bytes read and written per second by the simplest kernel on the device."""
    values = jnp.zeros(num_bytes // 4, jnp.float32)
    double = jax.jit(lambda values: values * 2)
    jax.block_until_ready(double(values))
    seconds = [_seconds(lambda: double(values)) for _ in range(5)]
    return 2 * num_bytes / min(seconds)


def step_seconds(
    name: str, options: dict[str, Any], num_rows: int, side: int, repeats: int
) -> float:
    """Median time of forward, backward and update of a network on a large batch."""
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    network = models.create(name, num_classes=10, dtype=dtype, **options)
    images = jnp.zeros((num_rows, side, side, 3), jnp.float32)
    labels = jnp.zeros(num_rows, jnp.int32)
    tx = optax.sgd(0.1, momentum=0.9, nesterov=True)
    init = jax.jit(lambda key: network.init(key, images[:2], train=False))
    variables = init(jax.random.key(0))
    state = (variables["params"], variables["batch_stats"])

    def step(state, tx_state):
        def loss(params, stats):
            logits, updated = network.apply(
                {"params": params, "batch_stats": stats},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            losses = objective.cross_entropy(logits, labels)
            return jnp.mean(losses), updated["batch_stats"]

        params, stats = state
        gradient, stats = jax.grad(loss, has_aux=True)(params, stats)
        updates, tx_state = tx.update(gradient, tx_state, params)
        return (optax.apply_updates(params, updates), stats), tx_state

    step = jax.jit(step, donate_argnums=(0, 1))
    carry = (state, jax.jit(tx.init)(state[0]))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        carry = jax.block_until_ready(step(*carry))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _seconds(function: Callable[[], Any], arguments: Sequence[Any] = ()) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start
