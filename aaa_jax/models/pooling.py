"""Average and maximum pooling for any image size."""

from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp

Size = tuple[int, int]


def average_pool(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels, [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), C].

    At the far edge of an odd side the mean is over the pixels that exist.
    """
    padding = ((0, x.shape[1] % 2), (0, x.shape[2] % 2))
    return nn.avg_pool(x, (2, 2), (2, 2), padding, count_include_pad=False)


def max_pool(x: jax.Array) -> jax.Array:
    """Maxima of 3x3 pixels around every second pixel; sizes as in `average_pool`.

    The gradient goes to the first largest pixel, as that of nn.max_pool does, but
    without XLA's select-and-scatter, which a GPU cannot run deterministically.
    """
    return _max_pool((x.shape[1], x.shape[2]), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_pool(size: Size, x: jax.Array) -> jax.Array:
    return _first_maximum(x)[0]


def _first_maximum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each window's maximum, and its first place there in reading order, 0 to 8."""
    low = jnp.asarray(-jnp.inf, x.dtype)
    padded = jax.lax.pad(x, low, ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0)))
    height, width = _halved(x.shape[1]), _halved(x.shape[2])
    best = jnp.full((x.shape[0], height, width, x.shape[3]), low)
    first = jnp.zeros(best.shape, jnp.int8)
    for tap in range(9):
        i, j = divmod(tap, 3)
        pixel = padded[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        first = jnp.where(pixel > best, jnp.int8(tap), first)
        best = jnp.maximum(pixel, best)
    return best, first


def _backward(size: Size, first: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Each pixel's gradient, summed over the windows whose first maximum it is."""
    zero = jnp.zeros((), gradient.dtype)

    def placed(tap: int) -> jax.Array:
        i, j = divmod(tap, 3)
        kept = jnp.where(first == tap, gradient, zero)
        # Put window (a, b) at the padded pixel (2a + i, 2b + j), then cut the padding.
        spread = [
            (offset - 1, side + 1 - offset - (2 * _halved(side) - 1), 1)
            for offset, side in zip((i, j), size, strict=True)
        ]
        return jax.lax.pad(kept, zero, ((0, 0, 0), *spread, (0, 0, 0)))

    return (reduce(jnp.add, map(placed, range(9))),)


def _halved(size: int) -> int:
    return (size + 1) // 2


_max_pool.defvjp(lambda _, x: _first_maximum(x), _backward)
