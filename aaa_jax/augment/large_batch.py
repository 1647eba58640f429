"""A mini-batch under policies: uint8 images in, the large batch out (Sec. 3.1).

`draw` draws all random numbers before they are used, so that every path can be replayed
op by op; the rest is exact. `ops` says what an op does, `batched_ops` runs a batch of
different ops fast, `standard` holds what comes before and after a policy.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import batched_ops, packed_pixels
from aaa_jax.augment import ops as image_ops
from aaa_jax.augment.checks import (
    check_color,
    check_flags,
    check_images,
    check_integers,
    check_signs,
    check_whole,
)
from aaa_jax.augment.magnitudes import coefficient_rows, range_table
from aaa_jax.augment.policies import Policies, check_policies, require_policies
from aaa_jax.augment.standard import integers_below
from aaa_jax.runtime import randomness

FILL = (125, 123, 114)


class OpDraws(NamedTuple):
    """Random numbers of one op application per image."""

    sign: jax.Array  # int32 [B], +1 or -1, the direction where the table has two
    center: jax.Array  # int32 [B, 2], row and column of the Cutout patch's middle


class Draws(NamedTuple):
    """Random numbers of one sub-policy of S ops per row, all uniform but `applied`.

    SamplePairing's partner is another row of the group (the row itself if it is alone).
    """

    sub_policy: jax.Array  # int32 [B], which of the Q
    applied: jax.Array  # bool [B, S], true with the op's probability
    sign: jax.Array  # int32 [B, S], +1 or -1
    center: jax.Array  # int32 [B, S, 2], row and column of a pixel
    partner: jax.Array  # int32 [B, S], place in the group


def large_batch(
    key: jax.Array,
    images: jax.Array,
    policies: Policies,
    *,
    ranges: str | None = None,
    fill: Sequence[int] = FILL,
    driver: str | None = None,
) -> jax.Array:
    """Augments a mini-batch by each of M policies (Alg. 1, line 5).

    The result is uint8 [M, N, H, W, 3].

    Args:
        key: of all random numbers.
        images: uint8 [N, H, W, 3], or [M, N, H, W, 3] where each policy has its own
            instances, say independent crops.
        policies: M policies; for each row one of its sub-policies is drawn.
            SamplePairing's partners are of the same policy.
        ranges: name of the range table; None: the policies' own, which those of a
            published source have, else "monotone".
        fill: colour (red, green, blue) of moved-in pixels and of the Cutout patch.
        driver: as in `apply_policies`.
    """
    policies = check_policies(policies, ranges)
    num_policies = policies.num_policies
    if getattr(images, "ndim", None) != 5:
        check_images("images", images)
        images = jnp.broadcast_to(images[None], (num_policies, *images.shape))
    if images.shape[0] != num_policies:
        raise ValueError(
            f"images {images.shape} are instances for {images.shape[0]} policies, but "
            f"there are {num_policies}: give [N, H, W, 3] or [M, N, H, W, 3]"
        )
    check_images("images", images[0])
    draws = draw_per_policy(key, policies, *images.shape[1:4])
    color = jnp.asarray(check_color(fill))
    driver = packed_pixels.driver_or_default(driver)
    return _under_each_policy(draws, images, policies, color, driver)


def draw_per_policy(
    key: jax.Array, policies: Policies, num_images: int, height: int, width: int
) -> Draws:
    """What `large_batch` draws, the same number of images per policy: [M, N, ...]."""
    each = jnp.arange(policies.num_policies, dtype=jnp.int32)
    policy_of_row = jnp.repeat(each, num_images)
    size = {"height": height, "width": width, "group_size": num_images}
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, num_images, *leaf.shape[1:]),
        draw(key, policies, policy_of_row, **size),
    )


@functools.partial(jax.jit, static_argnames="driver")
def _under_each_policy(
    draws: Draws, images: jax.Array, policies: Policies, fill: jax.Array, driver: str
) -> jax.Array:
    """One function of one policy, mapped over the M policies.

    On a CPU the map is a loop: a select of all ops there is 70 times slower.
    """

    def under_one_policy(arguments: tuple[Draws, jax.Array, Policies]) -> jax.Array:
        drawn, rows, policy = arguments
        calls = _op_calls(drawn, rows, policy, (drawn.sub_policy,), len(rows))
        return batched_ops.apply_chains(rows, calls, rows, fill, driver)

    return packed_pixels.for_each(driver, under_one_policy, (draws, images, policies))


@randomness.drawing
def draw(
    key: jax.Array,
    policies: Policies,
    policy_of_row: jax.Array,
    *,
    height: int,
    width: int,
    group_size: int | None = None,
) -> Draws:
    """Draws everything that is random about the policies, for all rows.

    Policies, `policy_of_row` and `group_size` are those of `apply_policies`, height and
    width those of the images, in pixels. A device that holds a share of the rows takes
    its slice of the draws.
    """
    require_policies(policies)
    check_whole(1, height=height, width=width)
    num_rows, chain_length = len(policy_of_row), policies.chain_length
    policy_of_row, group_size = _check_rows(
        num_rows, policy_of_row, policies, group_size
    )
    shape = (num_rows, 1 + 5 * chain_length)
    uniform = jax.random.uniform(key, shape, jnp.float32)
    applied, sign, y, x, partner = jnp.split(uniform[:, 1:], 5, axis=1)
    sub_policy = integers_below(policies.num_sub_policies, uniform[:, 0])
    probs = jnp.asarray(policies.probs).astype(jnp.float32)
    own = jnp.arange(num_rows, dtype=jnp.int32)[:, None] % group_size
    step = 1 + integers_below(max(group_size - 1, 1), partner)
    return Draws(
        sub_policy=sub_policy,
        applied=applied < probs[policy_of_row, sub_policy],
        sign=jnp.where(sign < 0.5, jnp.int32(1), jnp.int32(-1)),
        center=jnp.stack(
            [integers_below(height, y), integers_below(width, x)], axis=-1
        ),
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
    with_validity: bool = False,
    driver: str | None = None,
) -> jax.Array:
    """Puts each row through the sub-policy drawn for it, its ops in order.

    Args:
        draws: of these rows.
        rows: uint8 [B, H, W, 3], whole groups of consecutive rows. Partners are taken
            from the rows as they are here, before any op.
        policies: M policies of Q sub-policies of S ops.
        policy_of_row: int32 [B], which policy each row is under.
        group_size: rows of a group, from which SamplePairing's partners come; None: all
            rows are one group.
        ranges: name of the range table; None: as in `large_batch`.
        fill: as in `large_batch`.
        with_validity: the alpha channel of AutoAugment's CIFAR code, for `ranges`
            "release" and `fill` (125, 122, 113). Moved-in pixels are black and invalid,
            the Cutout patch has the colour and is invalid; AutoContrast, Invert,
            Equalize, Solarize and Posterize make every pixel valid again; `normalize`
            makes what is invalid at the end the dataset's mean.
        driver: "map" (image by image, for CPUs), "vmap" (for accelerators) or None (as
            the default backend likes). The results are bit-equal.

    Returns:
        uint8 [B, H, W, 3]; with validity [B, H, W, 4], the last channel 255 where the
        pixel is valid, else 0.
    """
    check_images("rows", rows)
    check_flags(with_validity=with_validity)
    policies = check_policies(policies, ranges)
    policy_of_row, group_size = _check_rows(
        len(rows), policy_of_row, policies, group_size
    )
    draws = _check_draws(draws, len(rows), policies, group_size)
    chosen = (policy_of_row, draws.sub_policy)
    calls = _op_calls(draws, rows, policies, chosen, group_size)
    if with_validity:
        valid = jnp.full((*rows.shape[:-1], 1), 255, jnp.uint8)
        rows = jnp.concatenate([rows, valid], axis=-1)
    color = jnp.asarray(check_color(fill))
    driver = packed_pixels.driver_or_default(driver)
    return _apply_calls(rows, calls, rows, color, driver)


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
        images: uint8 [B, H, W, 3], as the result.
        ops: int32 [B], places in `ops.OPS`.
        magnitudes: int32 [B], of the range table.
        draws: of these images.
        partners: uint8 [B, H, W, 3], what SamplePairing mixes in.
        ranges: name of the range table.
        fill: as in `large_batch`.
        driver: as in `apply_policies`.
    """
    check_images("images", images)
    check_images("partners", partners)
    if images.shape != partners.shape:
        raise ValueError(f"partners {partners.shape}: {images.shape} is needed")
    num_rows, height, width, _ = images.shape
    shape = (num_rows,)
    ops = check_integers("ops", ops, shape, len(image_ops.OPS) - 1)
    highest = range_table(ranges).num_magnitudes - 1
    magnitudes = check_integers(f"magnitudes (of {ranges})", magnitudes, shape, highest)
    sign = check_signs("draws.sign", draws.sign, shape)
    calls = batched_ops.OpCall(
        op=ops,
        coefficients=coefficient_rows(ops, magnitudes, sign, ranges, height, width),
        center=check_integers("draws.center", draws.center, (*shape, 2), None),
        partner=jnp.arange(num_rows, dtype=jnp.int32),
    )
    calls = jax.tree.map(lambda leaf: leaf[:, None], calls)  # chains of one op
    color = jnp.asarray(check_color(fill))
    driver = packed_pixels.driver_or_default(driver)
    return _apply_calls(images, calls, partners, color, driver)


