"""Policies as arrays (Sec. 3.2).

A policy is Q sub-policies, a sub-policy is a chain of S ops, an op is a place in
`ops.OPS` with a magnitude. `magnitudes` says what a magnitude means.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from aaa_jax.augment import ops
from aaa_jax.augment.checks import check_array, check_integers, check_range
from aaa_jax.augment.magnitudes import range_table


@struct.dataclass
class Policies:
    """M policies of Q sub-policies of S ops each; the ops of a sub-policy act in order.

    Attributes:
        ops: int32 [M, Q, S], places in `ops.OPS`; Identity pads shorter chains.
        magnitudes: int32 [M, Q, S], from 0; how many there are depends on the range
            table (10 for the paper's search space).
        probs: float32 [M, Q, S], the probability that the op is applied (1 in the
            paper, Sec. 3.2; smaller in AutoAugment's published policies).
        ranges: name of the range table that the magnitudes are meant in, not a leaf;
            None: that of the function which takes the policies, else "monotone".
    """

    ops: jax.Array
    magnitudes: jax.Array
    probs: jax.Array
    ranges: str | None = struct.field(pytree_node=False, default=None)

    @property
    def num_policies(self) -> int:
        """The number of policies, M."""
        return self.ops.shape[0]

    @property
    def num_sub_policies(self) -> int:
        """The number of sub-policies of each policy, Q."""
        return self.ops.shape[1]

    @property
    def chain_length(self) -> int:
        """The number of ops of each sub-policy, S."""
        return self.ops.shape[2]


def identity_policies(
    num_policies: int, *, num_sub_policies: int = 1, chain_length: int = 2
) -> Policies:
    """Policies that change nothing: the baselines of Table 4."""
    shape = (num_policies, num_sub_policies, chain_length)
    return Policies(
        ops=jnp.full(shape, ops.op_index("Identity"), jnp.int32),
        magnitudes=jnp.zeros(shape, jnp.int32),
        probs=jnp.ones(shape, jnp.float32),
    )


def require_policies(policies: Any) -> None:
    """Refuses what is no `Policies`, and says where they come from."""
    if not isinstance(policies, Policies):
        raise ValueError(
            f"policies are {type(policies).__name__}: aaa_jax.Policies are needed, as "
            "a source samples them or load_policies(FILE).policies holds them"
        )


def check_policies(policies: Policies, ranges: str | None = None) -> Policies:
    """Check shapes, dtypes and, where the arrays are concrete, every entry.

    The arrays may be JAX's or NumPy's, of any width. They come back in int32 and
    float32, with the range table of that name, or their own where it is None.
    """
    require_policies(policies)
    ranges = ranges or policies.ranges or "monotone"
    shape = getattr(policies.ops, "shape", ())
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"policies.ops {shape}: an array [M, Q, S] is needed")
    highest = range_table(ranges).num_magnitudes - 1
    magnitudes = f"policies.magnitudes (of {ranges})"
    check_array("policies.probs", policies.probs, shape, jnp.floating, "float32")
    check_range("policies.probs", policies.probs, 1)
    return Policies(
        ops=check_integers("policies.ops", policies.ops, shape, len(ops.OPS) - 1),
        magnitudes=check_integers(magnitudes, policies.magnitudes, shape, highest),
        probs=jnp.asarray(policies.probs).astype(jnp.float32),
        ranges=ranges,
    )
