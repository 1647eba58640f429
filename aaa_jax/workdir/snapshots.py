"""Snapshots of a learned policy source in a run's directory.

    controller/STEP.npz   the source's arrays after STEP steps, by name; no pickle

Equal arrays give equal bytes. A snapshot of a step must be written before the
checkpoint of that step: `truncate_after` relies on it, as in `run_directory`. Any NumPy
reads a snapshot with `numpy.load(path)`.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util

from aaa_jax.workdir import atomic_files, run_directory

FOLDER = "controller"


class SnapshotError(ValueError):
    """A snapshot cannot be read; the message names the file."""


def save_snapshot(
    workdir: epath.PathLike, step: int, arrays: Mapping[str, Any]
) -> epath.Path:
    """Writes nested dictionaries as `controller/STEP.npz`, whole or not at all."""
    path = epath.Path(workdir) / FOLDER / f"{int(step)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    named = traverse_util.flatten_dict(dict(arrays), sep="/")
    np.savez(content, allow_pickle=False, **named)
    atomic_files.write_whole(path, content.getvalue())
    return path


def load_snapshot(workdir: epath.PathLike, step: int) -> dict[str, Any]:
    """What `save_snapshot` wrote: nested dictionaries of NumPy arrays.

    Raises:
        SnapshotError: it is missing or damaged.
    """
    path = epath.Path(workdir) / FOLDER / f"{int(step)}.npz"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            return traverse_util.unflatten_dict(dict(content), sep="/")
    except Exception as error:  # zipfile and NumPy raise many kinds
        raise SnapshotError(f"the snapshot {path} cannot be read: {error}") from error


def snapshot_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of which there is a snapshot, in order."""
    return run_directory.steps_in(epath.Path(workdir) / FOLDER, ".npz")


def truncate_after(workdir: epath.PathLike, step: int | None) -> None:
    """Removes the snapshots of later steps.

    Before a fresh start (`None`) none is left: those of a run that got somewhere are
    set aside with their folder, as `controller.before-N`.
    """
    folder = epath.Path(workdir) / FOLDER
    last = -1 if step is None else step
    later = [number for number in snapshot_steps(workdir) if number > last]
    if step is None and any(later):
        atomic_files.set_aside(folder)
        return
    for number in later:
        (folder / f"{number}.npz").unlink(missing_ok=True)
