"""What run directories of earlier versions do not say, told by what is in them.

Today `run.json` says what a run is. Up to commit 7c0c0c0 it did not: a report told the
argument by the config's values, and the cell of a table by its folder. The same serves
a run that was started without `launch.py`.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from aaa_jax.experiments.paper_tables import TABLES
from aaa_jax.search import collapse

# The argument of a policy source, where they are not called the same.
ARGUMENTS = {"published": "autoaugment", "schedule": "pba", "replay": "transfer"}
# Values of the controller that the paper has at 0, and those of `guarded`.
RESTRAINTS = ("tanh_constant", "entropy_target", "kl_cap")
GUARDED = ["monotone10", 1.5, 0.75, 0.05]
# The first word of a preset -> the paper's dataset.
DATA = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet2012"}


def complete_facts(
    path: pathlib.Path,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """`run.json` with the lengths and the origin that an earlier version left out.

    Of the run in `path`: its facts (empty without `run.json`), its config, and the
    lines of its `metrics.jsonl`.
    """
    # The last epoch may be cut short.
    per_epoch = max((line["step"] // line["epoch"] for line in lines), default=0)
    planned = per_epoch * settings["epochs"]
    lengths = {
        "steps_per_epoch": per_epoch,
        "total_steps": min(planned, settings["max_steps"] or planned),
    }
    origin = facts.get("origin") or _origin(path, settings)
    return lengths | dict(facts) | {"origin": origin}


def recorded_state(line: Mapping[str, Any]) -> str:
    """The state in a line of policies.jsonl; `uniform` was once called `ok`."""
    state = str(line.get("state", ""))
    is_uniform = state == "ok" and line["entropy"] > collapse.UNIFORM
    return "uniform" if is_uniform else state


def _origin(path: pathlib.Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    usual: dict[str, Any] = {"scale": 1.0, "max_steps": 0}
    own = {key: settings.get(key, value) for key, value in usual.items()}
    origin = {"argument": _argument(settings)}
    *_, folder, row, column, _ = ("", "", "", *path.parts)
    recorded = path / "table.json"
    name = json.loads(recorded.read_text())["table"] if recorded.exists() else folder
    table = TABLES.get(name)
    if table is not None and row in table.rows and column in table.columns:
        origin |= {"table": name, "row": row, "column": column}
        dataset = DATA.get(table.presets[row].split("_")[0])
        if dataset is not None:
            usual |= {"data.name": dataset, "data.num_train_images": 0}
            own["data.name"] = settings["data"]["name"].split("/")[0].split(":")[0]
            own["data.num_train_images"] = settings["data"]["num_train_images"]
    overrides = [key for key, value in usual.items() if own[key] != value]
    return origin | {"overrides": overrides}


def _argument(settings: Mapping[str, Any]) -> str:
    """The preset's argument; `restrained`: between `ours` and `guarded`."""
    drawn, controller = settings["policies"], settings["controller"]
    source = drawn["source"]
    if source == "fixed" and drawn["num_policies"] == 1:
        return "cutout" if settings["augment"]["cutout_size"] else "baseline"
    if source != "adversarial":
        return ARGUMENTS.get(source, source)
    found = [drawn["ranges"], *(controller[name] for name in RESTRAINTS)]
    if not any(found[1:]):
        return "ours"
    return "guarded" if found == GUARDED else "restrained"
