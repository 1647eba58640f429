"""A mini-batch under policies: uint8 images in, the large batch out (Sec. 3.1).

All random numbers are drawn apart from their use, by `draw`, so that every path can be
replayed op by op; the rest is exact. What an op does is in `ops.py`, how a batch of
different ops runs fast in `families.py`; what stands before and after a policy
(standard augmentation, normalisation, fixed Cutout) in `standard.py`, offered here too.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import families
from aaa_jax import ops as image_ops
from aaa_jax.policies import Policies, check_policies, check_range, range_table
from aaa_jax.standard import Crops as Crops
from aaa_jax.standard import apply_crops as apply_crops
from aaa_jax.standard import below
from aaa_jax.standard import draw_centers as draw_centers
from aaa_jax.standard import draw_crops as draw_crops
from aaa_jax.standard import fixed_cutout as fixed_cutout
from aaa_jax.standard import normalize as normalize
from aaa_jax.standard import standard_augment as standard_augment
from aaa_jax.values import Coefficients

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
    ranges: str = "monotone",
    fill: Sequence[int] = FILL,
    driver: str | None = None,
) -> jax.Array:
    """Augment a mini-batch by each of M policies: Alg. 1, line 5.

    Args:
        key: of all random numbers.
        images: uint8 [N, H, W, 3], or [M, N, H, W, 3] where each policy has its own
            instances, say independent crops.
        policies: M policies; for each row one of its sub-policies is drawn.
        ranges: name of the range table.
        fill: colour of moved-in pixels and of the Cutout patch.
        driver: see `apply_policies`.

    Returns:
        uint8 [M, N, H, W, 3]; SamplePairing's partners are of the same policy.
    """
    chex.assert_rank(images, {4, 5})
    num_policies = policies.num_policies
    if images.ndim == 4:
        images = jnp.broadcast_to(images[None], (num_policies, *images.shape))
    if images.shape[0] != num_policies:
        raise ValueError(
            f"images {images.shape} are instances for {images.shape[0]} policies, but "
            f"there are {num_policies}: give [N, H, W, 3] or [{num_policies}, N, H, W, "
            "3]"
        )
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
        ranges=ranges,
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
    group_size: int,
) -> Draws:
    """Draw everything that is random about the policies, for all rows.

    Args:
        key: of these draws.
        policies: M policies of Q sub-policies of S ops.
        policy_of_row: int32 [B], which policy each row is under.
        height: of the images, in pixels.
        width: of the images, in pixels.
        group_size: rows are in groups of this many; partners come from the group.

    Returns:
        Draws of B rows. A device that holds a share of the rows takes its slice.
    """
    chex.assert_rank(policy_of_row, 1)
    num_rows, chain_length = policy_of_row.shape[0], policies.chain_length
    _check_groups(num_rows, group_size)
    uniform = jax.random.uniform(key, (num_rows, 1 + 5 * chain_length))
    applied, sign, y, x, partner = jnp.split(uniform[:, 1:], 5, axis=1)
    sub_policy = below(policies.num_sub_policies, uniform[:, 0])
    own = jnp.arange(num_rows, dtype=jnp.int32)[:, None] % group_size
    step = 1 + below(max(group_size - 1, 1), partner)
    return Draws(
        sub_policy=sub_policy,
        applied=applied < jnp.asarray(policies.probs)[policy_of_row, sub_policy],
        sign=jnp.where(sign < 0.5, 1, -1),
        center=jnp.stack([below(height, y), below(width, x)], axis=-1),
        partner=(own + step) % group_size,
    )


def apply_policies(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    group_size: int,
    ranges: str = "monotone",
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
        group_size: rows of a group.
        ranges: name of the range table.
        fill: colour of moved-in pixels and of the Cutout patch.
        driver: "map" (image by image, for CPUs), "vmap" (for accelerators) or None:
            as the default backend likes. The results are bit-equal.

    Returns:
        uint8 [B, H, W, 3].
    """
    steps = _steps(draws, rows, policies, policy_of_row, group_size, ranges)
    return families.run(
        rows,
        steps,
        pool=rows,
        moved_in=_color(fill),
        covered=_color(fill),
        finish=functools.partial(families.unpack, size=rows.shape[1:3]),
        driver=driver,
    )


