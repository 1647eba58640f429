"""What of an earlier start is kept: a run that goes on equals one never stopped.

Before the first step: the processes and the data must be those that the run began with,
and no line before the checkpoint may be missing. Then lines and snapshots that a run
never stopped would not have are dropped.
"""

import os
import time
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from aaa_jax import data
from aaa_jax.experiments.build import Experiment, require_steps_left
from aaa_jax.experiments.splits import Splits
from aaa_jax.runtime import processes
from aaa_jax.train import records
from aaa_jax.train.compiled import RunState
from aaa_jax.workdir import run_directory, run_facts, snapshots
from aaa_jax.workdir.checkpoints import Checkpoints

_SECONDS = 20.0  # that a network's file system may take to show a new file
ROUNDING = "Numbers may round otherwise than those of a run never stopped."
_RECORDS = 16  # of a streamed split that are read for its fingerprint


def require_equal_processes(
    config: ml_collections.ConfigDict, splits: Splits, workdir: epath.PathLike
) -> None:
    """Refuses processes of one run with other configs, data or versions.

    Raises:
        processes.ProcessError: with the names of what differs, and in which process.
    """
    if processes.count() == 1:
        return
    values = flatten_dict(config.to_dict(), sep=".")
    del values["data.dir"]  # may be another path on each host
    values["--workdir"] = os.fspath(workdir)
    values["the jax version"] = jax.__version__
    values |= fingerprint(splits)
    processes.require_equal(values)


def require_shared_directory(
    workdir: epath.PathLike, seconds: float = _SECONDS
) -> None:
    """Refuses a run directory in which not all processes see process 0's config.json.

    Raises:
        processes.ProcessError: in every process, after so many seconds.
    """
    if processes.count() == 1:
        return
    written = epath.Path(workdir) / "config.json"
    deadline = time.monotonic() + seconds
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if processes.anywhere(not written.exists()):
        raise processes.ProcessError(
            f"--workdir={workdir} must be a directory that all processes see, on a "
            "shared file system or in a bucket; process 0 has written its config.json, "
            f"and process {jax.process_index()} "
            + ("sees it, another does not" if written.exists() else "does not see it")
        )


def require_same_data(workdir: epath.PathLike, splits: Splits) -> dict[str, int]:
    """Refuses other data than those that the run in a directory began with.

    Returns:
        Their fingerprint; empty in all processes except the first.

    Raises:
        run_directory.RunDirectoryError: naming what differs.
        processes.ProcessError: in the other processes.
    """
    found = fingerprint(splits) if processes.is_first() else {}
    processes.from_first(lambda: _compare_data(epath.Path(workdir), found))
    return found


def has_begun(workdir: epath.PathLike) -> bool:
    """Whether a run has saved a step: it goes on from there, whatever it began with."""
    folder = epath.Path(workdir) / run_directory.CHECKPOINTS
    return processes.from_first(lambda: bool(run_directory.steps_in(folder)))


def fingerprint(splits: Splits) -> dict[str, int]:
    """Checksums of a run's data: other data under the same name differ in them.

    Returns:
        CRC-32 by name: of all images and labels; of a streamed split, of which images
        it holds, of its class names and of some records as they are stored.
    """
    values: dict[str, int] = {}
    for name, split in (("train", splits.train), ("test", splits.test)):
        if isinstance(split, data.Stream):
            places = np.linspace(0, len(split.kept) - 1, _RECORDS).astype(np.int64)
            content = b"".join(_read(split, int(split.kept[k])) for k in places)
            names = "\n".join(split.class_names)
            arrays = {
                "choice of images": split.kept,
                "class names": np.frombuffer(names.encode(), np.uint8),
                "records": np.frombuffer(content, np.uint8),
            }
        else:
            arrays = {"images": split.images, "labels": split.labels}
        for what, array in arrays.items():
            place = f"the {what} of the {name} split"
            values[place] = zlib.crc32(np.ascontiguousarray(array).data)
    return values


def restore(
    state: RunState,
    checkpoints: Checkpoints,
    directory: run_directory.RunDirectory,
    experiment: Experiment,
) -> tuple[RunState, str]:
    """Makes the directory that of a run never stopped at the newest sound checkpoint.

    Returns:
        The state to go on from, which is the given one where there is no checkpoint;
        and what to say of it, "" of a fresh start.
    """
    restored = checkpoints.restore_latest(state)
    if restored is None:
        dropped = directory.truncate_after(None)
        _truncate_snapshots(directory.path, None)
        records.save_snapshot(directory.path, experiment, state)
        if not dropped:
            return state, ""
        return state, (
            f"there are lines, but no checkpoint ({_counts(dropped)}): the run starts "
            "from the beginning, and the old files are kept as NAME.before-N"
        )
    step, state = restored
    require_steps_left(experiment, step)
    processes.from_first(lambda: require_lines(directory.path, step, experiment))
    dropped = directory.truncate_after(
        step, is_stale=lambda name, line: is_stale(name, line, step, experiment)
    )
    # A snapshot within an epoch belongs to a run that `max_steps` ended there.
    last = step if experiment.ends_epoch(step) else step - 1
    _truncate_snapshots(directory.path, last)
    said = f"going on from the checkpoint at step {step} of {experiment.total_steps}"
    changes = _changes(run_facts.load_facts(directory.path))
    if changes:
        said += f"\nother than at the last start: {'; '.join(changes)}. {ROUNDING}"
    if dropped:
        said += f"\nlines that are written again: {_counts(dropped)}"
    return state, said


