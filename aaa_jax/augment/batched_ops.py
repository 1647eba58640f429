"""Many images, each with an op of its own: the fast form of `ops`.

Ops that share their work share a family, a function of one packed image: uint32 [P] of
P = H * W pixels in, the same out, see `packed_pixels`. The arithmetic is that of `ops`;
an op is added by a row in `FAMILIES`. Two drivers run the same functions: "map" goes
image by image and runs only the family asked for, which a CPU likes; "vmap" computes
all and selects, which an accelerator likes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import ops
from aaa_jax.augment.coefficients import Coefficients
from aaa_jax.augment.packed_pixels import (
    VALID,
    extremes,
    fetch,
    for_each,
    join,
    on_bytes,
    pack,
    split,
    unpack,
)


class OpCall(NamedTuple):
    """One op application; leaves may have leading axes."""

    op: jax.Array  # int32 [...], place in `ops.OPS`
    coefficients: Coefficients  # of the op's value
    center: jax.Array  # int32 [..., 2], row and column of the Cutout patch's middle
    partner: jax.Array  # int32 [...], place of SamplePairing's partner in the pool


class Shared(NamedTuple):
    """What all images share."""

    pool: jax.Array  # uint8 [B, H, W, C], partners of SamplePairing
    moved_in: jax.Array  # uint32 [], the pixel from outside
    covered: jax.Array  # uint32 [], the pixel of the Cutout patch
    driver: str  # "map" or "vmap", see `packed_pixels.for_each`


Family = Callable[[jax.Array, OpCall, Shared], jax.Array]


def apply_chains(
    images: jax.Array, calls: OpCall, pool: jax.Array, fill: jax.Array, driver: str
) -> jax.Array:
    """Puts each image through its chain of ops; the result is as the images.

    Args:
        images: uint8 [B, H, W, 3], or [B, H, W, 4] with the pixels' validity: then
            moved-in pixels are black, and they and the Cutout patch are invalid.
        calls: leaves [B, S, ...].
        pool: uint8 [B', H, W, C], partners of SamplePairing.
        fill: uint8 [3], colour of moved-in pixels and of the Cutout patch.
        driver: see `packed_pixels.for_each`.
    """
    color = pack(fill[None, None], driver)[0]
    has_validity = images.shape[-1] == 4
    shared = Shared(
        jnp.asarray(pool),
        moved_in=jnp.uint32(0) if has_validity else color,
        covered=color & ~jnp.uint32(VALID) if has_validity else color,
        driver=driver,
    )
    codes, decode = _encode(calls)
    places = {name: i for i, names in enumerate(FAMILIES.values()) for name in names}
    branch_of_op = jnp.array([places[op.name] for op in ops.OPS], jnp.int32)

    def run(family: Family, words: jax.Array, code: jax.Array) -> jax.Array:
        return family(words, decode(code), shared)

    branches = [functools.partial(run, family) for family in FAMILIES]

    def chain(arguments: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        def one(words: jax.Array, call: tuple[jax.Array, jax.Array]) -> Any:
            branch, code = call
            if driver == "map":
                return jax.lax.switch(branch, branches, words, code), None
            # A vmapped switch would select too, but first give each image a copy of
            # what the branches share.
            results = [apply(words, code) for apply in branches]
            return jax.lax.select_n(branch, *results), None

        image, branch, code = arguments
        unroll = driver == "vmap"  # a loop costs an accelerator launches
        words = jax.lax.scan(one, pack(image, driver), (branch, code), unroll=unroll)[0]
        return unpack(words, image.shape, driver)

    return for_each(driver, chain, (images, branch_of_op[calls.op], codes))


def _encode(calls: OpCall) -> tuple[jax.Array, Callable[[jax.Array], OpCall]]:
    """All numbers of an op application in one int32 [..., K], and the way back.

    A loop on a CPU pays for each array that it slices.
    """
    leaves, structure = jax.tree.flatten(calls)
    leading = calls.op.shape
    shapes = [leaf.shape[len(leading) :] for leaf in leaves]
    parts = [
        jax.lax.bitcast_convert_type(leaf, jnp.int32).reshape(*leading, -1)
        for leaf in leaves
    ]
    ends = np.cumsum([part.shape[-1] for part in parts])[:-1]

    def decode(code: jax.Array) -> OpCall:
        decoded = [
            jax.lax.bitcast_convert_type(part.reshape(shape), leaf.dtype)
            for part, shape, leaf in zip(
                jnp.split(code, ends), shapes, leaves, strict=True
            )
        ]
        return jax.tree.unflatten(structure, decoded)

    return jnp.concatenate(parts, axis=-1), decode


def identity(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """The image as it is."""
    return words


def affine(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Fetch each pixel from where the matrix says, with its validity."""
    height, width = shared.pool.shape[1:3]
    rows, columns, inside = ops.affine_source(call.coefficients.matrix, height, width)
    moved = fetch(words, (rows * width + columns).reshape(-1))
    return jnp.where(inside.reshape(-1), moved, shared.moved_in)


def auto_contrast(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """A table per channel from its extremes."""
    tables = for_each(
        shared.driver,
        lambda pair: ops.auto_contrast_table(pair[0], pair[1]),
        extremes(words, shared.driver),
    )
    return _look_up(words, tables, shared)


def equalize(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """A table per channel from its histogram."""

    def table(shift: jax.Array) -> jax.Array:
        zeros = jnp.zeros(256, jnp.int32)
        values = (words >> shift) & 255
        if shared.driver == "map":
            return ops.equalize_table(ops.histogram(values, zeros))
        # Or the zeros of all calls are written at once.
        zeros, _ = jax.lax.optimization_barrier((zeros, words[:1]))
        # An accelerator pays for each count: none for images under other ops.
        is_asked_for = call.op == ops.op_index("Equalize")
        counted = jnp.where(is_asked_for, values, jnp.uint32(256))
        return ops.equalize_table(ops.histogram(counted, zeros, mode="drop"))

    shifts = jnp.array([0, 8, 16], jnp.uint32)
    return _look_up(words, for_each(shared.driver, table, shifts), shared)


def _look_up(words: jax.Array, tables: jax.Array, shared: Shared) -> jax.Array:
    """Replace values by entries of int32 [3, 256]; every pixel becomes valid."""
    if shared.driver == "vmap":
        tables = tables.astype(jnp.uint8)  # there is one for each image in memory
    channels = [fetch(tables[i], channel) for i, channel in enumerate(split(words))]
    return join(channels, words) | jnp.uint32(VALID)


def solarize(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Solarize; Invert is its threshold 0. Every pixel becomes valid."""
    solarized = functools.partial(ops.solarize, threshold=call.coefficients.amount)
    return on_bytes(solarized, words, shared.driver)


def posterize(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Posterize. Every pixel becomes valid."""
    posterized = functools.partial(ops.posterize, bits=call.coefficients.amount)
    return on_bytes(posterized, words, shared.driver)


def contrast(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Blend with the mean of gray."""
    pixels = split(words)
    mean = jnp.broadcast_to(ops.rounded_mean(ops.gray_of(*pixels)), words.shape)
    return _blend([mean] * 3, pixels, words, call)


def color(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Blend with gray."""
    pixels = split(words)
    return _blend([ops.gray_of(*pixels)] * 3, pixels, words, call)


def brightness(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Blend with black."""
    return _blend([jnp.zeros(words.shape, jnp.int32)] * 3, split(words), words, call)


def sharpness(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Blend with the smoothed image, two channels at a time in one word.

    The neighbours of a pixel are at fixed distances in the flat image; the frame is
    kept. A CPU leaves out the first and the last row and one pixel more; an accelerator
    pads, since it would write the pieces of an array to memory to join them.
    """
    (height, width), size = shared.pool.shape[1:3], words.shape[0]
    if min(height, width) < 3:
        return words
    edge = width + 1
    is_padded = shared.driver == "vmap"
    source = jnp.pad(words, edge) if is_padded else words
    first = 0 if is_padded else edge
    kept = words[first : size - first]
    around = [row * width + column for row in range(3) for column in range(3)]

    def total(values: jax.Array) -> jax.Array:
        parts = [values[start : start + kept.size] for start in around]
        return sum(parts, 4 * values[edge : edge + kept.size])

    red_blue, green = total(source & 0x00FF00FF), total((source >> 8) & 0xFF)
    sums = (red_blue & 0xFFFF, green, red_blue >> 16)
    smoothed = [ops.rounded_thirteenth(part.astype(jnp.int32)) for part in sums]
    mixed = _blend(smoothed, split(kept), kept, call)
    place = jax.lax.iota(jnp.int32, kept.size) + first
    column = place % width
    framed = (column == 0) | (column == width - 1)
    if is_padded:
        framed |= (place < width) | (place >= size - width)
    mixed = jnp.where(framed, kept, mixed)
    return jnp.concatenate([words[:first], mixed, words[size - first :]])


def sample_pairing(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Blend with a partner of the pool."""
    partner = pack(shared.pool[call.partner], shared.driver)
    return _blend(split(words), split(partner), words, call)


def _blend(
    starts: list[jax.Array], ends: list[jax.Array], words: jax.Array, call: OpCall
) -> jax.Array:
    """`ops.blend` of three channels each; the validity is that of `words`."""
    factor = call.coefficients.factor
    pairs = zip(starts, ends, strict=True)
    return join([ops.blend(start, end, factor) for start, end in pairs], words)


def cutout(words: jax.Array, call: OpCall, shared: Shared) -> jax.Array:
    """Cover a square."""
    size = shared.pool.shape[1:3]
    covered = ops.cutout_mask(call.coefficients.amount, call.center, *size)
    return jnp.where(covered.reshape(-1), shared.covered, words)


# Each family with the ops it computes; what an op does differently is in its
# coefficients.
FAMILIES: dict[Family, tuple[str, ...]] = {
    identity: ("Identity",),
    affine: ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    auto_contrast: ("AutoContrast",),
    equalize: ("Equalize",),
    solarize: ("Invert", "Solarize"),
    posterize: ("Posterize",),
    contrast: ("Contrast",),
    color: ("Color",),
    brightness: ("Brightness",),
    sharpness: ("Sharpness",),
    cutout: ("Cutout",),
    sample_pairing: ("SamplePairing",),
}
