"""Figure 4: accuracy and efficiency relative to AutoAugment."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from aaa_jax.experiments.paper_tables import PAPER_COSTS, TABLES
from aaa_jax.report.costs import ROW
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words
from aaa_jax.report.runs import Run

MEASURES = ("accuracy", "computing efficiency", "time efficiency")


def relative_efficiency(ours: Group, other: Group) -> tuple[float, ...] | None:
    """`MEASURES` of a group over another's; None where either was not measured.

    Accuracy is 100 % less the error; efficiency one over device hours, or days.
    """
    measured = []
    for group in (ours, other):
        costs = [run.cost for run in timed_runs(group) if run.cost]
        if not costs:
            return None
        hours = [cost.device_hours for cost in costs]
        error, days = group.final("test_error"), [cost.days for cost in costs]
        measured.append(
            [float(np.mean(x)) for x in (list(error.values()), hours, days)]
        )
    return _ratios(*measured)


def timed_runs(group: Group) -> list[Run]:
    """The finished runs of which it is known how long they took."""
    return [run for run in group.finished if run.cost]


def paper_efficiency() -> tuple[float, ...]:
    """The same of the paper: ResNet-50 on ImageNet, with AutoAugment's search."""
    printed = []
    for column in ("ours", "autoaugment"):
        cost = PAPER_COSTS[column]
        hours = cost.search_hours + cost.training_hours
        days = cost.search_days + cost.training_days
        error = TABLES["table3"].paper[ROW, column].errors[0]
        printed.append([error, hours, days])
    return _ratios(*printed)


def _ratios(own: Sequence[float], its: Sequence[float]) -> tuple[float, ...]:
    """`MEASURES` of ours over the other's from error in %, device hours and days."""
    return ((100 - own[0]) / (100 - its[0]), its[1] / own[1], its[2] / own[2])


def relative_to_autoaugment(family: Family) -> Picture | None:
    """Figure 4, where the family has timed runs of both; None elsewhere."""
    ours, other = family.group("ours"), family.group("autoaugment")
    here = relative_efficiency(ours, other) if ours and other else None
    if here is None or ours is None or other is None:
        return None
    paper = "paper, ResNet-50 on ImageNet, with AutoAugment's search"
    bars = (
        ("here, without AutoAugment's search", here, style.BLUE, ""),
        (paper, paper_efficiency(), "#bbbbbb", "////"),
    )
    with style.new_figure(1, 1, width=6.5, height=3.8) as (figure, axes):
        axis = axes[0, 0]
        for place, (label, values, color, hatch) in enumerate(bars):
            at = np.arange(len(MEASURES)) + (place - 0.5) * 0.38
            drawn = axis.bar(
                at, values, 0.34, color=color, hatch=hatch, edgecolor="white"
            )
            drawn.set_label(label)
            axis.bar_label(drawn, fmt="%.3g", padding=2)
        axis.axhline(1, color=style.INK, linewidth=1)
        axis.set_yscale("log")
        axis.margins(y=0.15)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xticks(range(len(MEASURES)), MEASURES)
        axis.grid(visible=False, axis="x")
        figure.legend(loc="outside lower center")
        axis.set(xlabel="", ylabel="ours / AutoAugment (ratio, logarithmic)")
        ratios = [f"{n} {v:.3g}" for n, v in zip(MEASURES, here, strict=True)]
        return style.finish(
            figure,
            name=f"{family.prefix}efficiency",
            title="Figure 4: ours relative to AutoAugment",
            caption=(
                "Above 1: ours is better. Accuracy is 100 % less the test error; "
                "efficiency is one over device hours (computing) and hours (time) of "
                "training, with the controller's search in the run itself. Ours: "
                f"{seeds_in_words(timed_runs(ours))}; AutoAugment: "
                f"{seeds_in_words(timed_runs(other))}. The search behind AutoAugment's "
                "published policy was not run here and is not counted; the paper's "
                "bars count it."
            ),
            alternative=f"Ratios measured here: {', '.join(ratios)}",
        )
