"""Many images, each with an op of its own: the fast form of `ops.py`.

Ops that share their work share a family, a function on one packed image: uint32 [P] of
P = H * W pixels, red in the lowest byte, then green, blue and validity (255, or 0 where
the pixel was moved in or covered). The arithmetic is that of `ops.py`, from which the
delicate parts come; an op is added by a row in `FAMILIES`. Two drivers run the same
functions: "map" goes image by image and runs only the family asked for, which a CPU
likes; "vmap" computes all and selects, which an accelerator likes.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aaa_jax import ops
from aaa_jax.values import Coefficients

VALID = 0xFF000000


class Step(NamedTuple):
    """One op application; leaves may have leading axes.

    Attributes:
        op: int32 [...], place in `ops.OPS`.
        row: what the op needs, [...].
        center: int32 [..., 2], middle of the Cutout patch, row and column.
        partner: int32 [...], place of SamplePairing's partner in the pool.
    """

    op: jax.Array
    row: Coefficients
    center: jax.Array
    partner: jax.Array


class Surroundings(NamedTuple):
    """What all images share.

    Attributes:
        pool: uint32 [B, P], partners of SamplePairing.
        moved_in: uint32 [], the pixel from outside.
        covered: uint32 [], the pixel of the Cutout patch.
        height: H.
        width: W.
    """

    pool: jax.Array
    moved_in: jax.Array
    covered: jax.Array
    height: int
    width: int


Family = Callable[[jax.Array, Step, Surroundings], jax.Array]


def pack(images: jax.Array) -> jax.Array:
    """uint8 [..., H, W, 3] to valid pixels uint32 [..., H * W]."""
    red, green, blue = (images[..., c].astype(jnp.uint32) for c in range(3))
    words = red | (green << 8) | (blue << 16) | jnp.uint32(VALID)
    return words.reshape(*images.shape[:-3], -1)


def unpack(words: jax.Array, height: int, width: int) -> jax.Array:
    """The inverse of `pack`: uint8 [..., H, W, 3]."""
    channels = [(words >> shift).astype(jnp.uint8) for shift in (0, 8, 16)]
    return jnp.stack(channels, axis=-1).reshape(*words.shape[:-1], height, width, 3)


def split(words: jax.Array) -> list[jax.Array]:
    """Red, green and blue of pixels, int32 of the same shape."""
    return [((words >> shift) & 255).astype(jnp.int32) for shift in (0, 8, 16)]


def join(channels: list[jax.Array], words: jax.Array) -> jax.Array:
    """Pixels of three channels of 0-255 with the validity of `words`."""
    red, green, blue = (channel.astype(jnp.uint32) for channel in channels)
    return (words & jnp.uint32(VALID)) | red | (green << 8) | (blue << 16)


def identity(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    return words


def affine(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    rows, columns, inside = ops.affine_source(
        step.row.matrix, around.height, around.width
    )
    places = (rows * around.width + columns).reshape(-1)
    moved = words.at[places].get(mode="promise_in_bounds")
    return jnp.where(inside.reshape(-1), moved, around.moved_in)


def auto_contrast(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    def table(shift):
        v = (words >> shift).astype(jnp.uint8)
        return ops.auto_contrast_table(jnp.min(v), jnp.max(v))
    tables = jax.lax.map(table, jnp.array([0, 8, 16], jnp.uint32))
    return look_up(words, tables)


def equalize(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    def table(shift):
        v = (words >> shift).astype(jnp.uint8)
        return ops.equalize_table(ops.histogram(v))
    tables = jax.lax.map(table, jnp.array([0, 8, 16], jnp.uint32))
    return look_up(words, tables)


def look_up(words, tables):
    chans = split(words)
    out = [tables[i].at[c].get(mode="promise_in_bounds") for i, c in enumerate(chans)]
    return join(out, words) | jnp.uint32(VALID)


def solarize(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    out = [jnp.where(c < step.row.amount, c, 255 - c) for c in split(words)]
    return join(out, words) | jnp.uint32(VALID)


def posterize(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    mask = ((255 << (8 - step.row.amount)) & 255).astype(jnp.uint32)
    return (words & (mask * jnp.uint32(0x010101))) | jnp.uint32(VALID)


def blend(starts, ends, words, factor):
    return join([ops.blend(s, e, factor) for s, e in zip(starts, ends)], words)


def contrast(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    pixels = split(words)
    mean = ops.rounded_mean(ops.gray_of(*pixels))
    return blend([jnp.broadcast_to(mean, words.shape)] * 3, pixels, words, step.row.factor)


def brightness(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    pixels = split(words)
    return blend([jnp.zeros_like(p) for p in pixels], pixels, words, step.row.factor)


def color(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    pixels = split(words)
    return blend([ops.gray_of(*pixels)] * 3, pixels, words, step.row.factor)


def sharpness(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    h, w = around.height, around.width
    pixels = split(words)
    sm = ops.smooth(jnp.stack([p.reshape(h, w) for p in pixels], -1))
    return blend([sm[..., i].reshape(-1) for i in range(3)], pixels, words, step.row.factor)


def sample_pairing(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    partner = around.pool[step.partner]
    return blend(split(words), split(partner), words, step.row.factor)


def cutout(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    covered = ops.cutout_mask(step.row.amount, step.center, around.height, around.width)
    return jnp.where(covered.reshape(-1), around.covered, words)


FAMILIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    (identity, ("Identity",)),
    (affine, ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")),
    (auto_contrast, ("AutoContrast",)),
    (equalize, ("Equalize",)),
    (solarize, ("Invert", "Solarize")),
    (posterize, ("Posterize",)),
    (contrast, ("Contrast",)),
    (brightness, ("Brightness",)),
    (color, ("Color",)),
    (sharpness, ("Sharpness",)),
    (sample_pairing, ("SamplePairing",)),
    (cutout, ("Cutout",)),
)


def run(
    words: jax.Array, steps: Step, around: Surroundings, driver: str | None
) -> jax.Array:
    """Put each image through its chain of ops.

    Args:
        words: uint32 [B, P].
        steps: leaves [B, S, ...].
        around: what all share.
        driver: "map", "vmap" or None: as the default backend likes.

    Returns:
        uint32 [B, P].
    """
    if driver is None:
        driver = "map" if jax.default_backend() == "cpu" else "vmap"

    def chain(words: jax.Array, steps: Step) -> jax.Array:
        def one(words: jax.Array, step: Step) -> tuple[jax.Array, None]:
            return apply_step(words, step, around), None

        return jax.lax.scan(one, words, steps)[0]

    if driver == "map":
        return jax.lax.map(lambda arguments: chain(*arguments), (words, steps))
    if driver == "vmap":
        return jax.vmap(chain)(words, steps)
    raise ValueError(f"unknown driver {driver!r}: use map, vmap or None")


def apply_step(words: jax.Array, step: Step, around: Surroundings) -> jax.Array:
    """One op on one image, uint32 [P]: only its family runs, unless vmapped."""
    names = [set(members) for _, members in FAMILIES]
    index = [next(i for i, m in enumerate(names) if op.name in m) for op in ops.OPS]
    branches = [functools.partial(family, around=around) for family, _ in FAMILIES]
    return jax.lax.switch(jnp.array(index)[step.op], branches, words, step)
