"""Weights in files: arrays by name, in safetensors, or read from NumPy's npz.

Files come from strangers: nothing is unpickled, and what cannot be read is named.
"""

import os
import zipfile

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

SAFETENSORS, NPZ = ".safetensors", ".npz"


class WeightFileError(ValueError):
    """A file of weights cannot be read; the message names it."""


def to_bytes(leaves: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The content of a safetensors file."""
    whole = {name: np.ascontiguousarray(leaf) for name, leaf in leaves.items()}
    return save(whole, metadata)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file by name, and its metadata, of which npz has none.

    Raises:
        WeightFileError: it is of another kind, missing or damaged.
    """
    name = os.fspath(path)
    if not name.endswith((SAFETENSORS, NPZ)):
        raise WeightFileError(
            f"{name} is no {SAFETENSORS} or {NPZ} file; others may run code when they "
            "are read, and are not: save its arrays by safetensors' save_file"
        )
    try:
        return _read_npz(name) if name.endswith(NPZ) else _read_safetensors(name)
    except OSError as error:
        why = error.strerror or error
    except (SafetensorError, zipfile.BadZipFile, ValueError, EOFError) as error:
        why = " ".join(str(error).split())
    raise WeightFileError(f"{name} cannot be read: {why}")


def _read_npz(name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with np.load(name, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}, {}


def _read_safetensors(name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(name, framework="numpy") as file:
        leaves = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return leaves, file.metadata() or {}
