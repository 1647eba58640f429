"""Batch normalisation over groups of rows.

The group is the unit that devices and accumulation passes share out, so that a
network's result depends on neither. The caller decides which rows form a group.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

MOMENTUM = 0.9
EPSILON = 1e-5


class GroupBatchNorm(nn.Module):
    """Batch normalisation with statistics per group of consecutive rows.

    In training each group of `group_size` rows is normalised by its own mean and
    biased variance, and the running statistics r become 0.9 r + 0.1 times the mean over
    the groups given. That is linear: the average of the updated statistics of equal
    shares of the groups (devices, passes) equals one update with all groups. In
    evaluation the running statistics normalise, and groups do not matter.

    Statistics are E[x] and E[x^2] - E[x]^2 in one reading of x, as in
    flax.linen.BatchNorm. Parameters and statistics are float32.

    Silent: how the paper takes its statistics. Groups of mixed policies, decay 0.9 and
    epsilon 1e-5 are our choice.
    """

    group_size: int | None = None  # rows in a group; None: one group of all rows given
    dtype: jax.typing.DTypeLike = jnp.float32  # of the output; inside all is float32
    scale_init: nn.initializers.Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalise x, float [B, ..., C], over rows and pixels, to the module's dtype.

        In training B is a multiple of the group size.
        """
        num_channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (num_channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (num_channels,), jnp.float32)
        shape = (num_channels,)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if not train:
            return _normalize(x, mean.value, var.value, scale, bias, self.dtype)
        groups = _split_groups(x, self.group_size)
        group_mean, group_var = _statistics(groups)
        if not self.is_initializing():
            mean.value = _moved(mean.value, group_mean)
            var.value = _moved(var.value, group_var)
        y = _normalize(groups, group_mean, group_var, scale, bias, self.dtype)
        return y.reshape(x.shape)


def _split_groups(x: jax.Array, group_size: int | None) -> jax.Array:
    """Cut the rows [B, ...] into groups [G, B / G, ...] of consecutive rows."""
    num_rows = x.shape[0]
    size = num_rows if group_size is None else group_size
    if size < 1 or num_rows % size:
        raise ValueError(
            f"batch normalisation has groups of {size} rows, and {num_rows} rows "
            f"cannot be cut into them: give a multiple of {size} rows, or set "
            "bn_group_size to a divisor of the rows or to None (one group)"
        )
    return x.reshape(num_rows // size, size, *x.shape[1:])


def _statistics(groups: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance [G, C] of each group of [G, b, ..., C]."""
    axes = tuple(range(1, groups.ndim - 1))
    values = groups.astype(jnp.float32)
    mean = values.mean(axes)
    square = jnp.square(values).mean(axes)
    return mean, jnp.maximum(square - jnp.square(mean), 0.0)


def _moved(running: jax.Array, groups: jax.Array) -> jax.Array:
    """The running statistics [C] moved by those of the groups [G, C]."""
    return MOMENTUM * running + (1 - MOMENTUM) * groups.mean(0)


def _normalize(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    dtype: jax.typing.DTypeLike,
) -> jax.Array:
    """(x - mean) / sqrt(var + eps) * scale + bias.

    x is [G, b, ..., C] with mean and var [G, C], or [B, ..., C] with mean and var [C].
    """

    def spread(entries: jax.Array) -> jax.Array:
        *lead, channels = entries.shape
        return entries.reshape(*lead, *(1,) * (x.ndim - entries.ndim), channels)

    factor = scale.reshape(*(1,) * (var.ndim - 1), -1) * jax.lax.rsqrt(var + EPSILON)
    y = (x.astype(jnp.float32) - spread(mean)) * spread(factor) + spread(bias)
    return y.astype(dtype)
