"""The 16 image operations of the search space (Sec. 3.2), exact to Pillow bit for bit.

One function per op: one image uint8 [H, W, 3] (red, green, blue) in, the same out, only
int32 and float32 inside, so that CPU, GPU and TPU agree under `jit` and `vmap`. The
arithmetic was read off Pillow's (Geometry.c, Filter.c, Convert.c, Blend.c, ImageOps,
ImageEnhance, ImageStat; github.com/python-pillow/Pillow) and written anew. What float32
is too coarse for is computed on the host, see `coefficients`. The table `OPS` at the
end lists the ops; `batched_ops` applies them to batches.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import coefficients as values
from aaa_jax.augment.coefficients import Coefficients, Formula, Prepare


class Inputs(NamedTuple):
    """What some ops need besides the image."""

    center: jax.Array  # int32 [2], row and column of the middle of the Cutout patch
    partner: jax.Array  # uint8 [H, W, 3], the image that SamplePairing mixes in
    fill: jax.Array  # uint8 [3], colour of the Cutout patch and of pixels from outside


class Op(NamedTuple):
    """A row of `OPS`: an op by the paper's name.

    It has no `value` where it has no magnitude.
    """

    name: str
    apply: Callable[[jax.Array, Coefficients, Inputs], jax.Array]  # on one image
    prepare: Prepare = lambda *_: values.coefficient_row()  # of a value, on the host
    value: Formula | None = None  # on the range table "monotone", in the op's unit
    limits: tuple[float, float] = values.ANY  # lowest and highest value it takes

    @property
    def has_magnitude(self) -> bool:
        """Whether the magnitude changes what the op does."""
        return self.value is not None


def coefficients(op: str, value: float, height: int, width: int) -> Coefficients:
    """What the device needs for an op of this name; made on the host, in NumPy.

    The value is in the op's unit and limits: degrees (counter-clockwise), pixels (left
    or up where positive), shear, factor (1: unchanged), threshold, bits kept, side of
    the patch, weight of the partner; an op without a value ignores it. Height and width
    are those of the image, in pixels.
    """
    values.check_size(height, width)
    chosen = OPS[op_index(op)]
    lowest, highest = chosen.limits
    if not math.isfinite(value):
        raise ValueError(f"value {value} of {op}: a finite number is needed")
    if not lowest <= value <= highest:
        raise ValueError(
            f"value {value} of {op}: from {lowest:g} to {highest:g} is allowed"
        )
    return chosen.prepare(value, height, width)


def op_index(name: str) -> int:
    """Place of an op in `OPS`."""
    names = [op.name for op in OPS]
    if name not in names:
        raise ValueError(f"unknown op {name!r}: use one of {', '.join(names)}")
    return names.index(name)


def apply_op(
    image: jax.Array, op: jax.Array, row: Coefficients, inputs: Inputs
) -> jax.Array:
    """One op of `OPS` on one image: the plain form of what `batched_ops` does fast.

    The op is an int32 [], its place in `OPS`; the row has its value's coefficients.
    """
    chex.assert_shape([image, inputs.partner], (None, None, 3))
    chex.assert_type([image, inputs.partner], jnp.uint8)
    return jax.lax.switch(op, [entry.apply for entry in OPS], image, row, inputs)


def affine(image: jax.Array, row: Coefficients, inputs: Inputs) -> jax.Array:
    """Take the nearest source of each pixel: ShearX and Y, TranslateX and Y, Rotate."""
    rows, columns, inside = affine_source(row.matrix, image.shape[0], image.shape[1])
    moved = image.at[rows, columns].get(mode="promise_in_bounds")
    color = jnp.broadcast_to(inputs.fill, image.shape[-1:])[None, None, :]
    return jnp.where(inside[..., None], moved, color)


def affine_source(
    matrix: jax.Array, height: int, width: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Row and column [H, W] of each pixel's source, clipped, and whether it is inside.

    Pillow's 16.16 fixed point (Geometry.c, affine_fixed), coordinates in int32.
    """
    y = jax.lax.broadcasted_iota(jnp.int32, (height, width), 0)
    x = jax.lax.broadcasted_iota(jnp.int32, (height, width), 1)
    columns = (matrix[0] * x + matrix[1] * y + matrix[2]) >> 16
    rows = (matrix[3] * x + matrix[4] * y + matrix[5]) >> 16
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1), inside


