"""What clean error hides: which changes destroy the label, and corrupted test sets."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from aaa_jax.augment import magnitudes, ops
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words, slug
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import estimate, show_estimate

SEVERITIES = 5
SEARCH_OPS = [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]]


class ComparableCorruptions(NamedTuple):
    """The results of a family's corruption.json files that can be averaged."""

    names: tuple[str, ...]  # the corruptions that all have, applied at the same size
    num_images: int  # test images of each
    runs: tuple[Run, ...]  # the finished runs whose files are used
    notes: tuple[str, ...]  # what is left out and why, sentences

    def runs_of(self, group: Group) -> list[Run]:
        """The used runs of a group."""
        return [run for run in group.finished if run in self.runs]


def comparable_corruptions(family: Family) -> ComparableCorruptions | None:
    """The corruptions that all finished runs were tested under alike.

    Only files are used that were measured after the last step, and on as many images as
    most files (on the larger number of images where two are equally common). None where
    there is none.
    """
    finished = [run for group in family.groups for run in group.finished]
    runs, notes = _measured_alike(finished, "corruption")
    if not runs:
        return None
    found = [run.corruption or {} for run in runs]
    sides = [record.get("side", {}) for record in found]
    some = dict.fromkeys(name for record in found for name in record["errors"])
    names = tuple(
        name
        for name in some
        if all(name in record["errors"] for record in found)
        and len({side.get(name) for side in sides}) == 1
    )
    if not names:
        return None
    lost = ", ".join(name for name in some if name not in names)
    if lost:
        notes.append(f"Not measured alike in all runs, and left out: {lost}.")
    left_out = {name for record in found for name in record.get("left_out") or {}}
    if never := left_out - some.keys():
        notes.append(f"Not measured: {', '.join(sorted(never))}.")
    num_images = int(found[0]["num_images"])
    return ComparableCorruptions(names, num_images, tuple(runs), tuple(notes))


def corruption_errors(family: Family, group: Group) -> dict[int, float]:
    """Seed -> mean corruption error in percent, over what all of the family have."""
    found = comparable_corruptions(family)
    if found is None:
        return {}
    return {
        run.seed: float(np.mean([_errors(run)[name] for name in found.names]))
        for run in found.runs_of(group)
    }


def probe_map(family: Family, group: Group) -> Picture | None:
    """Accuracy under each (op, magnitude) as a heat map, over the runs with a probe.

    Over finished runs, probed alike; None where there is none.
    """
    runs, notes = _measured_alike(group.finished, "probe")
    probes = [run.probe for run in runs if run.probe is not None]
    if not probes:
        return None
    accuracy = 100 * np.mean([_probe_table(probe) for probe in probes], axis=0)
    clean = 100 * float(np.mean([probe["clean_accuracy"] for probe in probes]))
    with style.new_figure(1, 1, width=7, height=5.8) as (figure, axes):
        axis = axes[0, 0]
        image = axis.imshow(accuracy, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(accuracy):
            # Not `style.INK` and `PAPER`: the cells are the same on dark paper.
            color = "#010101" if value > 55 else "#fefefe"
            text = f"{value:.0f}"
            axis.text(
                column, row, text, ha="center", va="center", fontsize=8, color=color
            )
        axis.set_yticks(range(len(SEARCH_OPS)), SEARCH_OPS)
        axis.set_xticks(range(magnitudes.NUM_MAGNITUDES))
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, label="accuracy (%)", shrink=0.9)
        axis.set(
            title=f"{group.label}: accuracy (%), clean {clean:.1f}",
            xlabel="magnitude (0 weakest, 9 strongest)",
            ylabel="op",
        )
        worst = np.unravel_index(np.argmin(accuracy), accuracy.shape)
        return style.finish(
            figure,
            name=f"{family.prefix}probe-{slug(group.label)}",
            title=f"Label destruction: accuracy under each op, {group.label}",
            caption=(
                f"The network in evaluation mode on {probes[0]['num_images']} test "
                f"images under one op each, after step {probes[0]['step']}; "
                f"{seeds_in_words(runs)}. Dark: this network cannot tell the class. "
                "Where no training helps, a controller that maximises the loss gains "
                f"for ever.{''.join(f' {note}' for note in notes)}"
            ),
            alternative=(
                f"Heat map of 16 ops by 10 magnitudes. Clean accuracy {clean:.1f} %; "
                f"the lowest is {accuracy[worst]:.1f} % under {SEARCH_OPS[worst[0]]} "
                f"at magnitude {worst[1]}."
            ),
        )


