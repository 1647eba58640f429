"""What stands around a policy: crop and flip, normalisation, the fixed Cutout.

Crop and flip work on uint8, the rest makes float32 of it. Random numbers are drawn
apart from their use, so that every row can be replayed.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import packed_pixels
from aaa_jax.augment.checks import check_flags, check_images, check_whole
from aaa_jax.augment.ops import cutout_mask
from aaa_jax.runtime import randomness


class Crops(NamedTuple):
    """Random numbers of the standard augmentation."""

    offset: jax.Array  # int32 [B, 2], the crop's first row and column after padding
    flip: jax.Array  # bool [B]


@randomness.drawing
def draw_crops(key: jax.Array, num_rows: int, *, padding: int, flip: bool) -> Crops:
    """Draws the standard augmentation of `num_rows` rows (CIFAR: padding 4, flip)."""
    check_whole(0, num_rows=num_rows, padding=padding)
    check_flags(flip=flip)
    uniform = jax.random.uniform(key, (num_rows, 3), jnp.float32)
    return Crops(
        offset=integers_below(2 * padding + 1, uniform[:, :2]),
        flip=(uniform[:, 2] < 0.5) & flip,
    )


def integers_below(limit: int, uniform: jax.Array) -> jax.Array:
    """Whole numbers int32 [...] from 0 to limit - 1, out of uniform numbers [...].

    One call of `jax.random` for all that is drawn keeps the compiled program small; of
    the 2^23 values of a uniform number each result has its share, to within one.
    """
    return (uniform * limit).astype(jnp.int32)


def apply_crops(crops: Crops, images: jax.Array, *, padding: int) -> jax.Array:
    """Pads with zeros, crops to the old size, mirrors left and right where drawn.

    The images are uint8 [B, H, W, 3], or [B, H, W, 4] with the validity that
    `large_batch.apply_policies` gives; so is the result. The padding is invalid, since
    AutoAugment's CIFAR code pads with zeros after normalisation. The padding's width in
    pixels is that of `draw_crops`.
    """
    check_images("images", images, channels=4 if images.shape[-1:] == (4,) else 3)
    check_whole(0, padding=padding)
    chex.assert_shape(crops.offset, (images.shape[0], 2))
    chex.assert_shape(crops.flip, (images.shape[0],))
    driver = packed_pixels.driver_or_default(None)
    return _apply_crops(crops, images, padding, driver)


@functools.partial(jax.jit, static_argnames=("padding", "driver"))
def _apply_crops(
    crops: Crops, images: jax.Array, padding: int, driver: str
) -> jax.Array:
    height, width = images.shape[1:3]

    def crop(arguments: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        # dm-pix pads and mirrors; its crop would draw its own place.
        image, offset, flip = arguments
        words = packed_pixels.pack(image, driver).reshape(height, width, 1)
        padded = dm_pix.pad_to_size(words, height + 2 * padding, width + 2 * padding)
        start = (*offset, jnp.zeros((), offset.dtype))
        words = jax.lax.dynamic_slice(padded, start, words.shape)
        words = jax.lax.cond(flip, dm_pix.flip_left_right, lambda same: same, words)
        return packed_pixels.unpack(words.reshape(-1), image.shape, driver)

    return packed_pixels.for_each(driver, crop, (images, *crops))


def standard_augment(
    key: jax.Array, images: jax.Array, *, padding: int = 4, flip: bool = True
) -> jax.Array:
    """CIFAR's standard augmentation, independent per row. uint8 [B, H, W, 3]."""
    check_images("images", images)
    crops = draw_crops(key, images.shape[0], padding=padding, flip=flip)
    return apply_crops(crops, images, padding=padding)


def normalize(
    images: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """Scales to mean 0 and standard deviation 1 over the dataset: float32 [..., C].

    Args:
        images: uint8 [..., C]; or [..., C + 1] with the pixels' validity, where pixels
            that are not valid become 0, the dataset's mean.
        mean: of each channel, of values from 0 to 1.
        std: of each channel, above 0; of a channel that is constant, 1.
    """
    if np.shape(mean) != np.shape(std) or np.ndim(mean) != 1:
        raise ValueError(f"mean is {mean}, std {std}: one number a channel is needed")
    is_known = not isinstance(std, jax.core.Tracer)
    if is_known and not all(value > 0 for value in std):
        raise ValueError(
            f"std is {tuple(std)}: each must be above 0; give 1 for a channel that is "
            "constant, which becomes 0"
        )
    channels = len(mean)
    last, dtype = np.shape(images)[-1:], getattr(images, "dtype", None)
    if dtype != np.uint8 or last not in ((channels,), (channels + 1,)):
        raise ValueError(
            f"images are {dtype or type(images).__name__} {list(np.shape(images))}: "
            f"uint8 [..., {channels}] is needed, or {channels + 1} with validity"
        )
    leading = (1,) * (images.ndim - 1)
    shift, scale = (jnp.asarray(value, jnp.float32) for value in (mean, std))
    floats = images[..., :channels].astype(jnp.float32) / 255.0
    floats = (floats - shift.reshape(*leading, -1)) / scale.reshape(*leading, -1)
    if images.shape[-1] == channels:
        return floats
    return jnp.where(images[..., channels:] > 0, floats, 0.0)


@randomness.drawing
def draw_centers(key: jax.Array, num_rows: int, height: int, width: int) -> jax.Array:
    """Middles of the fixed Cutout, uniform over the pixels: int32 [B, 2]."""
    uniform = jax.random.uniform(key, (num_rows, 2), jnp.float32)
    return jnp.stack(
        [integers_below(height, uniform[:, 0]), integers_below(width, uniform[:, 1])], 1
    )


def fixed_cutout(images: jax.Array, centers: jax.Array, size: int = 16) -> jax.Array:
    """Sets a square of each normalised image to 0 (DeVries and Taylor, 2017).

    Images are float [B, H, W, C], centers int32 [B, 2], row and column; the square has
    `size` pixels, an even number, on a side, and is cut at the borders.
    """
    chex.assert_rank(images, 4)
    num_rows, height, width, _ = images.shape
    chex.assert_shape(centers, (num_rows, 2))
    check_whole(0, size=size)
    if size % 2:
        raise ValueError(f"the Cutout's size is an even number of pixels: {size}")
    covered = jax.vmap(lambda center: cutout_mask(size // 2, center, height, width))
    return jnp.where(covered(centers)[..., None], 0.0, images)
