"""`run.json`: what a run is, in facts that reports, tables and a later start read.

Its length in steps, devices, passes, versions, commit, origin (the command, preset and
argument; table, row and column), the checksums of its data, and what its network needs
to know of the dataset: classes, sizes and normalisation.
"""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from aaa_jax.workdir import atomic_files, run_directory

FACTS = "run.json"
DATASET = "dataset"  # in it: `Splits.facts` of the room `experiments`
LENGTHS = ("total_steps", "steps_per_epoch", "round_steps")  # facts in steps


class RunFactsError(run_directory.RunDirectoryError, ValueError):
    """The facts of a run cannot be read; the message names the file."""


def save_facts(workdir: epath.PathLike, facts: Mapping[str, Any]) -> None:
    """Writes `run.json`: numbers and strings that say what run this is."""
    text = json.dumps(dict(facts), indent=2, sort_keys=True, allow_nan=False)
    atomic_files.write_whole(epath.Path(workdir) / FACTS, text.encode() + b"\n")


def load_facts(workdir: epath.PathLike) -> dict[str, Any]:
    """What `save_facts` wrote; empty where a run wrote none.

    Raises:
        RunFactsError: it is damaged.
    """
    path = epath.Path(workdir) / FACTS
    if not path.exists():
        return {}
    try:
        facts = run_directory.read_object(path, "remove it")
    except run_directory.RunDirectoryError as error:
        raise RunFactsError(str(error)) from error
    for name in LENGTHS:
        if name in facts and not (type(facts[name]) is int and facts[name] > 0):
            raise RunFactsError(
                f"{path} has {name} {str(facts[name])[:40]!r}, where a whole number "
                "above 0 is needed: remove the file, or put the right one back"
            )
    return facts