def corruption_bars(family: Family) -> Picture | None:
    """Errors of every tested group under each corruption, means over severities."""
    found = comparable_corruptions(family)
    if found is None:
        return None
    names = found.names
    groups = [group for group in family.groups if found.runs_of(group)]
    chosen = style.looks([group.method for group in groups])
    height = 1.6 + 0.28 * len(names) * max(1, 0.55 * len(groups))
    bar = 0.8 / len(groups)
    with style.new_figure(1, 1, width=7, height=height) as (figure, axes):
        axis = axes[0, 0]
        for place, (group, look) in enumerate(zip(groups, chosen, strict=True)):
            records = [_errors(run) for run in found.runs_of(group)]
            axis.barh(
                np.arange(len(names)) + (place - (len(groups) - 1) / 2) * bar,
                [np.mean([errors[name] for errors in records]) for name in names],
                0.92 * bar,
                color=look.color,
                hatch=style.OP_HATCHES[place % 8],
                edgecolor="white",
                label=f"{group.label} ({seeds_in_words(found.runs_of(group))})",
            )
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=2)
        axis.set(xlabel="test error (%)", ylabel="corruption")
        return style.finish(
            figure,
            name=f"{family.prefix}corruptions",
            title="Error on corrupted test images",
            caption=(
                f"{found.num_images} test images; mean over the five severities and "
                "the seeds. The table of results has the mean corruption error: over "
                f"all {len(names)} corruptions and severities, not divided by another "
                f"network's.{''.join(f' {note}' for note in found.notes)}"
            ),
            alternative="Mean corruption error in percent: "
            + "; ".join(
                f"{group.label} {show_estimate(estimate(errors.values()))}"
                for group in groups
                if (errors := corruption_errors(family, group))
            ),
        )


def _measured_alike(
    runs: Sequence[Run], kind: Literal["probe", "corruption"]
) -> tuple[list[Run], list[str]]:
    """The runs whose files of a kind may be averaged, and why others may not."""
    records = {run.name: getattr(run, kind) for run in runs}
    measured = [run for run in runs if records[run.name] is not None]
    last = [run for run in measured if records[run.name]["step"] == run.final["step"]]
    notes = []
    early = ", ".join(run.name for run in measured if run not in last)
    if early:
        notes.append(f"Measured before the last step, and in no mean: {early}.")
    images = {run.name: _images(records[run.name]) for run in last}
    found = list(images.values())
    chosen = max(found, key=lambda each: (found.count(each), each), default=(0, ""))
    others = ", ".join(
        f"{name} ({count}{f' of {published}' if published else ''})"
        for name, (count, published) in images.items()
        if (count, published) != chosen
    )
    if others:
        notes.append(f"On other images, and in no mean: {others}.")
    if chosen[1]:
        notes.append(f"Tested on the published images of {chosen[1]}.")
    return [run for run in last if images[run.name] == chosen], notes


def _images(record: Mapping[str, Any]) -> tuple[int, str]:
    """How many images a measurement was made on, and of which published set, if any."""
    return int(record["num_images"]), record.get("published", "")


def _errors(run: Run) -> dict[str, list[float]]:
    """Corruption -> errors in percent at the five severities."""
    return dict((run.corruption or {})["errors"])


def _probe_table(probe: Mapping[str, Any]) -> np.ndarray:
    """Accuracy [16, 10] in 0..1, in the order of `ops.OPS`."""
    order = [probe["ops"].index(name) for name in SEARCH_OPS]
    return np.asarray(probe["accuracy"], np.float64)[order]
