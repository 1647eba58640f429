"""What a person's arrays must be: images, whole numbers, a colour; else a clear error.

Values are checked where an array is concrete; of a tracer, only shape and dtype are.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_images(what: str, images: Any, channels: int = 3) -> None:
    """Refuses what is not uint8 [B, H, W, channels] with B > 0, and says what to do."""
    shape = f"[B, H, W, {channels}]"
    if not hasattr(images, "shape"):
        raise ValueError(
            f"{what} are {type(images).__name__}: an array uint8 {shape} is "
            "needed, say numpy.asarray(images, numpy.uint8)"
        )
    if images.dtype != jnp.uint8:
        raise ValueError(
            f"{what} are {images.dtype}: uint8 from 0 to 255 is needed; values from 0 "
            "to 1 become (255 * images).round().astype('uint8')"
        )
    if images.ndim != 4 or images.shape[-1] != channels or images.size == 0:
        raise ValueError(
            f"{what} {images.shape}: {shape} is needed, with one image or more"
        )


def check_integers(
    what: str, values: jax.Array, shape: tuple[int, ...], highest: int | None
) -> jax.Array:
    """Whole numbers of any width, of JAX or NumPy, as int32.

    `what` names them in an error. Entries must be from 0 to highest; None: any.
    """
    check_array(what, values, shape, jnp.integer, "int32")
    if highest is not None:
        check_range(what, values, highest)
    return jnp.asarray(values).astype(jnp.int32)


def check_signs(what: str, values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Directions, +1 or -1, as int32."""
    signs = check_integers(what, values, shape, None)
    _check_entries(what, signs, lambda entries: abs(entries) == 1, "+1 or -1")
    return signs


def check_range(what: str, values: jax.Array, highest: int) -> None:
    """Refuses an entry outside 0 to highest."""
    allowed = f"from 0 to {highest}"
    _check_entries(what, values, lambda v: (v >= 0) & (v <= highest), allowed)


def check_array(
    what: str, values: jax.Array, shape: tuple[int, ...], kind: type, dtype: str
) -> None:
    """Refuses what is no array of this shape and kind of numbers."""
    if not hasattr(values, "dtype"):
        found = type(values).__name__
        raise ValueError(f"{what} is {found}: an array {dtype} {list(shape)} is needed")
    if values.shape != shape or not jnp.issubdtype(values.dtype, kind):
        found = f"{values.dtype} {list(values.shape)}"
        raise ValueError(f"{what} is {found}: {dtype} {list(shape)} is needed")


def check_whole(lowest: int, **sizes: Any) -> None:
    """Refuses what is no whole number from `lowest` on, by its name."""
    for name, size in sizes.items():
        _check_known(name, size)
        try:
            number = operator.index(size)
        except TypeError:
            number = lowest - 1
        if isinstance(size, bool) or number < lowest:
            raise ValueError(
                f"{name} is {size!r}: a whole number from {lowest} on is needed"
            )


def check_flags(**flags: Any) -> None:
    """Refuses what is neither True nor False, by its name."""
    for name, flag in flags.items():
        _check_known(name, flag)
        if not isinstance(flag, bool | np.bool_):
            raise ValueError(f"{name} is {flag!r}: True or False is needed")


def _check_known(name: str, *values: Any) -> None:
    """Refuses what only a running program knows, and whose Python value is needed."""
    if any(isinstance(value, jax.core.Tracer) for value in values):
        raise ValueError(
            f"{name} is traced: it must be known when the function is compiled; give "
            "it as Python numbers, or by static_argnames of jax.jit"
        )


def check_color(fill: Any) -> np.ndarray:
    """A colour (red, green, blue) as uint8 [3]."""
    values = fill if isinstance(fill, Sequence) else (fill,)
    _check_known("fill", *values)
    try:
        channels = [operator.index(c) for c in fill if not isinstance(c, bool)]
    except TypeError:
        channels = []
    if len(channels) != 3 or min(channels) < 0 or max(channels) > 255:
        raise ValueError(f"fill {fill!r}: three integers from 0 to 255 are needed")
    return np.array(channels, np.uint8)


def _check_entries(
    what: str, values: jax.Array, is_good: Callable, allowed: str
) -> None:
    """Names the first entry that is not good, if they are known and there is one."""
    if isinstance(values, jax.core.Tracer):
        return
    entries = np.asarray(values)
    wrong = ~is_good(entries)
    if wrong.any():
        place = [int(axis[0]) for axis in np.nonzero(wrong)]
        raise ValueError(
            f"{what} has {entries[wrong][0]} at {place}: {allowed} is allowed"
        )
