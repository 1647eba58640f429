"""Final errors and losses by policies (Table 4), and errors against M (Figure 5)."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Look, Picture
from aaa_jax.report.grouping import REFERENCE, Family, Group, seeds_in_words, slug
from aaa_jax.report.measures import TEST_ERROR, Measure
from aaa_jax.report.statistics import (
    Difference,
    estimate,
    show_difference,
    show_estimate,
)

UNITS = {  # of a measure -> of its values, and of differences
    "percent": ("%", "percentage points"),
    "nats": ("nats", "nats"),
}


def by_policies(family: Family, measure: Measure) -> Picture | None:
    """A test error or loss of all groups that have it, and its difference to `random`.

    None where a table says as much: of fewer than two groups, and of one run of each.
    The loss tells methods apart where few images err.
    """
    what = measure.name.removeprefix("test_")
    unit, of_difference = UNITS[measure.unit]
    groups = [group for group in family.groups if measure.values(family, group)]
    if len(groups) < 2 or all(len(group.finished) < 2 for group in groups):
        return None
    chosen = style.looks([group.method for group in groups])
    differences = [measure.difference(family, group) for group in groups]
    names = [
        f"{group.label}\n(n = {len(measure.values(family, group))})" for group in groups
    ]
    height = 1.3 + 0.5 * len(groups)
    with style.new_figure(1, 2, width=7, height=height, sharey=True) as (figure, axes):
        left, right = axes[0]
        for place, (group, look) in enumerate(zip(groups, chosen, strict=True)):
            _draw_values(left, place, measure.values(family, group), look)
            _draw_difference(right, place, differences[place], look)
        left.set_yticks(range(len(groups)), names)
        left.set_ylim(len(groups) - 0.5, -0.5)
        left.set_xlim(left=0)
        right.axvline(0, color=style.INK, linewidth=1)
        left.set(title=f"Final test {what}", xlabel=f"test {what} ({unit})")
        right.set(
            title=f"Difference to {REFERENCE}, seed by seed",
            xlabel=f"{of_difference} (left: better)",
        )
        seeds = "; ".join(f"{g.label}: {seeds_in_words(g.finished)}" for g in groups)
        return style.finish(
            figure,
            name=f"{family.prefix}{what}-by-policies",
            title=f"Test {what} by policies",
            caption=(
                "Left: each run (open), mean ± standard deviation. Right: the mean "
                f"difference and its 95 % interval. {seeds}."
            ),
            alternative=f"Final test {what} in {unit}, and the difference to random: "
            + "; ".join(
                f"{group.label} {measure.show_mean(family, group)}"
                f"{f', {show_difference(found, measure.digits)}' if found else ''}"
                for group, found in zip(groups, differences, strict=True)
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


def _draw_values(
    axis: Axes, place: int, values: Mapping[int, float], look: Look
) -> None:
    """Each run as an open mark, and their mean with its spread a little above."""
    each = list(values.values())
    axis.plot(each, [place + 0.2] * len(each), **style.open_marks(look, 5))
    found = estimate(each)
    if found is not None:
        spread = found.std or 0
        axis.errorbar(found.mean, place - 0.12, xerr=spread, **style.mean_mark(look))


def _draw_difference(
    axis: Axes, place: int, found: Difference | None, look: Look
) -> None:
    if found is not None:
        half = 0.0 if found.high is None else found.high - found.mean
        axis.errorbar(found.mean, place, xerr=half, **style.mean_mark(look))


def _draw_error_against_m(
    family: Family, method: str, groups: Sequence[Group]
) -> Picture:
    found = [(group.num_policies, TEST_ERROR.mean(family, group)) for group in groups]
    known = [(m, value) for m, value in found if value is not None]
    with style.new_figure(1, 1, width=6, height=3.8) as (figure, axes):
        axis = axes[0, 0]
        [look] = style.looks([method])
        for group in groups:
            errors = list(group.final("test_error").values())
            x = [group.num_policies] * len(errors)
            axis.plot(x, errors, alpha=0.7, **style.open_marks(look, 4))
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
        axis.set(
            title=method, xlabel="M, policies per mini-batch", ylabel="test error (%)"
        )
        return style.finish(
            figure,
            name=f"{family.prefix}error-against-m-{slug(method)}",
            title=f"Figure 5: test error against M, {method}",
            caption=(
                "Circles: each run; line: their mean, ± standard deviation of several. "
                "The paper finds that accuracy rises to M = 8 and is flat beyond. "
                + "; ".join(
                    f"M = {group.num_policies}: {seeds_in_words(group.finished)}"
                    for group in groups
                )
            ),
            alternative="Test error in percent against M: "
            + "; ".join(f"M = {m}: {show_estimate(v)}" for m, v in known),
        )