def auto_contrast(image: jax.Array) -> jax.Array:
    """Stretch each channel so that it reaches from 0 to 255. uint8 [H, W, 3]."""
    lowest, highest = jnp.min(image, axis=(0, 1)), jnp.max(image, axis=(0, 1))
    return look_up(image, jax.vmap(auto_contrast_table)(lowest, highest))


def auto_contrast_table(lowest: jax.Array, highest: jax.Array) -> jax.Array:
    """int32 [256], AutoContrast of a channel whose extremes are the uint8 arguments.

    Pillow computes v * (255 / d) - lowest * (255 / d) in double, d = highest - lowest,
    and truncates. That is 255 (v - lowest) / d rounded down, except that the rounding
    of double may make it one lower where the division is exact.
    """
    words = jnp.asarray(_auto_contrast_bits())[lowest, highest]
    low, high = lowest.astype(jnp.int32), highest.astype(jnp.int32)
    value = jnp.arange(256, dtype=jnp.int32)
    dividend = 255 * jnp.clip(value - low, 0, 255)
    divisor = jnp.maximum(high - low, 1)
    quotient = jnp.minimum(floor_quotient(dividend, divisor), 255)
    place = jax.lax.div(quotient, jnp.int32(5)).astype(jnp.uint32)
    word = jnp.where(place < 32, words[0], words[1])
    bit = (word >> (place & 31)).astype(jnp.int32) & 1
    exact = quotient * divisor == dividend
    return jnp.where(high > low, quotient - jnp.where(exact, bit, 0), value)


