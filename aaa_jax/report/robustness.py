"""What clean error hides: which changes destroy the label, and corrupted test sets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aaa_jax import ops, policies
from aaa_jax.report import estimates, style
from aaa_jax.report.groups import Family, Group, seeds_in_words, slug
from aaa_jax.report.runs import ReportError, Run
from aaa_jax.report.style import Picture

SEVERITIES = 5


def probe_map(family: Family, group: Group) -> Picture | None:
    """Accuracy under each (op, magnitude) as a heat map, over the runs with a probe."""
    runs = [run for run in group.runs if run.probe is not None]
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
        axis.set_xticks(range(policies.NUM_MAGNITUDES))
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
                "for ever."
            ),
            alternative=(
                f"Heat map of 16 ops by 10 magnitudes. Clean accuracy {clean:.1f} %; "
                f"the lowest is {accuracy[worst]:.1f} % under {names[worst[0]]} "
                f"at magnitude {worst[1]}."
            ),
        )


def corruption_bars(family: Family) -> Picture | None:
    """Error per corruption of every group that was tested so, means over severities."""
    groups = [group for group in family.groups if tested_runs(group)]
    if not groups:
        return None
    first = _check_alike([run for group in groups for run in tested_runs(group)])
    tables = [_corruption_table(tested_runs(group)) for group in groups]
    names = list(tables[0])
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
                label=f"{group.label} ({seeds_in_words(tested_runs(group))})",
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
                f"{first['num_images']} test images; mean over the five severities and "
                "the seeds. The table of results has the mean corruption error: over "
                f"all {len(names)} corruptions and severities, not divided by another "
                f"network's.{_left_out(first)}"
            ),
            alternative="Mean corruption error in percent: "
            + "; ".join(
                f"{group.label} {estimates.show_estimate(mean_corruption_error(group))}"
                for group in groups
            ),
        )


def _left_out(record: Mapping[str, Any]) -> str:
    """Which corruptions were not measured, in words."""
    names = record.get("left_out") or {}
    return f" Not measured: {', '.join(sorted(names))}." if names else ""


def tested_runs(group: Group) -> list[Run]:
    """The finished runs that have a corruption.json."""
    return [run for run in group.finished if run.corruption is not None]


def corruption_errors(group: Group) -> dict[int, float]:
    """Seed -> mean corruption error in percent."""
    return {
        run.seed: float(run.corruption["mean_error"])
        for run in tested_runs(group)
        if run.corruption is not None
    }


def mean_corruption_error(group: Group) -> estimates.Estimate | None:
    """Mean corruption error in percent over the runs that have one."""
    return estimates.estimate(list(corruption_errors(group).values()))


def _probe_table(run: Run) -> np.ndarray:
    """Accuracy [16, 10] in 0..1, in the order of `ops.OPS`."""
    probe: Mapping[str, Any] = run.probe or {}
    names = [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]]
    table = np.asarray(probe["accuracy"], np.float64)
    shape = (len(names), policies.NUM_MAGNITUDES)
    if table.shape != shape or sorted(probe["ops"]) != sorted(names):
        raise ReportError(
            f"{run.path / 'probe.json'} has {len(probe['ops'])} ops and a table of "
            f"{table.shape}: the 16 ops and {shape} are needed; write it again"
        )
    return table[[probe["ops"].index(name) for name in names]]


def _check_alike(runs: Sequence[Run]) -> dict[str, Any]:
    """Refuses corruption.json files that cannot be compared; returns the first."""
    first = runs[0].corruption or {}
    for run in runs:
        found = run.corruption or {}
        lengths = {len(values) for values in found["errors"].values()}
        is_alike = found["errors"].keys() == first["errors"].keys()
        if not is_alike or lengths != {SEVERITIES}:
            raise ReportError(
                f"{run.path / 'corruption.json'} has {len(found['errors'])} "
                f"corruptions of {sorted(lengths)} severities, {runs[0].name} has "
                f"{len(first['errors'])} of 5: test the runs again alike"
            )
    return first


def _corruption_table(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Corruption -> errors in percent [5], averaged over the runs."""
    found = [run.corruption["errors"] for run in runs if run.corruption is not None]
    return {
        name: np.mean([errors[name] for errors in found], axis=0) for name in found[0]
    }
