"""A mini-batch under policies: uint8 images in, the large batch out (Sec. 3.1).

All random numbers are drawn apart from their use, by `draw`, so that every path can be
replayed op by op; the rest is exact. What an op does is in `ops.py`, how a batch of
different ops runs fast in `families.py`; what stands before and after a policy
(standard augmentation, normalisation, fixed Cutout) in `standard.py`, offered here too.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import batched_ops, packed_pixels
from aaa_jax.augment import ops as image_ops
from aaa_jax.augment.magnitudes import coefficient_rows as coefficient_rows
from aaa_jax.augment.magnitudes import range_table
from aaa_jax.augment.policies import Policies, check_policies, refuse, whole
from aaa_jax.augment.standard import Crops as Crops
from aaa_jax.augment.standard import apply_crops as apply_crops
from aaa_jax.augment.standard import (
    apply_crops_with_validity as apply_crops_with_validity,
)
from aaa_jax.augment.standard import below, check_images
from aaa_jax.augment.standard import draw_centers as draw_centers
from aaa_jax.augment.standard import draw_crops as draw_crops
from aaa_jax.augment.standard import fixed_cutout as fixed_cutout
from aaa_jax.augment.standard import normalize as normalize
from aaa_jax.augment.standard import standard_augment as standard_augment

FILL = (125, 123, 114)


class OpDraws(NamedTuple):
    """Random numbers of one op application per image.

    Attributes:
        sign: int32 [B], +1 or -1, the direction where the range table has two.
        center: int32 [B, 2], row and column of the middle of the Cutout patch.
    """

    sign: jax.Array
    center: jax.Array


class Draws(NamedTuple):
    """Random numbers of one sub-policy of S ops per row.

    Attributes:
        sub_policy: int32 [B], which of the Q, uniform.
        applied: bool [B, S], true with the op's probability.
        sign: int32 [B, S], +1 or -1.
        center: int32 [B, S, 2], row and column, uniform over the pixels.
        partner: int32 [B, S], SamplePairing's partner: a row within the group, uniform
            over the others (the row itself in a group of one).
    """

    sub_policy: jax.Array
    applied: jax.Array
    sign: jax.Array
    center: jax.Array
    partner: jax.Array


def large_batch(
    key: jax.Array,
    images: jax.Array,
    policies: Policies,
    *,
    ranges: str | None = None,
    fill: Sequence[int] = FILL,
    driver: str | None = None,
) -> jax.Array:
    """Augment a mini-batch by each of M policies: Alg. 1, line 5.

    Args:
        key: of all random numbers.
        images: uint8 [N, H, W, 3], or [M, N, H, W, 3] where each policy has its own
            instances, say independent crops.
        policies: M policies; for each row one of its sub-policies is drawn.
        ranges: name of the range table; None: the policies' own, which those of a
            published source have, else "monotone".
        fill: colour of moved-in pixels and of the Cutout patch.
        driver: see `apply_policies`.

    Returns:
        uint8 [M, N, H, W, 3]; SamplePairing's partners are of the same policy.
    """
    policies = check_policies(policies, ranges)
    num_policies = policies.num_policies
    if getattr(images, "ndim", None) != 5:
        check_images("images", images)
        images = jnp.broadcast_to(images[None], (num_policies, *images.shape))
    if images.shape[0] != num_policies:
        raise ValueError(
            f"images {images.shape} are instances for {images.shape[0]} policies, but "
            f"there are {num_policies}: give [N, H, W, 3] or [{num_policies}, N, H, W, "
            "3]"
        )
    check_images("images", images[0])
    num_images, height, width = images.shape[1:4]
    policy_of_row = jnp.repeat(jnp.arange(num_policies, dtype=jnp.int32), num_images)
    size = {"height": height, "width": width, "group_size": num_images}
    draws = draw(key, policies, policy_of_row, **size)
    rows = apply_policies(
        draws,
        images.reshape(num_policies * num_images, *images.shape[2:]),
        policies,
        policy_of_row,
        group_size=num_images,
        fill=fill,
        driver=driver,
    )
    return rows.reshape(images.shape)


def draw(
    key: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    height: int,
    width: int,
    group_size: int | None = None,
) -> Draws:
    """Draw everything that is random about the policies, for all rows.

    Args:
        key: of these draws.
        policies: M policies of Q sub-policies of S ops.
        policy_of_row: int32 [B], which policy each row is under.
        height: of the images, in pixels.
        width: of the images, in pixels.
        group_size: rows are in groups of this many, partners come from the group;
            None: all rows are one.

    Returns:
        Draws of B rows. A device that holds a share of the rows takes its slice.
    """
    num_rows, chain_length = np.shape(policy_of_row)[0], policies.chain_length
    policy_of_row = _policy_of_row(policy_of_row, num_rows, policies)
    group_size = _check_groups(num_rows, group_size)
    shape = (num_rows, 1 + 5 * chain_length)
    uniform = jax.random.uniform(key, shape, jnp.float32)
    applied, sign, y, x, partner = jnp.split(uniform[:, 1:], 5, axis=1)
    sub_policy = below(policies.num_sub_policies, uniform[:, 0])
    probs = jnp.asarray(policies.probs).astype(jnp.float32)
    own = jnp.arange(num_rows, dtype=jnp.int32)[:, None] % group_size
    step = 1 + below(max(group_size - 1, 1), partner)
    return Draws(
        sub_policy=sub_policy,
        applied=applied < probs[policy_of_row, sub_policy],
        sign=jnp.where(sign < 0.5, jnp.int32(1), jnp.int32(-1)),
        center=jnp.stack([below(height, y), below(width, x)], axis=-1),
        partner=(own + step) % group_size,
    )


def apply_policies(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    group_size: int | None = None,
    ranges: str | None = None,
    fill: Sequence[int] = FILL,
    driver: str | None = None,
) -> jax.Array:
    """Put each row through the sub-policy drawn for it, its ops in order.

    Args:
        draws: of these rows.
        rows: uint8 [B, H, W, 3], whole groups of consecutive rows. Partners are taken
            from the rows as they are here, before any op.
        policies: M policies of Q sub-policies of S ops.
        policy_of_row: int32 [B].
        group_size: rows of a group, that of `draw`; None: all rows are one.
        ranges: name of the range table; None: as in `large_batch`.
        fill: colour of moved-in pixels and of the Cutout patch.
        driver: "map" (image by image, for CPUs), "vmap" (for accelerators) or None:
            as the default backend likes. The results are bit-equal.

    Returns:
        uint8 [B, H, W, 3].
    """
    steps = _steps(draws, rows, policies, policy_of_row, group_size, ranges)
    return batched_ops.run(
        rows,
        steps,
        pool=rows,
        moved_in=_color(fill),
        covered=_color(fill),
        finish=functools.partial(
            packed_pixels.unpack, size=rows.shape[1:3], driver=driver
        ),
        driver=driver,
    )


def apply_policies_with_validity(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    group_size: int | None = None,
    ranges: str | None = None,
    fill: Sequence[int] = (125, 122, 113),
    driver: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """As `apply_policies`, with the alpha channel of AutoAugment's CIFAR code.

    There moved-in pixels are black and invalid, the Cutout patch has a colour and is
    invalid; AutoContrast, Invert, Equalize, Solarize and Posterize make every pixel
    valid again. What is invalid at the end becomes the dataset's mean: give the second
    result to `normalize`. Policies without a range table of their own get "release".

    Returns:
        uint8 [B, H, W, 3] and bool [B, H, W], whether the pixel is valid.
    """
    ranges = ranges or policies.ranges or "release"
    steps = _steps(draws, rows, policies, policy_of_row, group_size, ranges)
    size = (rows.shape[1], rows.shape[2])
    return batched_ops.run(
        rows,
        steps,
        pool=rows,
        moved_in=jnp.uint32(0),
        covered=_color(fill) & ~jnp.uint32(packed_pixels.VALID),
        finish=functools.partial(
            packed_pixels.unpack_with_validity, size=size, driver=driver
        ),
        driver=driver,
    )


def apply_ops(
    images: jax.Array,
    ops: jax.Array,
    magnitudes: jax.Array,
    draws: OpDraws,
    *,
    partners: jax.Array,
    ranges: str = "monotone",
    fill: Sequence[int] = FILL,
    driver: str | None = None,
) -> jax.Array:
    """One op per image, each image with an op and magnitude of its own.

    Args:
        images: uint8 [B, H, W, 3].
        ops: int32 [B], places in `ops.OPS`.
        magnitudes: int32 [B], of the range table.
        draws: of these images.
        partners: uint8 [B, H, W, 3], what SamplePairing mixes in.
        ranges: name of the range table.
        fill: colour of moved-in pixels and of the Cutout patch.
        driver: see `apply_policies`.

    Returns:
        uint8 [B, H, W, 3].
    """
    check_images("images", images)
    check_images("partners", partners)
    if images.shape != partners.shape:
        raise ValueError(f"partners {partners.shape}: {images.shape} is needed")
    num_rows, height, width, _ = images.shape
    shape = (num_rows,)
    ops = whole("ops", ops, shape, len(image_ops.OPS) - 1)
    highest = range_table(ranges).num_magnitudes - 1
    magnitudes = whole(f"magnitudes (of {ranges})", magnitudes, shape, highest)
    sign = _signs(draws.sign, shape)
    steps = batched_ops.Step(
        op=ops,
        row=coefficient_rows(ops, magnitudes, sign, ranges, height, width),
        center=whole("draws.center", draws.center, (*shape, 2), None),
        partner=jnp.arange(num_rows, dtype=jnp.int32),
    )
    return batched_ops.run(
        images,
        jax.tree.map(lambda leaf: leaf[:, None], steps),
        pool=partners,
        moved_in=_color(fill),
        covered=_color(fill),
        finish=functools.partial(
            packed_pixels.unpack, size=images.shape[1:3], driver=driver
        ),
        driver=driver,
    )


def _steps(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    group_size: int | None,
    ranges: str | None,
) -> batched_ops.Step:
    """What each row goes through, leaves [B, S, ...]; checks all that comes in."""
    check_images("rows", rows)
    policies = check_policies(policies, ranges)
    num_rows, height, width, _ = rows.shape
    group_size = _check_groups(num_rows, group_size)
    shape = (num_rows, policies.chain_length)
    last = policies.num_sub_policies - 1
    sub_policy = whole("draws.sub_policy", draws.sub_policy, shape[:1], last)
    partner = whole("draws.partner", draws.partner, shape, group_size - 1)
    sign = _signs(draws.sign, shape)
    if np.shape(draws.applied) != shape:
        raise ValueError(f"draws.applied {np.shape(draws.applied)}: bool {shape}")
    chosen = (_policy_of_row(policy_of_row, num_rows, policies), sub_policy)
    magnitudes = policies.magnitudes[chosen]
    identity = jnp.int32(image_ops.op_index("Identity"))
    ops = jnp.where(draws.applied, policies.ops[chosen], identity)
    first = jnp.arange(num_rows, dtype=jnp.int32) // group_size * group_size
    table = policies.ranges or "monotone"
    return batched_ops.Step(
        op=ops,
        row=coefficient_rows(ops, magnitudes, sign, table, height, width),
        center=whole("draws.center", draws.center, (*shape, 2), None),
        partner=first[:, None] + partner,
    )


def _policy_of_row(
    policy_of_row: jax.Array, num_rows: int, policies: Policies
) -> jax.Array:
    last = policies.num_policies - 1
    return whole("policy_of_row", policy_of_row, (num_rows,), last)


def _signs(sign: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """int32, +1 or -1 where that is known."""
    sign = whole("draws.sign", sign, shape, None)
    if not isinstance(sign, jax.core.Tracer):
        entries = np.asarray(sign)
        refuse("draws.sign", entries, abs(entries) == 1, "+1 or -1")
    return sign


def _color(fill: Sequence[int]) -> jax.Array:
    """One packed pixel, uint32 []."""
    color = np.asarray(fill)
    if color.shape != (3,) or color.dtype.kind not in "iu":
        raise ValueError(f"fill {fill}: three integers from 0 to 255 are needed")
    if color.min() < 0 or color.max() > 255:
        raise ValueError(f"fill {fill}: values from 0 to 255 are allowed")
    return packed_pixels.pack(jnp.asarray(color, jnp.uint8)[None, None])[0]


def _check_groups(num_rows: int, group_size: int | None) -> int:
    """The rows of a group."""
    if group_size is None:
        group_size = num_rows
    if group_size < 1 or num_rows % group_size:
        raise ValueError(
            f"{num_rows} rows are not whole groups of {group_size}: the group size "
            "must divide the number of rows"
        )
    return group_size
