"""What stands around a policy: crop and flip, normalisation, the fixed Cutout.

Crop and flip work on uint8, the rest makes float32 of it. As everywhere, random numbers
are drawn apart from their use. The policies themselves are `augment.py`'s.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import dm_pix
import jax
import jax.numpy as jnp

from aaa_jax.augment import packed_pixels
from aaa_jax.augment.ops import cutout_mask


def check_images(what: str, images: Any) -> None:
    """Refuse what is not uint8 [B, H, W, 3] with B > 0, by name and with the remedy."""
    if not hasattr(images, "shape"):
        raise ValueError(
            f"{what} are {type(images).__name__}: an array uint8 [B, H, W, 3] is "
            "needed, say numpy.asarray(images, numpy.uint8)"
        )
    if images.dtype != jnp.uint8:
        raise ValueError(
            f"{what} are {images.dtype}: uint8 from 0 to 255 is needed; values from 0 "
            "to 1 become (255 * images).round().astype('uint8')"
        )
    if images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
        raise ValueError(
            f"{what} {images.shape}: [B, H, W, 3] is needed, with one image or more"
        )


class Crops(NamedTuple):
    """Random numbers of the standard augmentation.

    Attributes:
        offset: int32 [B, 2], first row and column of the crop in the padded image.
        flip: bool [B].
    """

    offset: jax.Array
    flip: jax.Array


def draw_crops(key: jax.Array, num_rows: int, *, padding: int, flip: bool) -> Crops:
    """Draw the standard augmentation of `num_rows` rows (CIFAR: padding 4, flip)."""
    uniform = jax.random.uniform(key, (num_rows, 3), jnp.float32)
    return Crops(
        offset=below(2 * padding + 1, uniform[:, :2]),
        flip=(uniform[:, 2] < 0.5) & flip,
    )


def below(limit: int, uniform: jax.Array) -> jax.Array:
    """Whole numbers int32 [...] from 0 to limit - 1, out of uniform numbers [...].

    One call of `jax.random` for all that is drawn keeps the compiled program small; of
    the 2^23 values of a uniform number each result has its share, to within one.
    """
    return (uniform * limit).astype(jnp.int32)


def apply_crops(crops: Crops, images: jax.Array, *, padding: int) -> jax.Array:
    """Pad with zeros, crop to the old size, mirror left and right where drawn.

    Args:
        crops: of these images.
        images: uint8 [B, H, W, 3].
        padding: pixels on each side, that of `draw_crops`.

    Returns:
        uint8 [B, H, W, 3].
    """
    check_images("images", images)
    finish = functools.partial(packed_pixels.unpack, size=images.shape[1:3])

    def crop(arguments: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        image, offset, flip = arguments
        return finish(_crop(packed_pixels.pack(image), image, offset, flip, padding))

    return _over_rows(crop, crops, images)


def apply_crops_with_validity(
    crops: Crops, images: jax.Array, valid: jax.Array, *, padding: int
) -> tuple[jax.Array, jax.Array]:
    """As `apply_crops`, after policies that leave pixels invalid; so is the padding.

    AutoAugment's CIFAR code pads what it has normalised with zeros, which is what an
    invalid pixel becomes.

    Args:
        crops: of these images.
        images: uint8 [B, H, W, 3], as `augment.apply_policies_with_validity` gives.
        valid: bool [B, H, W], likewise.
        padding: pixels on each side, that of `draw_crops`.

    Returns:
        uint8 [B, H, W, 3] and bool [B, H, W], for `normalize`.
    """
    check_images("images", images)
    chex.assert_shape(valid, images.shape[:3])
    size = (images.shape[1], images.shape[2])
    finish = functools.partial(packed_pixels.unpack_with_validity, size=size)

    def crop(arguments: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        image, offset, flip, is_valid = arguments
        words = packed_pixels.pack(image)
        invalid = words & ~jnp.uint32(packed_pixels.VALID)
        words = jnp.where(is_valid.reshape(-1), words, invalid)
        return finish(_crop(words, image, offset, flip, padding))

    return _over_rows(crop, crops, images, valid)


def _over_rows(crop: Callable, crops: Crops, *rows: jax.Array) -> Any:
    """Crop row by row: (image, offset, flip, ...) of each."""
    chex.assert_shape(crops.offset, (rows[0].shape[0], 2))
    chex.assert_shape(crops.flip, (rows[0].shape[0],))
    driver = packed_pixels.driver_or_default(None)
    return packed_pixels.over(driver, crop, (rows[0], *crops, *rows[1:]))


def _crop(
    words: jax.Array, image: jax.Array, offset: jax.Array, flip: jax.Array, padding: int
) -> jax.Array:
    """Packed pixels uint32 [H * W] of an image [H, W, 3], cropped and mirrored."""
    height, width, _ = image.shape
    frame = ((padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(words.reshape(height, width, 1), frame)
    start = (*offset, jnp.zeros((), offset.dtype))
    pixels = jax.lax.dynamic_slice(padded, start, (height, width, 1))
    pixels = jax.lax.cond(flip, dm_pix.flip_left_right, lambda same: same, pixels)
    return pixels.reshape(-1)


def standard_augment(
    key: jax.Array, images: jax.Array, *, padding: int = 4, flip: bool = True
) -> jax.Array:
    """CIFAR's standard augmentation, independent per row. uint8 [B, H, W, 3]."""
    check_images("images", images)
    crops = draw_crops(key, images.shape[0], padding=padding, flip=flip)
    return apply_crops(crops, images, padding=padding)