def apply_policies_with_validity(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    group_size: int,
    ranges: str = "release",
    fill: Sequence[int] = (125, 122, 113),
    driver: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """As `apply_policies`, with the alpha channel of AutoAugment's CIFAR code.

    There moved-in pixels are black and invalid, the Cutout patch has a colour and is
    invalid; AutoContrast, Invert, Equalize, Solarize and Posterize make every pixel
    valid again. What is invalid at the end becomes the dataset's mean: give the second
    result to `normalize`.

    Returns:
        uint8 [B, H, W, 3] and bool [B, H, W], whether the pixel is valid.
    """
    steps = _steps(draws, rows, policies, policy_of_row, group_size, ranges)
    size = rows.shape[1:3]

    def finish(words: jax.Array) -> tuple[jax.Array, jax.Array]:
        valid = words >= jnp.uint32(families.VALID)
        return families.unpack(words, size), valid.reshape(size)

    return families.run(
        rows,
        steps,
        pool=rows,
        moved_in=jnp.uint32(0),
        covered=_color(fill) & ~jnp.uint32(families.VALID),
        finish=finish,
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
    _check_images(images)
    chex.assert_equal_shape([images, partners])
    _check_images(partners)
    chex.assert_type([ops, magnitudes, draws.sign, draws.center], jnp.int32)
    num_rows, height, width, _ = images.shape
    chex.assert_shape([ops, magnitudes, draws.sign], (num_rows,))
    chex.assert_shape(draws.center, (num_rows, 2))
    check_range("ops", ops, len(image_ops.OPS) - 1)
    highest = range_table(ranges).num_magnitudes - 1
    check_range(f"magnitudes (of {ranges})", magnitudes, highest)
    steps = families.Step(
        op=ops,
        row=coefficient_rows(ops, magnitudes, draws.sign, ranges, height, width),
        center=draws.center,
        partner=jnp.arange(num_rows, dtype=jnp.int32),
    )
    return families.run(
        images,
        jax.tree.map(lambda leaf: leaf[:, None], steps),
        pool=partners,
        moved_in=_color(fill),
        covered=_color(fill),
        finish=functools.partial(families.unpack, size=images.shape[1:3]),
        driver=driver,
    )


def coefficient_rows(
    ops: jax.Array,
    magnitudes: jax.Array,
    sign: jax.Array,
    ranges: str,
    height: int,
    width: int,
) -> Coefficients:
    """What each of many ops needs on the device.

    Args:
        ops: int32 [...], places in `ops.OPS`.
        magnitudes: int32 [...].
        sign: int32 [...], +1 or -1.
        ranges: name of the range table.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        Leaves [..., 6], [..., 2] and [...], looked up in a table made on the host.
    """
    table = _coefficient_table(image_ops.OPS, ranges, height, width)
    place = (ops, magnitudes, (sign < 0).astype(jnp.int32))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[place], table)


def _steps(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    group_size: int,
    ranges: str,
) -> families.Step:
    """What each row goes through, leaves [B, S, ...]; checks all that comes in."""
    _check_images(rows)
    check_policies(policies, ranges)
    check_range("policy_of_row", policy_of_row, policies.num_policies - 1)
    num_rows, height, width, _ = rows.shape
    _check_groups(num_rows, group_size)
    shape = (num_rows, policies.chain_length)
    chex.assert_shape([policy_of_row, draws.sub_policy], shape[:1])
    chex.assert_shape([draws.applied, draws.sign, draws.partner], shape)
    chex.assert_shape(draws.center, (*shape, 2))
    chosen = (policy_of_row, draws.sub_policy)
    chain = jnp.asarray(policies.ops)[chosen]
    magnitudes = jnp.asarray(policies.magnitudes)[chosen]
    ops = jnp.where(draws.applied, chain, image_ops.op_index("Identity"))
    first = jnp.arange(num_rows, dtype=jnp.int32) // group_size * group_size
    return families.Step(
        op=ops,
        row=coefficient_rows(ops, magnitudes, draws.sign, ranges, height, width),
        center=draws.center,
        partner=first[:, None] + draws.partner,
    )


@functools.lru_cache(maxsize=64)
def _coefficient_table(
    table: tuple[image_ops.Op, ...], ranges: str, height: int, width: int
) -> Coefficients:
    """NumPy [number of ops, magnitudes, 2 (sign +, -), ...], made in double."""
    formulas = range_table(ranges)
    rows = []
    for op in table:
        for magnitude in range(formulas.num_magnitudes):
            for sign in (1, -1):
                value = formulas.value(op.name, magnitude, sign, height, width)
                rows.append(image_ops.coefficients(op.name, value, height, width))
    shape = (len(table), formulas.num_magnitudes, 2)
    return jax.tree.map(
        lambda *leaves: np.reshape(leaves, (*shape, *leaves[0].shape)), *rows
    )


def _color(fill: Sequence[int]) -> jax.Array:
    """One packed pixel, uint32 []."""
    color = np.asarray(fill)
    if color.shape != (3,) or color.dtype.kind not in "iu":
        raise ValueError(f"fill {fill}: three integers from 0 to 255 are needed")
    if color.min() < 0 or color.max() > 255:
        raise ValueError(f"fill {fill}: values from 0 to 255 are allowed")
    return families.pack(jnp.asarray(color, jnp.uint8)[None, None])[0]


def _check_images(images: jax.Array) -> None:
    chex.assert_rank(images, 4)
    chex.assert_type(images, jnp.uint8)
    if images.shape[-1] != 3:
        raise ValueError(f"images {images.shape}: [B, H, W, 3] is needed")


def _check_groups(num_rows: int, group_size: int) -> None:
    if group_size < 1 or num_rows % group_size:
        raise ValueError(
            f"{num_rows} rows are not whole groups of {group_size}: the group size "
            "must divide the number of rows"
        )
