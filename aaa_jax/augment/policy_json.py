"""Policies as JSON: the format of `docs/policies.md`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import RANGES, Ranges, range_table
from aaa_jax.augment.policies import Policies, check_policies

SCHEMA_VERSION = 1
ORDERS = ("standard_first", "policy_first")


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
