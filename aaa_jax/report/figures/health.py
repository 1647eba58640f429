"""Whether the controller collapses: its diagnostics over the updates, its states."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from aaa_jax.report import series
from aaa_jax.report.figures import style
from aaa_jax.report.figures.curves import draw_runs, how_drawn
from aaa_jax.report.figures.style import BLUE, ORANGE, Look, Picture
from aaa_jax.report.grouping import Family, Group, seeds_in_words, slug
from aaa_jax.report.runs import Run
from aaa_jax.search import collapse

UPDATES = "controller updates"


def health(family: Family, group: Group) -> Picture | None:
    """Entropies, states, spread and correlation; None if nothing learns."""
    runs = [run for run in group.runs if run.is_learned]
    if not runs:
        return None
    with style.new_figure(2, 2, width=7, height=5.4) as (figure, axes):
        _draw_entropy(axes[0, 0], runs)
        _draw_states(axes[0, 1], runs)
        _draw_spread(axes[1, 0], runs)
        _draw_correlation(axes[1, 1], runs)
        finished = [run for run in runs if run.is_finished]
        return style.finish(
            figure,
            name=f"{family.prefix}health-{slug(group.label)}",
            title=f"Is the controller collapsing? {group.label}",
            caption=(
                f"{seeds_in_words(finished).capitalize()}. {how_drawn([runs])}"
                "Where the spread of the losses is no larger than their standard "
                "error, the controller is rewarded for noise. It prefers what is hard "
                "where loss and log probability of the M policies correlate."
            ),
            alternative="; ".join(_in_words(run) for run in runs),
        )


def _draw_entropy(axis: Axes, runs: Sequence[Run]) -> None:
    _draw(axis, runs, "op_entropy", label="op type heads")
    _draw(axis, runs, "magnitude_entropy", ORANGE, "--", label="magnitude heads")
    for level, name in ((0.5, "narrowing"), (0.3, "collapsed")):
        axis.axhline(level, color=style.INK, linewidth=0.8, linestyle=":")
        axis.annotate(
            f"{name} (both heads together)",
            (0.01, level),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 2),
            fontsize=7,
            color=style.FAINT,
        )
    axis.legend(loc="lower left")
    axis.set(title="Entropy of the heads", xlabel=UPDATES, ylim=(0, 1.03))
    axis.set_ylabel("fraction of the maximum")


def _draw_states(axis: Axes, runs: Sequence[Run]) -> None:
    """One strip per run, coloured by its state."""
    for place, run in enumerate(runs):
        for state, look in style.STATE_LOOKS.items():
            spans = _spans(run.rounds.states, state)
            height = (place - 0.38, 0.76)
            axis.broken_barh(spans, height, linewidth=0.4, edgecolor=style.INK, **look)
    names = [
        f"seed {run.seed}{'' if run.is_finished else ' (unfinished)'}" for run in runs
    ]
    axis.set_yticks(range(len(runs)), names)
    axis.set_ylim(len(runs) - 0.4, -0.6)
    axis.set_xlim(0, max(len(run.rounds.states) for run in runs))
    axis.grid(visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    patches = [
        Patch(label=state, edgecolor=style.INK, **look)
        for state, look in style.STATE_LOOKS.items()
    ]
    axis.legend(
        handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2
    )
    axis.set(title="State of the controller", xlabel=UPDATES)


def _draw_spread(axis: Axes, runs: Sequence[Run]) -> None:
    _draw(axis, runs, "loss_spread", label="standard deviation")
    error = "standard error of one loss (r.m.s.)"
    _draw(axis, runs, "loss_error", ORANGE, "--", label=error)
    axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
    axis.legend(loc="upper left")
    title = "Spread of the M losses"
    axis.set(title=title, xlabel=UPDATES, ylabel="cross-entropy (nats)")


def _draw_correlation(axis: Axes, runs: Sequence[Run]) -> None:
    _draw(axis, runs, "loss_log_prob_correlation")
    axis.axhline(0, color=style.INK, linewidth=0.8)
    axis.set(title="Does it prefer what is hard?", xlabel=UPDATES, ylim=(-1.05, 1.05))
    axis.set_ylabel("correlation")


def _draw(
    axis: Axes,
    runs: Sequence[Run],
    name: str,
    color: str = BLUE,
    line: str = "-",
    *,
    label: str = "",
) -> None:
    """A number of the rounds over the updates."""
    finished = series.round_curves([run for run in runs if run.is_finished], name)
    running = series.round_curves([run for run in runs if not run.is_finished], name)
    draw_runs(axis, finished, running, Look(color, line, "."), label)


def _spans(states: Sequence[str], wanted: str) -> list[tuple[float, float]]:
    """(start, length) of every stretch of updates in a state."""
    marks = np.array([False, *(state == wanted for state in states), False])
    edges = np.flatnonzero(marks[1:] != marks[:-1])
    return [
        (float(start), float(end - start))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def _in_words(run: Run) -> str:
    entropy = run.rounds.numbers["entropy"][-1]
    first = run.first_update(*collapse.STATES[2:])
    since = f", narrowing or collapsed since update {first}" if first else ""
    return (
        f"seed {run.seed}: after {len(run.rounds.states)} updates entropy "
        f"{entropy:.2f} of the maximum, state {run.state}{since}"
    )
