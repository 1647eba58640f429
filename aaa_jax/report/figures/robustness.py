"""What clean error hides: which changes destroy the label, and corrupted test sets."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from aaa_jax.augment import magnitudes, ops
from aaa_jax.report import statistics
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words, slug
from aaa_jax.report.runs import ReportError, Run

SEVERITIES = 5


class Tested(NamedTuple):
    """What of a family's corruption.json files can be averaged.

    Attributes:
        names: the corruptions that all of them have, applied at the same size.
        num_images: test images of each.
        runs: the finished runs whose files are used.
        notes: what is left out and why, sentences.
    """

    names: tuple[str, ...]
    num_images: int
    runs: tuple[Run, ...]
    notes: tuple[str, ...]

    def of(self, group: Group) -> list[Run]:
        """Those of a group."""
        return [run for run in group.finished if run in self.runs]


def tested(family: Family) -> Tested | None:
    """Measurements that are alike: one number of images, corruptions that all have.

    Used are those of finished runs, after their last step, on as many images as most
    have (the most, of equally many). None where there is none.
    """
    finished = [run for group in family.groups for run in group.finished]
    runs, notes = _alike(finished, "corruption")
    if not runs:
        return None
    found = [_corruption(run) for run in runs]
    sides = [record.get("side", {}) for record in found]
    some = dict.fromkeys(name for record in found for name in record["errors"])
    names = tuple(
        name
        for name in some
        if all(name in record["errors"] for record in found)
        and len({side.get(name) for side in sides}) == 1
    )
    lost = [name for name in some if name not in names]
    if lost:
        notes.append(f"Not measured alike in all runs, and left out: {_words(lost)}.")
    never = {name for record in found for name in record.get("left_out") or {}}
    never -= some.keys()
    if never:
        notes.append(f"Not measured: {_words(sorted(never))}.")
    if not names:
        return None
    return Tested(names, int(found[0]["num_images"]), tuple(runs), tuple(notes))


def probe_map(family: Family, group: Group) -> Picture | None:
    """Accuracy under each (op, magnitude) as a heat map, over the runs with a probe.

    Over finished runs, probed alike; None where there is none.
    """
    runs, notes = _alike(group.finished, "probe")
    if not runs:
        return None
    tables = [_probe_table(run) for run in runs]
    accuracy = 100 * np.mean(tables, axis=0)
    probes = [run.probe for run in runs if run.probe is not None]
    clean = 100 * float(np.mean([probe["clean_accuracy"] for probe in probes]))
    names = [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]]
    with style.drawing():
        figure, axes = style.new_figure(1, 1, width=7.5, height=6.4)
        axis = axes[0, 0]
        image = axis.imshow(accuracy, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for row, column in np.ndindex(accuracy.shape):
            value = accuracy[row, column]
            axis.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if value > 55 else "white",
            )
        axis.set_yticks(range(len(names)), names)
        axis.set_xticks(range(magnitudes.NUM_MAGNITUDES))
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, label="accuracy (%)", shrink=0.9)
        style.label_axes(
            axis,
            title=f"{group.label}: accuracy (%), clean {clean:.1f}",
            x="magnitude (0 weakest, 9 strongest)",
            y="op",
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
                f"for ever.{_sentences(notes)}"
            ),
            alternative=(
                f"Heat map of 16 ops by 10 magnitudes. Clean accuracy {clean:.1f} %; "
                f"the lowest is {accuracy[worst]:.1f} % under {names[worst[0]]} "
                f"at magnitude {worst[1]}."
            ),
        )


def corruption_bars(family: Family) -> Picture | None:
    """Error per corruption of every group that was tested so, means over severities."""
    found = tested(family)
    if found is None:
        return None
    groups = [group for group in family.groups if found.of(group)]
    tables = [_corruption_table(found, group) for group in groups]
    names = found.names
    chosen = style.looks([group.method for group in groups])
    height = 1.6 + 0.28 * len(names) * max(1, 0.55 * len(groups))
    bar = 0.8 / len(groups)
    with style.drawing():
        figure, axes = style.new_figure(1, 1, width=8, height=height)
        axis = axes[0, 0]
        for place, (group, table, look) in enumerate(
            zip(groups, tables, chosen, strict=True)
        ):
            values = [float(np.mean(table[name])) for name in names]
            at = np.arange(len(names)) + (place - (len(groups) - 1) / 2) * bar
            axis.barh(
                at,
                values,
                0.92 * bar,
                color=look.color,
                hatch=style.OP_HATCHES[place % 8],
                edgecolor="white",
                label=f"{group.label} ({seeds_in_words(found.of(group))})",
            )
        axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=2)
        style.label_axes(axis, title="", x="test error (%)", y="corruption")
        return style.finish(
            figure,
            name=f"{family.prefix}corruptions",
            title="Error on corrupted test images",
            caption=(
                f"{found.num_images} test images; mean over the five severities and "
                "the seeds. The table of results has the mean corruption error: over "
                f"all {len(names)} corruptions and severities, not divided by another "
                f"network's.{_sentences(found.notes)}"
            ),
            alternative="Mean corruption error in percent: "
            + "; ".join(
                f"{group.label} "
                f"{statistics.show_estimate(mean_corruption_error(family, group))}"
                for group in groups
            ),
        )


def corruption_errors(family: Family, group: Group) -> dict[int, float]:
    """Seed -> mean corruption error in percent, over what all of the family have."""
    found = tested(family)
    if found is None:
        return {}
    return {
        run.seed: float(np.mean([_corruption(run)["errors"][n] for n in found.names]))
        for run in found.of(group)
    }


def mean_corruption_error(family: Family, group: Group) -> statistics.Estimate | None:
    """Mean corruption error in percent over the runs that have one."""
    return statistics.estimate(list(corruption_errors(family, group).values()))


def _alike(
    runs: Sequence[Run], kind: Literal["probe", "corruption"]
) -> tuple[list[Run], list[str]]:
    """The runs whose files of a kind may be averaged, and why others may not."""
    records = {run.name: getattr(run, kind) for run in runs}
    with_file = [run for run in runs if records[run.name] is not None]
    last: list[Run] = []
    early: list[Run] = []
    for run in with_file:
        is_last = records[run.name]["step"] == run.final["step"]
        (last if is_last else early).append(run)
    notes = []
    if early:
        names = _words([run.name for run in early])
        notes.append(f"Measured before the last step, and in no mean: {names}.")
    if not last:
        return [], notes
    images = [_images(records[run.name]) for run in last]
    chosen = max(images, key=lambda each: (images.count(each), each))
    others = [
        f"{run.name} ({count}{f' of {published}' if published else ''})"
        for run, (count, published) in zip(last, images, strict=True)
        if (count, published) != chosen
    ]
    if others:
        notes.append(f"On other images, and in no mean: {_words(others)}.")
    if chosen[1]:
        notes.append(f"Tested on the published images of {chosen[1]}.")
    kept = [run for run, each in zip(last, images, strict=True) if each == chosen]
    return kept, notes


def _images(record: Mapping[str, Any]) -> tuple[int, str]:
    """How many images a measurement was made on, and of which published set, if any."""
    return int(record["num_images"]), record.get("published", "")


def _corruption(run: Run) -> Mapping[str, Any]:
    """A run's corruption.json, five severities each."""
    record: Mapping[str, Any] = run.corruption or {}
    for name, values in record["errors"].items():
        if len(values) != SEVERITIES:
            raise ReportError(
                f"{run.path / 'corruption.json'} has {len(values)} severities of "
                f"{name}, not {SEVERITIES}: write it again"
            )
    return record


def _words(names: Sequence[str]) -> str:
    return ", ".join(names)


def _sentences(notes: Sequence[str]) -> str:
    return "".join(f" {note}" for note in notes)


def _probe_table(run: Run) -> np.ndarray:
    """Accuracy [16, 10] in 0..1, in the order of `ops.OPS`."""
    probe: Mapping[str, Any] = run.probe or {}
    names = [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]]
    table = np.asarray(probe["accuracy"], np.float64)
    shape = (len(names), magnitudes.NUM_MAGNITUDES)
    if table.shape != shape or sorted(probe["ops"]) != sorted(names):
        raise ReportError(
            f"{run.path / 'probe.json'} has {len(probe['ops'])} ops and a table of "
            f"{table.shape}: the 16 ops and {shape} are needed; write it again"
        )
    return table[[probe["ops"].index(name) for name in names]]


def _corruption_table(found: Tested, group: Group) -> dict[str, np.ndarray]:
    """Corruption -> errors in percent [5], averaged over the group's runs."""
    records = [_corruption(run)["errors"] for run in found.of(group)]
    return {
        name: np.mean([errors[name] for errors in records], axis=0)
        for name in found.names
    }
