"""What happens to the rows of a large batch before the network sees them.

Standard augmentation, the policies, normalisation, the fixed Cutout, each with the
row's own random numbers (Alg. 1, line 5). Losses and gradients belong to `step.py`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aaa_jax.augment import batch_layout, large_batch
from aaa_jax.augment.policies import Policies

# What is drawn for the rows of a step: fold_in(step key, one of these).
_CROPS, _POLICY, _CUTOUT = range(3)


class Recipe(NamedTuple):
    """The static part of a step: sizes and choices, hashable.

    Attributes:
        layout: how rows lie in groups.
        steps_per_epoch: T.
        round_steps: steps between two controller updates.
        num_passes: passes of accumulation over each device's groups.
        padding, flip, shared_crops: the standard augmentation.
        policy_first: the policy before the standard augmentation.
        ranges, fill: magnitudes to values, colour of moved-in pixels.
        alpha: such pixels are 0 after normalisation, as in AutoAugment's CIFAR code.
        cutout_size: side of the fixed Cutout in pixels; 0: none.
        mean, std: of the dataset's channels, 0..1.
        average_decay: of the average of L_m; None: running mean.
        skip_nonfinite: leave out an update whose loss is not finite and go on.
        unroll: unroll the passes (convolution gradients in loops are slow on CPUs).
    """

    layout: batch_layout.GroupLayout
    steps_per_epoch: int
    round_steps: int
    num_passes: int
    padding: int
    flip: bool
    shared_crops: bool
    policy_first: bool
    ranges: str
    fill: tuple[int, int, int]
    alpha: bool
    cutout_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    average_decay: float | None
    skip_nonfinite: bool
    unroll: bool


class RowDraws(NamedTuple):
    """All random numbers of a step's rows; leaves have a leading axis of rows."""

    crops: large_batch.Crops
    policy: large_batch.Draws
    cutout: jax.Array


def draw_rows(
    key: jax.Array,
    policies: Policies,
    recipe: Recipe,
    height: int,
    width: int,
) -> RowDraws:
    """All random numbers of a step, for every row of the large batch.

    The same on any number of devices: each takes its rows of them.
    """
    layout = recipe.layout
    crops_key, policy_key, cutout_key = (
        jax.random.fold_in(key, part) for part in (_CROPS, _POLICY, _CUTOUT)
    )
    crops = large_batch.draw_crops(
        crops_key,
        layout.num_images if recipe.shared_crops else layout.num_rows,
        padding=recipe.padding,
        flip=recipe.flip,
    )
    if recipe.shared_crops:
        crops = take(crops, jnp.asarray(batch_layout.image_of_row(layout)))
    return RowDraws(
        crops=crops,
        policy=large_batch.draw(
            policy_key,
            policies,
            jnp.asarray(batch_layout.policy_of_row(layout)),
            height=height,
            width=width,
            group_size=layout.rows_per_group,
        ),
        cutout=large_batch.draw_centers(cutout_key, layout.num_rows, height, width),
    )


def augment_rows(
    images: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    draws: RowDraws,
    recipe: Recipe,
) -> jax.Array:
    """Standard augmentation, policy, normalisation, fixed Cutout (Alg. 1, line 5).

    Args:
        images: uint8 [rows, H, W, 3], whole groups.
        policies: the M policies.
        policy_of_row: int32 [rows].
        draws: of these rows.
        recipe: order, range table, fill, Cutout.

    Returns:
        float32 [rows, H, W, 3].
    """
    if recipe.policy_first:
        rows, valid = _apply_policies(images, policies, policy_of_row, draws, recipe)
        rows, valid = _apply_crops(rows, valid, draws, recipe)
    else:
        rows, _ = _apply_crops(images, None, draws, recipe)
        rows, valid = _apply_policies(rows, policies, policy_of_row, draws, recipe)
    floats = large_batch.normalize(rows, recipe.mean, recipe.std, valid)
    if recipe.cutout_size:
        floats = large_batch.fixed_cutout(floats, draws.cutout, size=recipe.cutout_size)
    return floats


def _apply_crops(
    rows: jax.Array, valid: jax.Array | None, draws: RowDraws, recipe: Recipe
) -> tuple[jax.Array, jax.Array | None]:
    """Crop and flip, with which pixels are valid where that is known."""
    if not (recipe.padding or recipe.flip):
        return rows, valid  # nothing to do, or done by the host
    padding = {"padding": recipe.padding}
    if valid is None:
        return large_batch.apply_crops(draws.crops, rows, **padding), None
    return large_batch.apply_crops_with_validity(draws.crops, rows, valid, **padding)


def _apply_policies(
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    draws: RowDraws,
    recipe: Recipe,
) -> tuple[jax.Array, jax.Array | None]:
    """The rows after their policies, and with `alpha` which pixels are valid."""
    options: Any = {
        "group_size": recipe.layout.rows_per_group,
        "ranges": recipe.ranges,
        "fill": recipe.fill,
    }
    arguments = (draws.policy, rows, policies, policy_of_row)
    if recipe.alpha:
        return large_batch.apply_policies_with_validity(*arguments, **options)
    return large_batch.apply_policies(*arguments, **options), None


def take(tree: Any, rows: jax.Array) -> Any:
    """The leaves' entries of these rows."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)
