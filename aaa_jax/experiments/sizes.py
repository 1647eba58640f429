"""What a config's zeros stand for: sizes that follow from the data and the devices.

Rows that share BatchNorm statistics, steps of a round, devices that can share the
groups, passes of accumulation. No choice of devices or passes changes a result beyond
rounding.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from aaa_jax import data, objective
from aaa_jax.augment import batch_layout

NUM_ROUNDS = 200  # that an automatic round length gives at least: the controller learns
AUTOMATIC_ROUND = -1
# Most rows of a group: N on CIFAR, the 16384 rows over the paper's 64 GPUs on ImageNet.
MOST_ROWS = {"resident": 128, "stream": 256}
# A pass on a CPU has at least so many rows: fewer leave its cores idle, more its cache.
CPU_ROWS = 64
# XLA keeps one byte where the residuals of `jax.vjp`, float32 copies among them, have
# so many: by its plans for an H100 (docs/memory.md) 2.7 to 3.2.
RESIDUALS_KEPT = 2.7


def layout(
    config: ml_collections.ConfigDict, loader: str | None = None
) -> batch_layout.GroupLayout:
    """How the rows of the large batch lie in groups.

    Args:
        config: of a run.
        loader: of its dataset; None: as far as is known before the data are opened.

    Raises:
        ValueError: the sizes do not fit together.
    """
    size = config.batch_norm.group_size
    if size == 0 and config.batch_size > 0:
        most = MOST_ROWS[loader or _known_loader(config)]
        size = batch_layout.largest_divisor(config.batch_size, most)
    return batch_layout.group_layout(
        config.batch_size,
        config.policies.num_policies,
        size,
        config.batch_norm.grouping,
    )


def automatic_values(config: ml_collections.ConfigDict) -> dict[str, int]:
    """What a 0 stands for, as far as the config tells; earlier presets had these."""
    side = config.evaluation.image_size or config.data.image_size or 224
    return {
        "batch_norm.group_size": layout(config).group_size,
        "evaluation.resize": resized_side(side),
    }


def round_steps(config: ml_collections.ConfigDict, steps_per_epoch: int) -> int:
    """Steps between two controller updates."""
    steps = config.policies.round_steps
    if steps != AUTOMATIC_ROUND:
        return steps or steps_per_epoch
    total = steps_per_epoch * config.epochs
    return max(1, min(steps_per_epoch, total // NUM_ROUNDS))


def resized_side(side: int) -> int:
    """The short side before the centre crop of a test image: 256 at 224 pixels."""
    return round(side * 256 / 224)


def sharing_devices(num_groups: int, num_devices: int) -> int:
    """How many of the devices can share the groups evenly, at most all."""
    return batch_layout.largest_divisor(num_groups, num_devices)


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
    limit = (device.memory_stats() or {}).get("bytes_limit", math.inf)
    fitting = [p for p in options if bytes_of(rows(p)) <= limit]
    return min(fitting, default=options[-1])


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
                rngs={"noise": jax.random.key(0)},
                mutable=["batch_stats"],
            )
            return jnp.sum(objective.cross_entropy(logits, rows)), updated

        return jax.vjp(loss, params, has_aux=True)[1]

    images = jax.ShapeDtypeStruct((rows_per_group, *image_shape), jnp.float32)
    rows = jax.ShapeDtypeStruct((rows_per_group,), jnp.int32)
    kept = jax.eval_shape(residuals, state.params, state.batch_stats, images, rows)
    of_row = _bytes(kept) / RESIDUALS_KEPT / rows_per_group
    image = math.prod(image_shape)
    # Parameters, their gradients and updates; images, and the rows made of them.
    fixed = 2 * _bytes(state) + resident_images * image + 2 * num_rows * image

    return lambda pass_rows: fixed + pass_rows * (of_row + 8 * image)


def _known_loader(config: ml_collections.ConfigDict) -> str:
    """The loader of a dataset that was not opened yet; folders are streamed."""
    if config.data.loader != "auto":
        return config.data.loader
    known = data.DATASETS.get(config.data.name)
    return "stream" if known is None else known.loader


def _bytes(tree: Any) -> int:
    return sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )
