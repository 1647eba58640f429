"""Policies as JSON: the format of `docs/policies.md`."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from aaa_jax.augment import ops
from aaa_jax.augment.checks import check_color
from aaa_jax.augment.coefficients import check_size
from aaa_jax.augment.large_batch import FILL
from aaa_jax.augment.magnitudes import range_table
from aaa_jax.augment.policies import Policies, check_policies
from aaa_jax.runtime import paths

SCHEMA_VERSION = 1
ORDERS = ("standard_first", "policy_first")


class SavedPolicies(NamedTuple):
    """Policies with all that is needed to apply them again as they were."""

    policies: Policies
    ranges: str  # name of the range table, a key of `RANGES`
    order: str  # of `ORDERS`: the standard augmentation or the policy comes first
    fill: tuple[int, int, int]  # colour of moved-in pixels and of the Cutout patch
    alpha: bool = False  # they are 0 after normalisation, see `apply_policies`


def to_json(
    policies: Policies,
    *,
    ranges: str | None = None,
    order: str = "standard_first",
    fill: Sequence[int] = FILL,
    alpha: bool = False,
    image_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Policies as a JSON object with names, read back by `from_json`.

    Args:
        policies: M policies.
        ranges: name of the range table; None: the policies' own, else "monotone".
        order: of `ORDERS`.
        fill: colour of moved-in pixels and of the Cutout patch.
        alpha: see `SavedPolicies`.
        image_size: height and width in pixels for which values are added; None: none.

    Returns:
        {"version", "ranges", "order", "fill", "policies"}; the last is a list of M
        lists of Q lists of S entries [name of the op, magnitude, probability]. With an
        image size also "image_size" and "values", in whose place for an entry stand the
        values of which one is drawn: two where the op has two directions, none where
        it has no magnitude.
    """
    ranges = check_policies(policies, ranges).ranges or "monotone"
    _check_order(order)
    columns = (
        [ops.OPS[op].name for op in np.ravel(policies.ops)],
        np.ravel(policies.magnitudes).tolist(),
        # In float32 0.7 is 0.7 and not 0.699999988079071.
        [float(str(prob)) for prob in np.ravel(policies.probs).astype(np.float32)],
    )
    entries = np.array(columns, object).T.reshape(*policies.ops.shape, 3)
    record = {
        "version": SCHEMA_VERSION,
        "ranges": ranges,
        "order": order,
        "fill": check_color(fill).tolist(),
        "policies": entries.tolist(),
    }
    if image_size is not None:
        record["image_size"] = list(image_size)
        record["values"] = _values(entries, ranges, image_size)
    return record | ({"alpha": True} if alpha else {})


def _values(entries: np.ndarray, ranges: str, image_size: tuple[int, int]) -> Any:
    """The values of entries [M, Q, S, 3], in lists nested like the policies."""
    check_size(*image_size)
    table = range_table(ranges)
    values = np.empty(entries.shape[:3], object)
    for place in np.ndindex(values.shape):
        name, magnitude, _ = entries[place]
        both = [table.value(name, magnitude, sign, *image_size) for sign in (1, -1)]
        has_magnitude = ops.OPS[ops.op_index(name)].has_magnitude
        values[place] = list(dict.fromkeys(both)) if has_magnitude else []
    return values.tolist()


def save_policies(path: str | pathlib.Path, policies: Policies, **options: Any) -> None:
    """Writes `to_json(policies, **options)` as a file, read back by `load_policies`."""
    text = json.dumps(to_json(policies, **options), indent=1)
    pathlib.Path(paths.expand(path)).write_text(text + "\n", encoding="utf-8")


def load_policies(path: str | pathlib.Path) -> SavedPolicies:
    """The policies of a JSON file (`docs/policies.md`), as many as it holds.

    A ValueError names the file, and what is missing or wrong.
    """
    try:
        return from_json(pathlib.Path(paths.expand(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the policies of {path} cannot be read: {error}") from error


def from_json(record: Mapping[str, Any] | str) -> SavedPolicies:
    """Read what `to_json` wrote, as an object or as text; other keys are ignored.

    A ValueError names the wrong value, what is allowed and what to do.
    """
    if isinstance(record, str):
        try:
            record = json.loads(record)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"saved policies are not JSON ({error}): write them with to_json"
            ) from error
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
    version, ranges, order, fill, policies = (record[key] for key in required)
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"saved policies have version {version!r}: this program reads version "
            f"{SCHEMA_VERSION}"
        )
    range_table(ranges)
    _check_order(order)
    red, green, blue = check_color(fill).tolist()
    alpha = record.get("alpha", False)
    if not isinstance(alpha, bool):
        raise ValueError(f"alpha is {str(alpha)[:40]!r}: true or false is needed")
    read = _parse(policies, ranges)
    return SavedPolicies(read, ranges, order, (red, green, blue), alpha)


def _check_order(order: Any) -> None:
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}: use one of {', '.join(ORDERS)}")


def _parse(policies: Any, ranges: str) -> Policies:
    """Nested lists [M][Q][S] of [name, magnitude, probability] to arrays."""
    highest = range_table(ranges).num_magnitudes - 1
    entries = [
        [
            _parse_chain(chain, f"policy {m}, sub-policy {q}", highest)
            for q, chain in enumerate(_filled_list(policy, f"policy {m}"))
        ]
        for m, policy in enumerate(_filled_list(policies, "policies"))
    ]
    _check_lengths("sub-policies", entries)
    _check_lengths("ops", [chain for policy in entries for chain in policy])
    indices, magnitudes, probs = np.moveaxis(np.array(entries), -1, 0)
    return Policies(
        ops=jnp.asarray(indices, jnp.int32),
        magnitudes=jnp.asarray(magnitudes, jnp.int32),
        probs=jnp.asarray(probs, jnp.float32),
        ranges=ranges,
    )


def _parse_chain(chain: Any, place: str, highest: int) -> list[tuple[int, int, float]]:
    return [
        _parse_entry(entry, f"{place}, op {s}", highest)
        for s, entry in enumerate(_filled_list(chain, place))
    ]


def _filled_list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place} is {value!r}: a list that is not empty is needed")
    return value


def _check_lengths(what: str, lists: list[list[Any]]) -> None:
    lengths = {len(entries) for entries in lists}
    if len(lengths) > 1:
        raise ValueError(
            f"different numbers of {what}, {sorted(lengths)}: all must be equal (pad "
            "with Identity)"
        )


def _parse_entry(entry: Any, place: str, highest: int) -> tuple[int, int, float]:
    """Index of the op, magnitude and probability."""
    if not isinstance(entry, list) or len(entry) != 3:
        raise ValueError(
            f"{place} is {entry!r}: [name, magnitude, probability] is needed"
        )
    name, magnitude, prob = entry
    try:
        index = ops.op_index(name)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
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
