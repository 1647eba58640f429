"""The memory that a training step needs, by estimate, and the passes that fit a device.

Passes of accumulation trade memory for time and change no result beyond rounding.
"""

import math
import os
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aaa_jax import objective
from aaa_jax.augment import batch_layout
from aaa_jax.runtime import randomness

# A pass on a CPU has at least so many rows: fewer leave its cores idle, more its cache.
CPU_ROWS = 64
# XLA keeps one byte where the residuals of `jax.vjp`, float32 copies among them, have
# so many: by its plans for an H100 (docs/memory.md) 2.7 to 3.2.
RESIDUALS_KEPT = 2.7


def fewest_passes(
    groups: batch_layout.GroupLayout,
    device: jax.Device,
    num_devices: int,
    bytes_of: Callable[[int], float],
) -> int:
    """Passes of accumulation that fit the device, as few as can be.

    On a CPU instead as many as leave `CPU_ROWS` rows to a pass, which is faster.

    Args:
        groups: of the large batch.
        device: one of those that share them.
        num_devices: how many share them.
        bytes_of: rows of a pass -> bytes that a step needs on the device.
    """
    num_groups = groups.num_groups // num_devices
    options = [p for p in range(1, num_groups + 1) if num_groups % p == 0]

    def rows(passes: int) -> int:
        return num_groups // passes * groups.rows_per_group

    if device.platform == "cpu":
        return max((p for p in options if rows(p) >= CPU_ROWS), default=1)
    limit = device_bytes(device) or math.inf
    fitting = [p for p in options if bytes_of(rows(p)) <= limit]
    return min(fitting, default=options[-1])


def device_bytes(device: jax.Device) -> int | None:
    """The memory of a device; None where it does not say. A CPU's is the machine's."""
    if device.platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (device.memory_stats() or {}).get("bytes_limit")


def more_passes(
    groups: batch_layout.GroupLayout, num_devices: int, num_passes: int
) -> int | None:
    """At least twice as many passes that divide the groups; None: there are none."""
    num_groups = groups.num_groups // num_devices
    options = range(2 * num_passes, num_groups + 1)
    return next((p for p in options if num_groups % p == 0), None)


def step_bytes(
    model: nn.Module,
    state: Any,
    image_shape: tuple[int, int, int],
    rows_per_group: int,
    resident_images: int,
    num_rows: int,
) -> Callable[[int], float]:
    """Estimates the memory of a training step, without compiling it.

    From the residuals that `jax.vjp` keeps of one group, in proportion to the rows.

    Args:
        model: the target network.
        state: shapes of its `TrainState`.
        image_shape: (H, W, 3).
        rows_per_group: that share BatchNorm statistics.
        resident_images: that live on the device.
        num_rows: rows of the device's share of the large batch.

    Returns:
        Rows of a pass -> bytes on the device.
    """

    def residuals(params: Any, stats: Any, images: jax.Array, rows: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, updated = model.apply(
                {"params": params, "batch_stats": stats},
                images,
                train=True,
                rows=rows,
                rngs={"noise": randomness.key_of_seed(0)},
                mutable=["batch_stats"],
            )
            return jnp.sum(objective.cross_entropy(logits, rows)), updated

        return jax.vjp(loss, params, has_aux=True)[1]

    images = jax.ShapeDtypeStruct((rows_per_group, *image_shape), jnp.float32)
    rows = jax.ShapeDtypeStruct((rows_per_group,), jnp.int32)
    kept = jax.eval_shape(residuals, state.params, state.batch_stats, images, rows)
    of_row = bytes_of_tree(kept) / RESIDUALS_KEPT / rows_per_group
    image = math.prod(image_shape)
    # Parameters, their gradients and updates; images, and the rows made of them.
    fixed = 2 * bytes_of_tree(state) + resident_images * image + 2 * num_rows * image

    return lambda pass_rows: fixed + pass_rows * (of_row + 8 * image)


def bytes_of_tree(tree: Any) -> int:
    """Bytes of the arrays in a tree, or of their shapes."""
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )
