"""Losses and errors over epochs, and error against M (Figure 5)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aaa_jax.report import estimates, series, style
from aaa_jax.report.groups import Family, Group, seeds_in_words, slug
from aaa_jax.report.style import Look, Picture

LOG_FROM = 10  # largest over smallest value from which an axis is logarithmic


def loss_and_error(family: Family) -> Picture | None:
    """Training loss and test error of every group of a family; None without lines."""
    groups = [g for g in family.groups if any(run.metrics for run in g.runs)]
    if not groups:
        return None
    chosen = style.looks([group.method for group in groups])
    panels = (
        ("train_loss", "Training loss", "mean cross-entropy (nats)"),
        ("test_error", "Test error", "test error (%)"),
    )
    with style.drawing():
        figure, axes = style.new_figure(1, 2, width=10, height=4.6)
        for axis, (name, title, unit) in zip(axes[0], panels, strict=True):
            shown = [
                _draw_group(axis, g, look, name)
                for g, look in zip(groups, chosen, strict=True)
            ]
            values = np.concatenate(shown)
            style.label_axes(axis, title=title, x="epochs done", y=unit)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            _logarithmic(axis, values)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(3, len(labels))
        )
        finals = "; ".join(
            f"{group.label}: {final}"
            for group in groups
            if (final := estimates.show_estimate(final_error(group)))
        )
        return style.finish(
            figure,
            name=f"{family.prefix}curves",
            title="Training loss and test error",
            caption=(
                "Thick: the mean of the finished runs; thin: each run. A run that is "
                "not finished is dotted and not in the mean. The loss is that of the "
                "augmented training images, all M instances of them: it is larger "
                "where the policies are harder, and not comparable between methods."
            ),
            alternative=(
                "Two line charts over epochs: training loss in nats and test error in "
                f"percent. Final test error in percent: {finals or 'none yet'}."
            ),
        )


def error_against_m(family: Family) -> list[Picture]:
    """Figure 5 for each method that was run with several M and nothing else changed."""
    pictures = []
    for method in dict.fromkeys(group.method for group in family.groups):
        groups = [
            group
            for group in family.groups
            if group.method == method
            and group.finished
            and group.label in (method, f"{method}, M = {group.num_policies}")
        ]
        if len({group.num_policies for group in groups}) > 1:
            groups.sort(key=lambda group: group.num_policies)
            pictures.append(_draw_error_against_m(family, method, groups))
    return pictures


def final_error(group: Group) -> estimates.Estimate | None:
    """Test error in percent after the last epoch, over the finished runs."""
    return estimates.estimate(list(group.final("test_error").values()))


def _draw_group(axis: Axes, group: Group, look: Look, name: str) -> np.ndarray:
    """One quantity of a group; returns all values drawn."""
    finished = series.metric_curves(group.finished, name)
    running = series.metric_curves(group.unfinished, name)
    label = f"{group.label} ({seeds_in_words(group.finished)}"
    label += f", {len(group.unfinished)} unfinished)" if group.unfinished else ")"
    for x, y in finished.each:
        axis.plot(x, y, color=look.color, linewidth=0.6, alpha=0.45)
    for x, y in running.each:
        marker = look.marker if len(x) == 1 else ""
        axis.plot(x, y, color=look.color, linewidth=1, linestyle=":", marker=marker)
    axis.plot(
        finished.x,
        finished.mean,
        color=look.color,
        linestyle=look.line,
        linewidth=1.9,
        marker=look.marker if len(finished.x) == 1 else "",
        label=label,
    )
    return np.concatenate([np.zeros(0), *(y for _, y in finished.each + running.each)])


def _logarithmic(axis: Axes, values: np.ndarray) -> None:
    """A logarithmic axis with plain numbers, where the values spread that wide."""
    if not len(values) or values.min() <= 0 or values.max() < LOG_FROM * values.min():
        axis.set_ylim(bottom=0)
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(f"{axis.get_ylabel()}, logarithmic")


def _draw_error_against_m(
    family: Family, method: str, groups: Sequence[Group]
) -> Picture:
    found = [(group.num_policies, final_error(group)) for group in groups]
    known = [(m, value) for m, value in found if value is not None]
    with style.drawing():
        figure, axes = style.new_figure(1, 1, width=6.5, height=4.2)
        axis = axes[0, 0]
        look = style.LOOKS.get(method, style.SPARE_LOOKS[0])
        _draw_each_error(axis, groups, look)
        axis.errorbar(
            [m for m, _ in known],
            [value.mean for _, value in known],
            yerr=[value.std or 0 for _, value in known],
            color=look.color,
            marker="_",
            markersize=14,
            capsize=5,
            linewidth=1.5,
        )
        axis.set_xscale("log", base=2)
        axis.set_xticks(
            [m for m, _ in known],
            [f"{m}\n(n = {value.num_runs})" for m, value in known],
        )
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.margins(x=0.15)
        style.label_axes(
            axis, title=method, x="M, policies per mini-batch", y="test error (%)"
        )
        return style.finish(
            figure,
            name=f"{family.prefix}error-against-m-{slug(method)}",
            title=f"Figure 5: test error against M, {method}",
            caption=(
                "Bar: mean ± standard deviation over seeds; circles: each run. "
                "The paper finds that accuracy rises to M = 8 and is flat beyond. "
                + "; ".join(
                    f"M = {group.num_policies}: {seeds_in_words(group.finished)}"
                    for group in groups
                )
            ),
            alternative="Test error in percent against M: "
            + "; ".join(f"M = {m}: {estimates.show_estimate(v)}" for m, v in known),
        )


def _draw_each_error(axis: Axes, groups: Sequence[Group], look: Look) -> None:
    for group in groups:
        errors = list(group.final("test_error").values())
        axis.plot(
            [group.num_policies] * len(errors),
            errors,
            linestyle="",
            marker=look.marker,
            markersize=4,
            markerfacecolor="none",
            color=look.color,
            alpha=0.7,
        )
