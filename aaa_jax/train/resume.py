"""Whether a run directory holds all that the run which is to go on there had written.

Every line up to a checkpoint is on disk before that checkpoint is: what lacks was lost
since, and the run would go on with a hole in its history. Its data must be those it
began with. What is too much is the business of `metrics.RunDirectory.truncate_after`.
"""

from collections.abc import Mapping

from etils import epath

from aaa_jax.workdir import run_directory, snapshots

DATA = "data"  # in run.json: the fingerprint of the run's data


def require_lines(
    path: epath.Path, step: int, steps_per_epoch: int, round_steps: int
) -> None:
    """Refuses a directory in which lines before a checkpoint are missing.

    The line of an epoch that ends with the checkpoint's own step may lack: a signal
    during its evaluation leaves that to the run that goes on.

    Args:
        path: the run's directory.
        step: of the checkpoint that the run is to go on from.
        steps_per_epoch: of the run.
        round_steps: of the run.

    Raises:
        metrics.RunDirectoryError: naming the file, and what it should have and has.
    """
    for name, what, every, last in (
        ("metrics", "epoch", steps_per_epoch, step - 1),
        ("policies", "round", round_steps, step),
    ):
        lines = run_directory.read_lines(path, name)
        found = {line["step"] for line in lines if what in line}
        expected = range(every, last + 1, every)
        missing = [end for end in expected if end not in found]
        if missing:
            raise run_directory.RunDirectoryError(
                f"{path / name}.jsonl has lines of {len(expected) - len(missing)} of "
                f"the {len(expected)} {what}s that were over at the checkpoint of step "
                f"{step}; the first that lacks ended with step {missing[0]}. Lines "
                "were lost: put the file back, or choose another --workdir to start "
                "again"
            )


def require_data(path: epath.Path, found: Mapping[str, int]) -> None:
    """Refuses other data than those that the run began with.

    Args:
        path: the run's directory; one without a checkpoint, or without a record of its
            data, is let through.
        found: the fingerprint of the data here, of `feed.fingerprint`.

    Raises:
        metrics.RunDirectoryError: naming what differs.
    """
    try:
        recorded = snapshots.load_facts(path).get(DATA)
    except snapshots.SnapshotError as error:
        raise run_directory.RunDirectoryError(str(error)) from error
    if recorded is None or not _has_checkpoint(path):
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
            f"in {snapshots.FACTS}, {'; '.join(differing)} differ. Point "
            "--config.data.dir to the data that the run began with, or train on these "
            "in another --workdir"
        )


def lost(dropped: Mapping[str, int], step: int | None) -> str:
    """What `truncate_after` took out, as a further line of a message, or nothing.

    Args:
        dropped: lines by file.
        step: of the checkpoint; None: there was none.
    """
    if not dropped:
        return ""
    counts = ", ".join(f"{count} of {name}.jsonl" for name, count in dropped.items())
    if step is not None:
        return f"\nlines that are written again: {counts}"
    return (
        f"there are lines, but no checkpoint ({counts}): the run starts from the "
        "beginning, and the old files are kept as NAME.before-N"
    )


def _has_checkpoint(path: epath.Path) -> bool:
    saved = path / "checkpoints"
    return saved.is_dir() and any(item.name.isdecimal() for item in saved.iterdir())
