"""What happens to the rows of a large batch before the network sees them.

A row is an image under one policy, with random numbers of its own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aaa_jax.augment import batch_layout, large_batch, standard
from aaa_jax.augment.policies import Policies
from aaa_jax.runtime import randomness

# What is drawn for the rows of a step: fold_in(step key, one of these).
_CROPS, _POLICY, _CUTOUT = range(3)


class RowRecipe(NamedTuple):
    """How rows are made; sizes and choices, hashable."""

    layout: batch_layout.GroupLayout
    padding: int  # this and the next two: the standard augmentation
    flip: bool
    shared_crops: bool
    policy_first: bool  # the policy before the standard augmentation
    ranges: str  # name of the range table
    fill: tuple[int, int, int]  # colour of moved-in pixels
    alpha: bool  # they are 0 after normalisation, as in AutoAugment's CIFAR code
    cutout_size: int  # side of the fixed Cutout in pixels; 0: none
    mean: tuple[float, float, float]  # of the dataset's channels, 0..1
    std: tuple[float, float, float]


class RowDraws(NamedTuple):
    """All random numbers of a step's rows; leaves have a leading axis of rows."""

    crops: standard.Crops
    policy: large_batch.Draws
    cutout: jax.Array


@randomness.drawing
def draw_rows(
    key: jax.Array, policies: Policies, recipe: RowRecipe, height: int, width: int
) -> RowDraws:
    """All random numbers of a step, for every row of the large batch.

    The same on any number of devices: each takes its rows of them.
    """
    layout = recipe.layout
    crops_key, policy_key, cutout_key = (
        jax.random.fold_in(key, part) for part in (_CROPS, _POLICY, _CUTOUT)
    )
    crops = standard.draw_crops(
        crops_key,
        layout.num_images if recipe.shared_crops else layout.num_rows,
        padding=recipe.padding,
        flip=recipe.flip,
    )
    if recipe.shared_crops:
        crops = select_rows(crops, jnp.asarray(batch_layout.image_of_row(layout)))
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
        cutout=standard.draw_centers(cutout_key, layout.num_rows, height, width),
    )


def augment_rows(
    images: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    draws: RowDraws,
    recipe: RowRecipe,
) -> jax.Array:
    """Standard augmentation, policy, normalisation, fixed Cutout (Alg. 1, line 5).

    The images are uint8 [rows, H, W, 3], whole groups; the result is float32. Draws and
    `policy_of_row`, int32 [rows], are those of these rows.
    """

    def crop(rows: jax.Array) -> jax.Array:
        if not (recipe.padding or recipe.flip):
            return rows  # nothing to do, or done by the host
        return standard.apply_crops(draws.crops, rows, padding=recipe.padding)

    def augment(rows: jax.Array) -> jax.Array:
        return large_batch.apply_policies(
            draws.policy,
            rows,
            policies,
            policy_of_row,
            group_size=recipe.layout.rows_per_group,
            ranges=recipe.ranges,
            fill=recipe.fill,
            with_validity=recipe.alpha,
        )

    rows = crop(augment(images)) if recipe.policy_first else augment(crop(images))
    floats = standard.normalize(rows, recipe.mean, recipe.std)
    if recipe.cutout_size:
        floats = standard.fixed_cutout(floats, draws.cutout, size=recipe.cutout_size)
    return floats


def select_rows(tree: Any, rows: jax.Array) -> Any:
    """The leaves' entries of these rows."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)