def epochs_left(path: epath.Path, experiment: Experiment, step: int) -> range:
    """The epochs still to train after a step.

    An epoch that is over, but whose test or line a signal interrupted, is the first.
    """
    per_epoch, total = experiment.recipe.steps_per_epoch, experiment.total_steps
    if step > 0 and experiment.ends_epoch(step):
        written = processes.from_first(
            lambda: [line["step"] for line in run_directory.read_lines(path, "metrics")]
        )
        if step not in written:
            step -= 1
        elif step == total:
            return range(0)
    return range(step // per_epoch, -(-total // per_epoch))


def require_lines(path: epath.Path, step: int, experiment: Experiment) -> None:
    """Refuses a directory in which lines before a checkpoint are missing.

    Every line is on disk before the checkpoint after it: one that is missing was lost
    since. The line of an epoch that ends with the checkpoint's own step may be missing:
    a signal during its evaluation leaves that to the run that goes on.

    Raises:
        run_directory.RunDirectoryError: naming the file, and what it should have.
    """
    recipe = experiment.recipe
    for name, what, every, last in (
        ("metrics", "epoch", recipe.steps_per_epoch, step - 1),
        ("policies", "round", recipe.round_steps, step),
    ):
        lines = run_directory.read_lines(path, name)
        found = {line["step"] for line in lines if what in line}
        expected = range(every, last + 1, every)
        missing = [end for end in expected if end not in found]
        if missing:
            raise run_directory.RunDirectoryError(
                f"{path / name}.jsonl has lines of {len(expected) - len(missing)} of "
                f"the {len(expected)} {what}s that were over at the checkpoint of step "
                f"{step}; the first missing one ended with step {missing[0]}. Lines "
                "were lost: put the file back, or choose another --workdir to start "
                "again"
            )


def is_stale(
    name: str, line: Mapping[str, Any], step: int, experiment: Experiment
) -> bool:
    """Whether a run never stopped would lack a line of a file up to a checkpoint.

    Stale are: the policies of a loss that was not finite, since that step is done
    again; the results of an epoch that is not over, which was the last one while
    ``max_steps`` said so; the checkpoint's own result, where it has a test that is not
    due any more, or lacks one that is due now: it is written again.
    """
    if name == "policies":
        return bool(line.get("nonfinite_loss"))
    if name != "metrics":
        return False
    is_tested = "test_error" in line
    if line["step"] == step and is_tested != experiment.is_tested(step):
        return True
    return not experiment.ends_epoch(line["step"])


def _compare_data(path: epath.Path, found: Mapping[str, int]) -> None:
    """Refuses other data; a directory without a checkpoint or record lets all pass."""
    recorded = run_facts.load_facts(path).get(records.DATA)
    saved = run_directory.steps_in(path / run_directory.CHECKPOINTS)
    if recorded is None or not saved:
        return
    known = recorded if isinstance(recorded, Mapping) else {}
    differing = [
        f"{what} ({known.get(what, 'nothing')} then, {found.get(what, 'nothing')} now)"
        for what in sorted({*known, *found})
        if known.get(what) != found.get(what)
    ]
    if differing:
        raise run_directory.RunDirectoryError(
            f"{path} holds a run on other data under the same name: by their checksums "
            f"in {run_facts.FACTS}, {'; '.join(differing)} differ. Point "
            "--config.data.dir to the data that the run began with, or train on these "
            "in another --workdir"
        )


def _changes(recorded: Mapping[str, Any]) -> list[str]:
    """How the versions and settings of `run.json` differ from today's."""
    return [
        f"{name} is {value}, was {before[name]}"
        for part, now in records.numerics().items()
        for before in [recorded.get(part, {})]
        for name, value in now.items()
        if isinstance(before, Mapping) and before.get(name, value) != value
    ]


def _read(stream: data.Stream, index: int) -> bytes:
    try:
        return stream.records.read(index)
    except data.BadRecord:
        return b""  # the loader reports it


def _truncate_snapshots(path: epath.Path, step: int | None) -> None:
    if processes.is_first():
        with run_directory.clear_errors("write in", path):
            snapshots.truncate_after(path, step)


def _counts(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}.jsonl" for name, count in dropped.items())
