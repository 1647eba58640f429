"""Figure 6: shares of ops and magnitudes over the epochs, as stacked areas."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aaa_jax.augment import magnitudes, ops
from aaa_jax.report import series
from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words, slug
from aaa_jax.report.runs import Run
from aaa_jax.report.series import Windows


def mean_shares(family: Family, group: Group) -> Picture | None:
    """Figure 6 (a) and (b) of a group, expected and sampled, over its runs.

    The finished runs are shown, or all where none is finished. None before the first
    epoch is over.
    """
    runs = _shown_runs(group)
    if not runs:
        return None
    with style.new_figure(2, 2, width=7, height=8.4) as (figure, axes):
        for row, kind in enumerate(("expected", "sampled")):
            found = series.mean_windows(runs, f"{kind}_ops")
            _draw_ops(axes[row, 0], found, f"(a) Operations, {kind}")
            found = series.mean_windows(runs, f"{kind}_magnitudes")
            _draw_magnitudes(axes[row, 1], found, f"(b) Magnitudes, {kind}")
        windows = series.mean_windows(runs, "expected_ops")
        unfinished = "" if group.finished else "; NOT FINISHED"
        return style.finish(
            figure,
            name=f"{family.prefix}shares-{slug(group.label)}",
            title=f"Figure 6: what the policies are made of, {group.label}",
            caption=(
                f"{_in_windows(windows.size)}; {seeds_in_words(runs)}"
                f"{unfinished}. Above: the shares that the source expects "
                "(of a controller, over what it may draw); below: those of the "
                "policies that were drawn. At the right: shares at the end, in %. "
                "Magnitudes are those of ops other than Identity."
            ),
            alternative=_in_words(windows, runs),
        )


def _shown_runs(group: Group) -> list[Run]:
    """The finished runs, or all where none is finished, that have shares to show."""
    runs = [run for run in group.finished or group.runs if run.epochs_done]
    return [run for run in runs if np.isfinite(run.rounds.shares["expected_ops"]).any()]


def _in_windows(size: int) -> str:
    """`Means of five epochs`, or of as many as a window has."""
    if size == 1:
        return "Means of one epoch (the run is too short for five)"
    return f"Means of {'five' if size == series.WINDOW else size} epochs"


def _draw_ops(axis: Axes, found: Windows, title: str) -> None:
    is_used = np.nansum(found.means, axis=0) > 0
    is_used[: ops.NUM_SEARCH_OPS] = True
    looks = zip(ops.OPS, style.OP_COLORS, style.OP_HATCHES, strict=True)
    used = [look for look, shown in zip(looks, is_used, strict=True) if shown]
    names, colors = [op.name for op, *_ in used], [color for _, *color in used]
    _stack(axis, found._replace(means=found.means[:, is_used]), names, colors)
    axis.set(title=title, xlabel="epochs done", ylabel="share of ops (%)")


def _draw_magnitudes(axis: Axes, found: Windows, title: str) -> None:
    count = magnitudes.NUM_MAGNITUDES
    names = [str(magnitude) for magnitude in range(count)]
    names[0], names[-1] = "0 (weakest)", f"{count - 1} (strongest)"
    _stack(axis, found, names, style.magnitude_colors(count))
    axis.set(title=title, xlabel="epochs done", ylabel="share of magnitudes (%)")


def _stack(
    axis: Axes,
    found: Windows,
    names: Sequence[str],
    colors: Sequence[Sequence[str]],
) -> None:
    """Bands from centre to centre of the windows, named at the right."""
    known = np.isfinite(found.means).all(axis=1)
    centres = (found.edges[:-1] + found.edges[1:])[known] / 2
    means = 100 * found.means[known]
    first, last = found.edges[:-1][known], found.edges[1:][known]
    x = np.concatenate([first[:1], centres, last[-1:]])
    y = np.concatenate([means[:1], means, means[-1:]])
    bands = axis.stackplot(x, y.T, edgecolor="white", linewidth=0.5)
    for band, (color, hatch) in zip(bands, colors, strict=True):
        band.set_facecolor(color)
        band.set_hatch(hatch)
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(0, 100)
    axis.grid(visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _name_bands(axis, means[-1], names, colors)


def _name_bands(
    axis: Axes,
    shares: np.ndarray,
    names: Sequence[str],
    colors: Sequence[Sequence[str]],
) -> None:
    """Each band's name and last share beside it, with a line to its middle."""
    middles = np.cumsum(shares) - shares / 2
    places = style.spread(list(middles), 5.9, 1, 99)
    beside: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "clip_on": False}
    for middle, place, share, name, (color, hatch) in zip(
        middles, places, shares, names, colors, strict=True
    ):
        line: dict[str, Any] = {"color": style.FAINT, "linewidth": 0.5}
        axis.plot([1, 1.035, 1.06], [middle, place, place], **line, **beside)
        look: dict[str, Any] = {"color": color, "hatch": hatch, "edgecolor": "white"}
        axis.bar(1.085, 4.4, 0.05, place - 2.2, linewidth=0, **look, **beside)
        words = f"{name}  {share:.1f}"
        axis.text(1.12, place, words, fontsize=7.5, va="center", **beside)


def _in_words(windows: Windows, runs: Sequence[Run]) -> str:
    """The three ops and the magnitudes that lead at the end."""
    at_end = windows.means[np.isfinite(windows.means).all(axis=1)][-1]
    order = np.argsort(-at_end, kind="stable")[:3]
    leading = ", ".join(f"{ops.OPS[k].name} {100 * at_end[k]:.0f} %" for k in order)
    found = series.mean_windows(runs, "expected_magnitudes").means
    strongest = 100 * found[np.isfinite(found).all(axis=1)][-1][-1]
    return (
        f"Stacked shares over epochs. At the end the likeliest ops are {leading}; the "
        f"strongest magnitude has {strongest:.0f} %."
    )
