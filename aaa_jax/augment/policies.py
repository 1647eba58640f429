"""Policies as arrays and as JSON.

A policy is Q sub-policies, a sub-policy a chain of S ops in order, an op a place in
`ops.OPS` with a magnitude (Sec. 3.2). What a magnitude means is in `ranges.py` (offered
here too), what an op does to pixels in `ops.py`, how a batch goes through policies in
`augment.py`, where policies come from in `sources.py`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES as NUM_MAGNITUDES
from aaa_jax.augment.magnitudes import RANGES as RANGES
from aaa_jax.augment.magnitudes import Ranges as Ranges
from aaa_jax.augment.magnitudes import coefficient_rows as coefficient_rows
from aaa_jax.augment.magnitudes import range_table as range_table

SCHEMA_VERSION = 1
ORDERS = ("standard_first", "policy_first")


@struct.dataclass
class Policies:
    """M policies of Q sub-policies of S ops each; the ops of a chain act in order.

    Attributes:
        ops: int32 [M, Q, S], places in `ops.OPS`; Identity pads shorter chains.
        magnitudes: int32 [M, Q, S], from 0; how many there are depends on the range
            table (10 for the paper's search space).
        probs: float32 [M, Q, S], the probability that the op is applied (1 in the
            paper, Sec. 3.2; smaller in AutoAugment's published policies).
        ranges: name of the range table that the magnitudes are meant in; None: the
            caller's, "monotone" unless he says otherwise. Not a leaf.
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


def search_space_size(num_sub_policies: int = 5) -> int:
    """Number of distinct policies, (16 * 10)^(2 Q) (Sec. 3.2: 1.1e22 for Q = 5)."""
    return (ops.NUM_SEARCH_OPS * NUM_MAGNITUDES) ** (2 * num_sub_policies)


def identity_policies(
    num_policies: int, *, num_sub_policies: int = 1, chain_length: int = 2
) -> Policies:
    """Policies that change nothing: the baselines of Table 4."""
    shape = (num_policies, num_sub_policies, chain_length)
    if min(shape) < 1:
        raise ValueError(f"identity policies [M, Q, S] = {shape}: each must be >= 1")
    return Policies(
        ops=jnp.full(shape, ops.op_index("Identity"), jnp.int32),
        magnitudes=jnp.zeros(shape, jnp.int32),
        probs=jnp.ones(shape, jnp.float32),
    )


def check_policies(policies: Policies, ranges: str | None = None) -> Policies:
    """Check shapes, dtypes and, where the arrays are concrete, every entry.

    Args:
        policies: arrays of JAX or NumPy, whole numbers of any width.
        ranges: name of the range table; None: the policies' own.

    Returns:
        The same in int32 and float32, with that range table.
    """
    ranges = ranges or policies.ranges or "monotone"
    shape = getattr(policies.ops, "shape", ())
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"policies.ops {shape}: an array [M, Q, S] is needed")
    highest = range_table(ranges).num_magnitudes - 1
    magnitudes = f"policies.magnitudes (of {ranges})"
    return Policies(
        ops=whole("policies.ops", policies.ops, shape, len(ops.OPS) - 1),
        magnitudes=whole(magnitudes, policies.magnitudes, shape, highest),
        probs=_probabilities(policies.probs, shape),
        ranges=ranges,
    )


def whole(
    what: str, values: jax.Array, shape: tuple[int, ...], highest: int | None
) -> jax.Array:
    """Whole numbers of any width as int32, checked.

    Args:
        what: their name, for an error.
        values: of JAX or NumPy.
        shape: that they must have.
        highest: refuse a concrete entry outside 0 to this (a tracer passes); None: do
            not look.
    """
    _check_array(what, values, shape, jnp.integer, "int32")
    if highest is not None:
        check_range(what, values, highest)
    return jnp.asarray(values).astype(jnp.int32)


def check_range(what: str, values: jax.Array, highest: int) -> None:
    """Refuse a concrete array with an entry outside 0 to highest; tracers pass."""
    if isinstance(values, jax.core.Tracer):
        return
    entries = np.asarray(values)
    refuse(what, entries, (entries >= 0) & (entries <= highest), f"from 0 to {highest}")


def refuse(what: str, entries: np.ndarray, good: np.ndarray, allowed: str) -> None:
    """Name the first entry that is not good, if there is one."""
    if not good.all():
        place = [int(axis[0]) for axis in np.nonzero(~good)]
        raise ValueError(
            f"{what} has {entries[~good][0]} at {place}: {allowed} is allowed"
        )


def _probabilities(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    _check_array("policies.probs", values, shape, jnp.floating, "float32")
    check_range("policies.probs", values, 1)
    return jnp.asarray(values).astype(jnp.float32)


def _check_array(
    what: str, values: jax.Array, shape: tuple[int, ...], kind: type, dtype: str
) -> None:
    if not hasattr(values, "dtype"):
        raise ValueError(
            f"{what} is {type(values).__name__}: an array {dtype} {list(shape)} is "
            "needed"
        )
    if values.shape != shape or not jnp.issubdtype(values.dtype, kind):
        raise ValueError(
            f"{what} is {values.dtype} {list(values.shape)}: {dtype} {list(shape)} is "
            "needed"
        )


class SavedPolicies(NamedTuple):
    """Policies with all that is needed to apply them again as they were.

    Attributes:
        policies: the policies.
        ranges: name of the range table, a key of `RANGES`.
        order: of `ORDERS`: the standard augmentation or the policy comes first.
        fill: colour (red, green, blue) of moved-in pixels and of the Cutout patch.
    """

    policies: Policies
    ranges: str
    order: str
    fill: tuple[int, int, int]


def to_json(
    policies: Policies,
    *,
    ranges: str,
    order: str = "standard_first",
    fill: Sequence[int] = (125, 123, 114),
) -> dict[str, Any]:
    """Policies as a JSON object with names, read back by `from_json`.

    Returns:
        {"version", "ranges", "order", "fill", "policies"}; the last is a list of M
        lists of Q lists of S entries [name of the op, magnitude, probability].
    """
    check_policies(policies, ranges)
    _check_order_and_fill(order, fill)
    names = [op.name for op in ops.OPS]
    entries = [
        [
            [
                [names[op], magnitude, float(str(np.float32(prob)))]
                for op, magnitude, prob in zip(*chain, strict=True)
            ]
            for chain in zip(*policy, strict=True)
        ]
        for policy in zip(
            np.asarray(policies.ops).tolist(),
            np.asarray(policies.magnitudes).tolist(),
            np.asarray(policies.probs),
            strict=True,
        )
    ]
    return {
        "version": SCHEMA_VERSION,
        "ranges": ranges,
        "order": order,
        "fill": [int(channel) for channel in fill],
        "policies": entries,
    }


def from_json(record: Mapping[str, Any] | str) -> SavedPolicies:
    """Read what `to_json` wrote, as an object or as text; other keys are ignored.

    Raises:
        ValueError: names the wrong value, what is allowed and what to do.
    """
    if isinstance(record, str):
        record = parse_json(record)
    if not isinstance(record, Mapping):
        raise ValueError(
            f"saved policies are {type(record).__name__}: a JSON object is needed"
        )
    required = ("version", "ranges", "order", "fill", "policies")
    missing = [key for key in required if key not in record]
    if missing:
        raise ValueError(
            f"saved policies lack {', '.join(missing)}: all of {', '.join(required)} "
            "are needed"
        )
    if record["version"] != SCHEMA_VERSION:
        raise ValueError(
            f"saved policies have version {record['version']!r}: this program reads "
            f"version {SCHEMA_VERSION}"
        )
    if not isinstance(record["ranges"], str):
        raise ValueError(f"ranges {record['ranges']!r}: a name of {', '.join(RANGES)}")
    range_table(record["ranges"])
    _check_order_and_fill(record["order"], record["fill"])
    red, green, blue = record["fill"]
    policies = _parse(record["policies"], record["ranges"])
    return SavedPolicies(
        policies, record["ranges"], record["order"], (red, green, blue)
    )


def parse_json(text: str) -> Any:
    """What a JSON text of saved policies holds, whatever the text is.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"saved policies are not JSON ({error}): write them with to_json"
        ) from error


def _check_order_and_fill(order: Any, fill: Any) -> None:
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}: use one of {', '.join(ORDERS)}")
    values = list(fill) if isinstance(fill, Sequence) else []
    good = [
        isinstance(channel, int)
        and not isinstance(channel, bool)
        and 0 <= channel <= 255
        for channel in values
    ]
    if len(good) != 3 or not all(good):
        raise ValueError(f"fill {fill!r}: three integers from 0 to 255 are needed")


def _parse(entries: Any, ranges: str) -> Policies:
    """Nested lists [M][Q][S] of [name, magnitude, probability] to arrays."""
    table = range_table(ranges)
    fields: tuple[list, list, list] = ([], [], [])
    lengths: list[set[int]] = [set(), set(), set()]
    _children(entries, "policies", lengths[0])
    for m, policy in enumerate(entries):
        for q, chain in enumerate(_children(policy, f"policy {m}", lengths[1])):
            place = f"policy {m}, sub-policy {q}"
            for s, entry in enumerate(_children(chain, place, lengths[2])):
                parsed = _parse_entry(entry, f"{place}, op {s}", table)
                for field, value in zip(fields, parsed, strict=True):
                    field.append(value)
    for what, found in (("sub-policies", lengths[1]), ("ops", lengths[2])):
        if len(found) > 1:
            raise ValueError(
                f"different numbers of {what}, {sorted(found)}: all must be equal "
                "(pad with Identity)"
            )
    shape = [found.pop() for found in lengths]
    indices, magnitudes, probs = fields
    return Policies(
        ops=jnp.asarray(np.reshape(indices, shape), jnp.int32),
        magnitudes=jnp.asarray(np.reshape(magnitudes, shape), jnp.int32),
        probs=jnp.asarray(np.reshape(probs, shape), jnp.float32),
        ranges=ranges,
    )


def _children(value: Any, place: str, lengths: set[int]) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place} is {value!r}: a list that is not empty is needed")
    lengths.add(len(value))
    return value


def _parse_entry(entry: Any, place: str, table: Ranges) -> tuple[int, int, float]:
    if not isinstance(entry, list) or len(entry) != 3:
        raise ValueError(
            f"{place} is {entry!r}: [name, magnitude, probability] is needed"
        )
    name, magnitude, prob = entry
    try:
        index = ops.op_index(name)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    highest = table.num_magnitudes - 1
    if type(magnitude) is not int or not 0 <= magnitude <= highest:
        raise ValueError(
            f"{place}: magnitude {magnitude!r} of {name} must be a whole number from "
            f"0 to {highest}"
        )
    if type(prob) not in (int, float) or not 0 <= prob <= 1:
        raise ValueError(
            f"{place}: probability {prob!r} of {name} must be a number from 0 to 1"
        )
    return index, magnitude, float(prob)