def normalize(
    images: jax.Array,
    mean: Sequence[float],
    std: Sequence[float],
    valid: jax.Array | None = None,
) -> jax.Array:
    """Scale to mean 0 and standard deviation 1 over the dataset.

    Args:
        images: uint8 [..., C].
        mean: of each channel, values from 0 to 1.
        std: likewise.
        valid: bool [...] without C; other pixels become 0, the dataset's mean.

    Returns:
        float32 [..., C].
    """
    chex.assert_type(images, jnp.uint8)
    channels = (len(mean),)
    chex.assert_shape(images, (..., *channels))
    leading = (1,) * (images.ndim - 1)
    shift, scale = (jnp.asarray(value, jnp.float32) for value in (mean, std))
    chex.assert_shape([shift, scale], channels)
    floats = images.astype(jnp.float32) / 255.0
    floats = (floats - shift.reshape(*leading, -1)) / scale.reshape(*leading, -1)
    return floats if valid is None else jnp.where(valid[..., None], floats, 0.0)


def draw_centers(key: jax.Array, num_rows: int, height: int, width: int) -> jax.Array:
    """Middles of the fixed Cutout, uniform over the pixels: int32 [B, 2]."""
    uniform = jax.random.uniform(key, (num_rows, 2), jnp.float32)
    return jnp.stack([below(height, uniform[:, 0]), below(width, uniform[:, 1])], 1)


def fixed_cutout(images: jax.Array, centers: jax.Array, size: int = 16) -> jax.Array:
    """Set a square of each normalised image to 0 (DeVries and Taylor, 2017).

    Args:
        images: float [B, H, W, C].
        centers: int32 [B, 2], row and column; the square is cut at the borders.
        size: side in pixels, even.

    Returns:
        float [B, H, W, C].
    """
    chex.assert_rank(images, 4)
    num_rows, height, width, _ = images.shape
    chex.assert_shape(centers, (num_rows, 2))
    if size < 0 or size % 2:
        raise ValueError(f"the Cutout's size is an even number of pixels: {size}")
    covered = jax.vmap(lambda center: cutout_mask(size // 2, center, height, width))
    return jnp.where(covered(centers)[..., None], 0.0, images)
