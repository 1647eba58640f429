"""What a checkpoint holds, leaf by leaf: names, shapes, dtypes and checksums.

Orbax restores a flipped bit and casts another dtype without a word: the manifest that
`checkpoint` keeps with every step is what tells. No file is touched here.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

VERSION = 1


def named_leaves(state: Any, *, abstract: bool = False) -> dict[str, Any]:
    """The leaves of a state by path, in the order of `jax.tree.leaves`."""
    leaves: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "state"
        is_abstract = abstract and isinstance(leaf, jax.ShapeDtypeStruct)
        if not (is_abstract or isinstance(leaf, jax.Array | np.ndarray)):
            raise TypeError(
                f"state leaf {name} is a {type(leaf).__name__}: only arrays are saved"
            )
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise TypeError(
                f"state leaf {name} has dtype {leaf.dtype}: save"
                " jax.random.key_data(key), or derive the key anew"
            )
        if leaf.size == 0:
            raise TypeError(f"state leaf {name} has no elements: shape {leaf.shape}")
        if name in leaves:
            raise ValueError(f"two leaves of the state have the name {name}")
        leaves[name] = leaf
    if not leaves:
        raise TypeError("the state has no arrays")
    return leaves


def describe(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of these leaves: a JSON object with a checksum of its own."""
    found = checksums(leaves)
    content = {
        name: {**_description(leaf), "crc32": found[name]}
        for name, leaf in leaves.items()
    }
    checksum = text_checksum(VERSION, content)
    return {"version": VERSION, "leaves": content, "crc32": checksum}


def _description(leaf: Any) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def differences(
    saved: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Any]
) -> list[str]:
    """One phrase per leaf that differs in presence, shape or dtype."""
    found = [
        f"leaf {name} is missing from it" for name in expected if name not in saved
    ]
    found += [
        f"leaf {name} is unknown to the run" for name in saved if name not in expected
    ]
    for name, leaf in expected.items():
        for key, value in _description(leaf).items():
            if name in saved and saved[name][key] != value:
                found.append(
                    f"leaf {name} has {key} {saved[name][key]}, the run needs {value}"
                )
    return found


def checksums(leaves: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of the bytes of every leaf; all copies from the device start at once."""
    values: list[np.ndarray] = jax.device_get(list(leaves.values()))
    return {
        name: zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        for name, value in zip(leaves, values, strict=True)
    }


def text_checksum(*content: Any) -> int:
    """CRC-32 of JSON values."""
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