@functools.cache
def _auto_contrast_bits() -> np.ndarray:
    """Where double makes AutoContrast one lower: uint32 [256, 256, 2] (512 KiB).

    Bit q // 5 of the 64 at (lowest, highest) belongs to the exact quotient q. Quotients
    of one pair are multiples of 255 / gcd(255, d): five apart or more, except where
    255 / d and so the whole computation is exact.
    """
    bits = np.zeros([256, 256], "<u8")
    for distance in range(1, 256):
        count = math.gcd(255, distance)
        step = np.arange(count + 1)
        lowest = np.arange(256 - distance)[:, None]
        scale = 255.0 / distance
        value = lowest + step * (distance // count)
        pillow = np.trunc(value * scale + -lowest * scale)
        quotient = step * (255 // count)
        lower = (np.clip(pillow, 0, 255) < quotient).astype("<u8")
        marks = lower << (quotient // 5).astype("<u8")
        bits[lowest[:, 0], lowest[:, 0] + distance] = np.bitwise_or.reduce(marks, 1)
    return bits[..., None].view("<u4").astype(np.uint32)


def invert(image: jax.Array) -> jax.Array:
    """The negative, 255 - v. uint8 [H, W, 3]."""
    return jnp.uint8(255) - image


def equalize(image: jax.Array) -> jax.Array:
    """Flatten the histogram of each channel. uint8 [H, W, 3]."""
    histograms = jax.vmap(histogram)(jnp.moveaxis(image, -1, 0).reshape(3, -1))
    return look_up(image, jax.vmap(equalize_table)(histograms))


def histogram(
    values: jax.Array, zeros: jax.Array | None = None, mode: str = "promise_in_bounds"
) -> jax.Array:
    """int32 [256], how often each of 256 values is in integers [P], added to zeros.

    With the mode "drop", other values are not counted.
    """
    zeros = jnp.zeros(256, jnp.int32) if zeros is None else zeros
    return zeros.at[values.astype(jnp.int32)].add(1, mode=mode)


def equalize_table(counts: jax.Array) -> jax.Array:
    """int32 [256], Equalize of a channel with the histogram int32 [256] (ImageOps)."""
    up_to = jnp.cumsum(counts, dtype=jnp.int32)
    total = up_to[-1]
    is_highest = (up_to == total) & (counts > 0)
    of_highest = jnp.sum(jnp.where(is_highest, counts, 0), dtype=jnp.int32)
    step = jax.lax.div(total - of_highest, jnp.int32(255))
    dividend = up_to - counts + (step >> 1)
    flat = jnp.minimum(floor_quotient(dividend, jnp.maximum(step, 1)), 255)
    return jnp.where(step > 0, flat, jnp.arange(256, dtype=jnp.int32))


def floor_quotient(dividend: jax.Array, divisor: jax.Array) -> jax.Array:
    """The floor of dividend / divisor, int32 [...] from 0 to 2^24 by positive int32.

    A float32 division, which CPUs do in SIMD, is off by one at most, whatever its
    rounding; the remainder puts it right.
    """
    real = dividend.astype(jnp.float32) / divisor.astype(jnp.float32)
    quotient = real.astype(jnp.int32)
    rest = dividend - quotient * divisor
    return quotient + (rest >= divisor).astype(jnp.int32) - (rest < 0).astype(jnp.int32)


def look_up(image: jax.Array, tables: jax.Array) -> jax.Array:
    """Replace each value by its entry: uint8 [H, W, 3] and int32 [3, 256] of 0-255."""
    places = (jnp.arange(3, dtype=jnp.int32)[None, None, :], image.astype(jnp.int32))
    return tables.at[places].get(mode="promise_in_bounds").astype(jnp.uint8)


def solarize(image: jax.Array, threshold: jax.Array) -> jax.Array:
    """Invert values from the threshold up (int32, 256: none). uint8 [H, W, 3]."""
    return jnp.where(image.astype(jnp.int32) < threshold, image, invert(image))


def posterize(image: jax.Array, bits: jax.Array) -> jax.Array:
    """Keep the highest bits (int32, 1-8) of each value. uint8 [H, W, 3]."""
    return image & ((255 << (8 - bits)) & 255).astype(jnp.uint8)


def contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with the mean of the gray image; factor float32 [2]. uint8 [H, W, 3]."""
    pixels = image.astype(jnp.int32)
    gray = gray_of(pixels[..., 0], pixels[..., 1], pixels[..., 2])
    return blend(jnp.broadcast_to(rounded_mean(gray), image.shape), pixels, factor)


def color(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with the gray image; factor float32 [2]. uint8 [H, W, 3]."""
    pixels = image.astype(jnp.int32)
    gray = gray_of(pixels[..., 0], pixels[..., 1], pixels[..., 2])
    return blend(jnp.broadcast_to(gray[..., None], image.shape), pixels, factor)


def brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with black; factor float32 [2]. uint8 [H, W, 3]."""
    pixels = image.astype(jnp.int32)
    return blend(jnp.zeros_like(pixels), pixels, factor)


def sharpness(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Blend with the smoothed image; factor float32 [2]. uint8 [H, W, 3]."""
    pixels = image.astype(jnp.int32)
    return blend(smooth(pixels), pixels, factor)


def sample_pairing(image: jax.Array, row: Coefficients, inputs: Inputs) -> jax.Array:
    """Mix a partner in; the factor is its weight."""
    pixels, partner = image.astype(jnp.int32), inputs.partner.astype(jnp.int32)
    return blend(pixels, partner, row.factor)


def gray_of(red: jax.Array, green: jax.Array, blue: jax.Array) -> jax.Array:
    """Gray value of int32 channels of 0-255, rounded as Pillow's mode "L"."""
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def rounded_mean(gray: jax.Array) -> jax.Array:
    """int32 [], mean of int32 values, a half rounded up."""
    total = jnp.sum(gray, dtype=jnp.int32)
    return jax.lax.div(2 * total + gray.size, jnp.int32(2 * gray.size))


def smooth(pixels: jax.Array) -> jax.Array:
    """Weights 5 in the middle and 1 around, over 13, of int32 [H, W, C]; frame kept."""
    height, width, _ = pixels.shape
    if min(height, width) < 3:
        return pixels
    total = 4 * pixels[1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            total += pixels[row : row + height - 2, column : column + width - 2]
    return pixels.at[1:-1, 1:-1].set(rounded_thirteenth(total))


def rounded_thirteenth(total: jax.Array) -> jax.Array:
    """The nearest int32 to total / 13, total from 0 to 13 * 255; there are no ties."""
    return jax.lax.div(2 * total + 13, jnp.int32(26))


def blend(start: jax.Array, end: jax.Array, factor: jax.Array) -> jax.Array:
    """The truncated start + factor * (end - start), clipped to 0-255.

    Pillow rounds the float32 product before it adds. A compiler may fuse the two, which
    changes results by one; with the factor in a high part of 15 bits and the rest, both
    partial products are exact (|end - start| <= 255), so their sum is the rounded
    product whether fused or not.

    Start and end are int32 [...] of 0-255, the factor is that of `Coefficients`, and
    the result is uint8 [...]; factor 1 gives back the end.
    """
    difference = (end - start).astype(jnp.float32)
    product = factor[0] * difference + factor[1] * difference
    mixed = (start.astype(jnp.float32) + product).astype(jnp.int32)
    return jnp.clip(mixed, 0, 255).astype(jnp.uint8)


def cutout(image: jax.Array, row: Coefficients, inputs: Inputs) -> jax.Array:
    """Cover a square, cut at the borders; its half side is the amount."""
    covered = cutout_mask(row.amount, inputs.center, image.shape[0], image.shape[1])
    color = jnp.broadcast_to(inputs.fill, image.shape[-1:])[None, None, :]
    return jnp.where(covered[..., None], color, image)


def cutout_mask(
    half: jax.Array | int, center: jax.Array, height: int, width: int
) -> jax.Array:
    """The pixels that Cutout covers, bool [H, W]; none where half the side is 0."""
    y = jax.lax.broadcasted_iota(jnp.int32, (height, width), 0) - center[0]
    x = jax.lax.broadcasted_iota(jnp.int32, (height, width), 1) - center[1]
    return (y >= -half) & (y < half) & (x >= -half) & (x < half)


OPS: tuple[Op, ...] = (
    Op("ShearX", affine, *values.SHEAR_X),
    Op("ShearY", affine, *values.SHEAR_Y),
    Op("TranslateX", affine, *values.TRANSLATE_X),
    Op("TranslateY", affine, *values.TRANSLATE_Y),
    Op("Rotate", affine, *values.ROTATE),
    Op("AutoContrast", lambda rgb, *_: auto_contrast(rgb)),
    Op("Invert", lambda rgb, *_: invert(rgb)),
    Op("Equalize", lambda rgb, *_: equalize(rgb)),
    Op("Solarize", lambda rgb, row, _: solarize(rgb, row.amount), *values.SOLARIZE),
    Op("Posterize", lambda rgb, row, _: posterize(rgb, row.amount), *values.POSTERIZE),
    Op("Contrast", lambda rgb, row, _: contrast(rgb, row.factor), *values.ENHANCE),
    Op("Color", lambda rgb, row, _: color(rgb, row.factor), *values.ENHANCE),
    Op("Brightness", lambda rgb, row, _: brightness(rgb, row.factor), *values.ENHANCE),
    Op("Sharpness", lambda rgb, row, _: sharpness(rgb, row.factor), *values.ENHANCE),
    Op("Cutout", cutout, *values.CUTOUT),
    Op("SamplePairing", sample_pairing, *values.SAMPLE_PAIRING),
    Op("Identity", lambda rgb, *_: rgb),
)
"""The 16 ops of the search space (Sec. 3.2) and Identity; `Policies.ops` are places."""
NUM_SEARCH_OPS = len(OPS) - 1  # all except Identity, which is last
