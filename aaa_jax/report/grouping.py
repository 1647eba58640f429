"""Runs put together: seeds of one experiment, experiments that can be compared.

A *group* is the runs whose configs differ in the seed alone (and in what cannot change
a number); a *family* is the groups on the same data with the same network.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from aaa_jax.experiments.config_rules import changes_numbers
from aaa_jax.report.figures.style import LOOKS
from aaa_jax.report.runs import Run
from aaa_jax.workdir.run_directory import config_differences

NOT_APART = ("seed", "deterministic")  # a group's runs may differ in these, too
OF_A_METHOD = ("policies.", "controller.", "augment.")  # keys that its argument sets
PAPERS_M = 8
REFERENCE = "random"  # Table 4's row that a controller must beat


class Group(NamedTuple):
    """One experiment."""

    label: str  # unique in its family: the method, and what sets it apart from others
    method: str  # the argument of its preset
    runs: tuple[Run, ...]  # in order of their seeds

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that are averaged."""
        return tuple(run for run in self.runs if run.is_finished)

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """The runs that are not averaged."""
        return tuple(run for run in self.runs if not run.is_finished)

    @property
    def is_random(self) -> bool:
        """Whether no controller of the finished runs ever moved from uniform."""
        return bool(self.finished) and all(run.is_random for run in self.finished)

    @property
    def settings(self) -> dict[str, Any]:
        """The config of the first run; all are equal except for the seed."""
        return self.runs[0].settings

    @property
    def num_policies(self) -> int:
        """M."""
        return int(self.settings["policies"]["num_policies"])

    def final(self, name: str) -> dict[int, float]:
        """Seed -> a number of the last line of metrics.jsonl, of finished runs."""
        known = [run for run in self.finished if run.final.get(name) is not None]
        return {run.seed: float(run.final[name]) for run in known}


class Family(NamedTuple):
    """Groups on the same data with the same network."""

    title: str  # data and network in words
    prefix: str  # of its files' names; nothing where there is one family only
    groups: tuple[Group, ...]  # baselines first

    def group(self, method: str) -> Group | None:
        """The group of a method; of several groups, the one with the paper's M."""
        found = [group for group in self.groups if group.method == method]
        if len(found) > 1:
            found = [group for group in found if group.num_policies == PAPERS_M]
        return found[0] if len(found) == 1 else None

    def reference(self, group: Group) -> Group | None:
        """The `random` group that a group is compared with: the one with its M.

        Where only one `random` group exists, it serves groups of any M. A group whose
        controllers never moved is not compared: it is random itself.
        """
        if group.is_random:
            return None
        found = [other for other in self.groups if other.method == REFERENCE]
        alike = [other for other in found if other.num_policies == group.num_policies]
        chosen = alike if len(alike) == 1 else found
        return chosen[0] if len(chosen) == 1 and chosen[0] != group else None


def make_families(runs: Sequence[Run]) -> list[Family]:
    """Families of groups, each in the order in which it first comes."""
    by_family: dict[str, list[Run]] = {}
    for run in runs:
        by_family.setdefault(_family_title(run), []).append(run)
    is_alone = len(by_family) == 1
    return [
        Family(title, "" if is_alone else f"{slug(title)}-", _make_groups(members))
        for title, members in by_family.items()
    ]


def other_data(runs: Sequence[Run]) -> list[str]:
    """Says which runs were on other data under the same name, by their fingerprints.

    A run that recorded none is not judged. A subset of a train split is drawn with the
    seed: only the subsets of one seed must be equal.
    """
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for run in runs:
        data = run.settings["data"]
        size = data["num_train_images"]
        subset = f"{data['name']}, {size} images of seed {run.seed}"
        for what, checksum in run.facts.get("data", {}).items():
            name = subset if size and "train split" in what else data["name"]
            alike = found.setdefault((name, what), {}).setdefault(checksum, [])
            alike.append(run.name)
    differing: dict[tuple[str, str], list[str]] = {}
    for (name, what), parts in found.items():
        if len(parts) > 1:
            names = " and ".join(f"({', '.join(part)})" for part in parts.values())
            differing.setdefault((name, names), []).append(what)
    return [
        f"NOT THE SAME DATA under the name {name}: {', '.join(what)} differ between "
        f"{names}. Their numbers cannot be compared."
        for (name, names), what in differing.items()
    ]


def slug(text: str) -> str:
    """Text as a part of a file's name."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words)


def seeds_in_words(runs: Sequence[Run]) -> str:
    """`n = 3, seeds 0, 1, 4`, or `seed 0`."""
    if not runs:
        return "n = 0"
    seeds = list_seeds(run.seed for run in runs)
    return seeds if len(runs) == 1 else f"n = {len(runs)}, {seeds}"


def list_seeds(seeds: Iterable[int]) -> str:
    """`seed 3`, or `seeds 0, 1, 4`; each once."""
    unique = sorted(set(seeds))
    noun = "seed" if len(unique) == 1 else "seeds"
    return f"{noun} {', '.join(map(str, unique))}"


def _make_groups(runs: Sequence[Run]) -> tuple[Group, ...]:
    by_key: dict[str, list[Run]] = {}
    for run in runs:
        by_key.setdefault(_key(run), []).append(run)
    members = [sorted(found, key=lambda run: run.seed) for found in by_key.values()]
    groups = []
    for own in members:
        method = own[0].method
        alike = [other[0].settings for other in members if other[0].method == method]
        label = ", ".join([method, *_what_sets_apart(own[0], alike)])
        groups.append(Group(label, method, tuple(own)))
    return tuple(sorted(groups, key=_order))


def _order(group: Group) -> tuple[int, int, str]:
    methods = [*LOOKS, group.method]  # one that is not known comes last
    return methods.index(group.method), group.num_policies, group.label


def _key(run: Run) -> str:
    """Equal for runs of one group."""
    flat = flatten_dict(run.settings, sep=".", keep_empty_nodes=True)
    kept = {key: value for key, value in flat.items() if _sets_apart(key)}
    return json.dumps(kept, sort_keys=True, default=str)


def _sets_apart(key: str) -> bool:
    return changes_numbers(key) and key not in NOT_APART


def _what_sets_apart(run: Run, alike: Sequence[Mapping[str, Any]]) -> list[str]:
    """Values of a group's first run that are not those of its method or its preset."""
    keys = {key for key in run.origin["overrides"] if key.startswith(OF_A_METHOD)}
    keys |= {key for other in alike for key in config_differences(run.settings, other)}
    own = flatten_dict(run.settings, sep=".")
    shown: list[str] = []
    for key in sorted(filter(_sets_apart, keys)):
        if key == "policies.num_policies":
            shown.insert(0, f"M = {own[key]}")
        else:
            shown.append(f"{key.split('.')[-1]} = {own.get(key, '(absent)')}")
    return shown


def _family_title(run: Run) -> str:
    """`digits (300 training images), wide_resnet depth 10 width 1`."""
    data, model = run.settings["data"], run.settings["model"]
    size = data["num_train_images"]
    subset = f" ({size} training images)" if size else ""
    options = [f"{name} {value}" for name, value in sorted(model["options"].items())]
    scaled = "" if run.scale == 1 else f", SCALED to {run.scale:g}"
    return f"{data['name']}{subset}, {' '.join([model['name'], *options])}{scaled}"
