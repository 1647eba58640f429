"""What runs cost, and Figure 4: accuracy and efficiency relative to AutoAugment."""

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from aaa_jax.experiments import paper_tables
from aaa_jax.report import statistics
from aaa_jax.report.costs import ROW
from aaa_jax.report.figures import style
from aaa_jax.report.figures.comparisons import final_error
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words
from aaa_jax.report.runs import Run

MEASURES = ("accuracy", "computing efficiency", "time efficiency")


def device_hours(group: Group) -> statistics.Estimate | None:
    """Device hours of training and search, over the finished runs that were timed."""
    costs = [run.cost for run in group.finished if run.cost]
    return statistics.estimate([cost.device_hours for cost in costs])


def timed_runs(group: Group) -> list[Run]:
    """The finished runs of which it is known how long they took."""
    return [run for run in group.finished if run.cost]


def relative_efficiency(ours: Group, other: Group) -> tuple[float, ...] | None:
    """`MEASURES` of a group over another's; None where either was not measured.

    Accuracy is 100 % less the error; efficiency one over device hours, or days.
    """
    costs = [
        [run.cost for run in timed_runs(group) if run.cost] for group in (ours, other)
    ]
    errors = final_error(ours), final_error(other)
    if not all(costs) or errors[0] is None or errors[1] is None:
        return None
    hours = [np.mean([cost.device_hours for cost in each]) for each in costs]
    days = [np.mean([cost.days for cost in each]) for each in costs]
    accuracy = (100 - errors[0].mean) / (100 - errors[1].mean)
    return accuracy, float(hours[1] / hours[0]), float(days[1] / days[0])


def paper_efficiency() -> tuple[float, ...]:
    """The same of the paper: ResNet-50 on ImageNet, with AutoAugment's search."""
    numbers = paper_tables.TABLES["table3"].paper
    own, its = numbers[ROW, "ours"], numbers[ROW, "autoaugment"]
    ours = paper_tables.PAPER_COSTS["ours"]
    other = paper_tables.PAPER_COSTS["autoaugment"]
    return (
        (100 - own.errors[0]) / (100 - its.errors[0]),
        (other.search_hours + other.training_hours)
        / (ours.search_hours + ours.training_hours),
        (other.search_days + other.training_days)
        / (ours.search_days + ours.training_days),
    )


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
    with style.drawing():
        figure, axes = style.new_figure(1, 1, width=7, height=4.2)
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
        style.label_axes(
            axis, title="", x="", y="ours / AutoAugment (ratio, logarithmic)"
        )
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
