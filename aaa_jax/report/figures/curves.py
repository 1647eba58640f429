"""Losses and errors over epochs."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aaa_jax.report import series
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Look, Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words
from aaa_jax.report.measures import TEST_ERROR
from aaa_jax.report.runs import Run
from aaa_jax.report.series import Curves

MANY = 100  # points from which a line is thinner
LOG_FROM = 10  # largest over smallest value from which an axis is logarithmic


def loss_and_error(family: Family) -> Picture | None:
    """Losses and test error of every group of a family; None without lines."""
    groups = [g for g in family.groups if any(run.metrics for run in g.runs)]
    if not groups:
        return None
    chosen = style.looks([group.method for group in groups])
    panels = [
        ("test_error", "Test error", "test error (%)"),
        ("train_loss", "Training loss", "cross-entropy (nats)"),
    ]
    runs = [run for group in groups for run in group.runs]
    if any(line.get("test_loss") is not None for run in runs for line in run.metrics):
        panels.append(("test_loss", "Test loss", "cross-entropy (nats)"))
    shown = ", ".join(title.lower() for _, title, _ in panels)
    rows = (len(panels) + 1) // 2
    with style.new_figure(rows, 2, width=7, height=3.1 * rows) as (figure, axes):
        for axis, (name, title, unit) in zip(axes.flat, panels, strict=False):
            for group, look in zip(groups, chosen, strict=True):
                _draw_group(axis, group, look, name)
            axis.set(title=title, xlabel="epochs done", ylabel=unit)
            _make_logarithmic(axis)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if len(panels) < axes.size:
            axes[-1, -1].set_axis_off()
            axes[-1, -1].legend(handles, labels, loc="center")
        else:
            figure.legend(
                handles, labels, loc="outside lower center", ncols=min(3, len(labels))
            )
        finals = "; ".join(
            f"{group.label}: {final}"
            for group in groups
            if (final := TEST_ERROR.show_mean(family, group))
        )
        return style.finish(
            figure,
            name=f"{family.prefix}curves",
            title=f"Over the epochs: {shown}",
            caption=(
                f"{how_drawn(group.runs for group in groups)}The training loss is "
                "that of the augmented images: not comparable between "
                "methods."
            ),
            alternative=(
                f"Line charts over epochs: {shown}; losses in nats. Final test error "
                f"in percent: {finals or 'none yet'}."
            ),
        )


def _draw_group(axis: Axes, group: Group, look: Look, name: str) -> None:
    """One quantity of a group."""
    finished = series.metric_curves(group.finished, name)
    running = series.metric_curves(group.unfinished, name)
    label = f"{group.label} ({seeds_in_words(group.finished)}"
    label += f", {len(group.unfinished)} unfinished)" if group.unfinished else ")"
    draw_runs(axis, finished, running, look, label)


def how_drawn(groups: Iterable[Sequence[Run]]) -> str:
    """What thick, thin and dotted lines are, as far as the groups have them."""
    counts = [(sum(run.is_finished for run in runs), len(runs)) for runs in groups]
    has_mean = any(finished > 1 for finished, _ in counts)
    has_open = any(finished < count for finished, count in counts)
    return (
        f"{'Thick: the mean of the finished runs; thin: each run. ' * has_mean}"
        f"{'Dotted: not finished, and in no mean. ' * has_open}"
    )


def draw_runs(
    axis: Axes, finished: Curves, running: Curves, look: Look, label: str
) -> None:
    """Runs thin, the mean of the finished ones thick, unfinished runs dotted."""
    for x, y in finished.each if len(finished.each) > 1 else ():
        axis.plot(x, y, color=look.color, linewidth=0.6, alpha=0.45)
    for x, y in running.each:
        marker = look.marker if len(x) == 1 else ""
        axis.plot(x, y, color=look.color, linewidth=1, linestyle=":", marker=marker)
    axis.plot(
        finished.x,
        finished.mean,
        color=look.color,
        linestyle=look.line,
        linewidth=1.9 if len(finished.x) < MANY else 1.1,
        marker=look.marker if len(finished.x) == 1 else "",
        label=label,
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlim(left=0)


def _make_logarithmic(axis: Axes) -> None:
    """Makes the axis logarithmic, with plain numbers, where values spread that wide."""
    values = np.concatenate([np.zeros(0), *(line.get_ydata() for line in axis.lines)])
    if not len(values) or values.min() <= 0 or values.max() < LOG_FROM * values.min():
        axis.set_ylim(bottom=0)
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(f"{axis.get_ylabel()}, logarithmic")