_apply_calls = jax.jit(batched_ops.apply_chains, static_argnames="driver")


@functools.partial(jax.jit, static_argnames="group_size")
def _op_calls(
    draws: Draws,
    rows: jax.Array,
    policies: Policies,
    chosen: tuple[jax.Array, ...],
    group_size: int,
) -> batched_ops.OpCall:
    """What each row goes through, leaves [B, S, ...].

    The policies have leaves [..., S]; `chosen`, int32 [B] each, is the place in them of
    each row's sub-policy.
    """
    num_rows, height, width, _ = rows.shape
    identity = jnp.int32(image_ops.op_index("Identity"))
    ops = jnp.where(draws.applied, policies.ops[chosen], identity)
    first = jnp.arange(num_rows, dtype=jnp.int32) // group_size * group_size
    table = policies.ranges or "monotone"
    return batched_ops.OpCall(
        op=ops,
        coefficients=coefficient_rows(
            ops, policies.magnitudes[chosen], draws.sign, table, height, width
        ),
        center=draws.center,
        partner=first[:, None] + draws.partner,
    )


def _check_draws(
    draws: Draws, num_rows: int, policies: Policies, group_size: int
) -> Draws:
    """The same draws, whole numbers as int32."""
    shape = (num_rows, policies.chain_length)
    last = policies.num_sub_policies - 1
    if np.shape(draws.applied) != shape:
        raise ValueError(f"draws.applied {np.shape(draws.applied)}: bool {shape}")
    return Draws(
        sub_policy=check_integers(
            "draws.sub_policy", draws.sub_policy, shape[:1], last
        ),
        applied=draws.applied,
        sign=check_signs("draws.sign", draws.sign, shape),
        center=check_integers("draws.center", draws.center, (*shape, 2), None),
        partner=check_integers("draws.partner", draws.partner, shape, group_size - 1),
    )


def _check_rows(
    num_rows: int, policy_of_row: jax.Array, policies: Policies, group_size: int | None
) -> tuple[jax.Array, int]:
    """The policy of each row as int32, and the rows of a group."""
    shape, last = (num_rows,), policies.num_policies - 1
    policy_of_row = check_integers("policy_of_row", policy_of_row, shape, last)
    if group_size is None:
        group_size = num_rows
    check_whole(1, group_size=group_size)
    if num_rows % group_size:
        raise ValueError(
            f"{num_rows} rows are not whole groups of {group_size}: the group size "
            "must divide the number of rows"
        )
    return policy_of_row, group_size
