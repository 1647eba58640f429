"""Packed pixels, and the two drivers that go over many images of them.

A pixel is one uint32: red in the lowest byte, then green, blue and validity (255; 0
where the pixel was moved in or covered). Driver "map" goes image by image, for CPUs;
"vmap" takes all at once, for accelerators. Where the two like other forms of the same
arithmetic, both are here, equal bit for bit: a CPU likes bytes side by side, which its
SIMD instructions take 16 at a time; on an accelerator a change of the element's size is
a pass over memory, but shifts and masks fuse into what comes before and after.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

VALID = 0xFF000000


def driver_or_default(driver: str | None) -> str:
    """The driver, or the default backend's where it is None."""
    if driver is None:
        return "map" if jax.default_backend() == "cpu" else "vmap"
    if driver not in ("map", "vmap"):
        raise ValueError(f"unknown driver {driver!r}: use map, vmap or None")
    return driver


def for_each(driver: str, function: Callable, arguments: Any) -> Any:
    """Applies a function to each entry, one by one ("map") or to all at once ("vmap").

    XLA on a CPU runs all branches of a vmapped switch, and recomputes a table for every
    pixel unless it comes out of a loop; an accelerator waits for each turn of a loop.
    """
    if driver == "map":
        return jax.lax.map(function, arguments)
    return jax.vmap(function)(arguments)


def pack(images: jax.Array, driver: str) -> jax.Array:
    """Images as pixels uint32 [..., H * W].

    They are uint8 [..., H, W, 3], all valid, or [..., H, W, 4] with their validity.
    """
    flat = images.reshape(*images.shape[:-3], -1, images.shape[-1])
    if driver == "vmap":
        channels = [flat[..., i] for i in range(3)]
        if flat.shape[-1] == 4:
            return join(channels, flat[..., 3].astype(jnp.uint32) << 24)
        return join(channels, jnp.full(flat.shape[:-1], VALID, jnp.uint32))
    if flat.shape[-1] == 3:
        validity = jnp.full((*flat.shape[:-1], 1), 255, jnp.uint8)
        flat = jnp.concatenate([flat, validity], axis=-1)
    return from_lanes(flat)


def unpack(words: jax.Array, shape: tuple[int, ...], driver: str) -> jax.Array:
    """The inverse of `pack` for images of a shape (H, W, 3 or 4)."""
    channels = shape[-1]
    if driver == "vmap":
        bytes_of = [*split(words), (words >> 24).astype(jnp.int32)]
        lanes = jnp.stack(bytes_of[:channels], axis=-1).astype(jnp.uint8)
    else:
        lanes = to_lanes(words)[..., :channels]
    return lanes.reshape(*words.shape[:-1], *shape)


def to_lanes(words: jax.Array) -> jax.Array:
    """Pixels uint32 [...] as bytes uint8 [..., 4]."""
    return jax.lax.bitcast_convert_type(words, jnp.uint8)


def from_lanes(lanes: jax.Array) -> jax.Array:
    """Bytes uint8 [..., 4] as pixels uint32 [...]."""
    return jax.lax.bitcast_convert_type(lanes, jnp.uint32)


def split(words: jax.Array) -> list[jax.Array]:
    """Red, green and blue of pixels, int32 of the same shape."""
    return [((words >> shift) & 255).astype(jnp.int32) for shift in (0, 8, 16)]


def join(channels: list[jax.Array], words: jax.Array) -> jax.Array:
    """Pixels of three channels of 0-255 with the validity of `words`."""
    red, green, blue = (channel.astype(jnp.uint32) for channel in channels)
    return (words & jnp.uint32(VALID)) | red | (green << 8) | (blue << 16)


def on_bytes(
    function: Callable[[jax.Array], jax.Array], words: jax.Array, driver: str
) -> jax.Array:
    """Red, green and blue of pixels under one function of uint8 [...]; all valid."""
    if driver == "map":
        return from_lanes(function(to_lanes(words))) | jnp.uint32(VALID)
    channels = [function(channel.astype(jnp.uint8)) for channel in split(words)]
    return join(channels, words) | jnp.uint32(VALID)


def extremes(words: jax.Array, driver: str) -> jax.Array:
    """Minimum and maximum of red, green and blue of pixels [P]: uint8 [3, 2]."""
    if driver == "vmap":
        pairs = [(jnp.min(channel), jnp.max(channel)) for channel in split(words)]
        return jnp.array(pairs).astype(jnp.uint8)
    lanes = to_lanes(words)
    whole = lanes.shape[0] // 16 * 16  # blocks of 16 pixels, to use SIMD
    blocks = lanes[:whole].reshape(-1, 64)
    lowest = jnp.min(blocks, axis=0, initial=255).reshape(16, 4)
    highest = jnp.max(blocks, axis=0, initial=0).reshape(16, 4)
    rest = lanes[whole:]
    both = [
        jnp.min(jnp.concatenate([lowest, rest]), axis=0),
        jnp.max(jnp.concatenate([highest, rest]), axis=0),
    ]
    return jnp.stack(both, axis=1)[:3]


@jax.custom_batching.custom_vmap
def fetch(table: jax.Array, places: jax.Array) -> jax.Array:
    """Entries of a table [K] at int32 [...] of 0 to K - 1.

    A batch of tables is laid end to end, so that a place stays one number: of a batched
    gather XLA writes out each pixel's pair (image, place), 8 bytes, before it fetches.
    """
    return jnp.asarray(table).at[places].get(mode="promise_in_bounds")


@fetch.def_vmap
def _(
    axis_size: int, in_batched: list[bool], table: jax.Array, places: jax.Array
) -> tuple[jax.Array, bool]:
    if not in_batched[0] or table.size >= 2**31:  # a place must be an int32
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(fetch.fun, axes)(table, places), True
    places = places if in_batched[1] else places[None]
    first = jnp.arange(axis_size, dtype=jnp.int32) * table.shape[1]
    first = first.reshape(axis_size, *[1] * (places.ndim - 1))
    return fetch(table.reshape(-1), first + places), True
