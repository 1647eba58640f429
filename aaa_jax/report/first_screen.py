"""The top of a report: the numbers, what they say, and how to get them again."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from aaa_jax.augment import ops
from aaa_jax.report.grouping import REFERENCE, Family, Group, list_seeds
from aaa_jax.report.measures import TEST_ERROR
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import Difference
from aaa_jax.search import collapse

MOST_HEADLINES = 8
MOST_COMMANDS = 3


class Headline(NamedTuple):
    """A number in large type."""

    number: str  # with its unit
    spread: str  # in smaller type beside it; "" of one run
    label: str  # what it is of


class FirstScreen(NamedTuple):
    """What a reader sees first."""

    title: str  # of the report
    remarks: tuple[str, ...]  # what must not be overlooked, each in a box
    headlines: tuple[Headline, ...]  # the errors
    verdicts: tuple[str, ...]  # a sentence for each family
    recipe: tuple[tuple[str, tuple[str, ...]], ...]  # what was done: names and lines


def first_screen(
    title: str, remarks: Sequence[str], runs: Sequence[Run], families: Sequence[Family]
) -> FirstScreen:
    """The first screen of a report on runs, which are those of the families."""
    chosen = [(family, group) for family in families for group in family.groups]
    if len(chosen) > MOST_HEADLINES:
        chosen = [(f, f.group("ours") or f.groups[-1]) for f in families]
    headlines = tuple(_headline(*pair) for pair in chosen[:MOST_HEADLINES])
    verdicts = [verdict(family) for family in families]
    if len(families) > 1:
        pairs = zip(families, verdicts, strict=True)
        verdicts = [f"{family.title}: {text}" for family, text in pairs]
    return FirstScreen(title, tuple(remarks), headlines, tuple(verdicts), recipe(runs))


def verdict(family: Family) -> str:
    """What the runs of a family say, in one sentence."""
    runs = [run for group in family.groups for run in group.runs]
    if len(runs) == 1:
        words = [f"{_last_error(runs[0]) or 'No test yet'} {_progress(runs[0])}"]
        words += [_controller_in_words(runs[0])] if runs[0].is_learned else []
    else:
        learned = [g for g in family.groups if any(run.is_learned for run in g.runs)]
        compared = [_against_random(family, g) for g in learned or family.groups]
        words = list(filter(None, compared))
        words = words or ["There are no random policies to compare with"]
    return f"{'; '.join(words)}."


def recipe(runs: Sequence[Run]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """How the runs were made, as they recorded it; each thing that differs once."""
    commands = _each_once(run.origin.get("command", "") for run in runs)
    if len(commands) > MOST_COMMANDS:
        left = len(commands) - MOST_COMMANDS
        commands = [*commands[:MOST_COMMANDS], f"… and {left} more, in each run.json"]
    versions = (run.facts.get("versions", {}) for run in runs)
    facts = {
        "command": commands,
        "commit": _each_once(run.facts.get("commit") for run in runs),
        "versions": _each_once(
            ", ".join(f"{name} {number}" for name, number in found.items())
            for found in versions
        ),
        "devices": _each_once(run.cost.devices for run in runs if run.cost),
        "wall time": [_wall_time(runs)],
        "seeds": [list_seeds(run.seed for run in runs).split(" ", 1)[1]],
    }
    unknown = ", ".join(name for name, lines in facts.items() if not lines)
    facts["not recorded"] = [unknown] if unknown else []
    return tuple((name, tuple(lines)) for name, lines in facts.items() if lines)


def duration(seconds: float) -> str:
    """`41 s`, `2 min 41 s`, `3 h 7 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _headline(family: Family, group: Group) -> Headline:
    found = TEST_ERROR.mean(family, group)
    if found is None:
        run = group.runs[0]
        label = f"{group.label}, {_progress(run)}"
        return Headline(_last_error(run) or "–", "", label)
    [*_, last] = group.finished
    count = found.num_runs
    runs = f"seed {last.seed}" if count == 1 else f"mean of {count} runs"
    spread = "" if found.std is None else f"± {found.std:.2f}"
    label = f"test error of {group.label}, {runs}, {_progress(last)}"
    return Headline(f"{found.mean:.2f} %", spread, label)


def _progress(run: Run) -> str:
    if run.is_finished:
        return f"after {_epochs(run.epochs_done)}"
    return f"after {run.epochs_done} of {_epochs(run.settings['epochs'])}, not finished"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _last_error(run: Run) -> str:
    """When it was last measured; empty before the first test."""
    errors = [line.get("test_error") for line in run.metrics]
    known = [error for error in errors if error is not None]
    return f"{known[-1]:.2f} %" if known else ""


def _controller_in_words(run: Run) -> str:
    """What became of the controller of a run, such as `began to narrow at …`."""
    if run.is_random:
        return (
            f"the controller has not moved in {len(run.rounds.states)} updates: "
            f"{run.method} is random here"
        )
    shares = [
        run.rounds.shares[f"expected_{what}"][-1] for what in ("ops", "magnitudes")
    ]
    op, magnitude = (int(np.argmax(found)) for found in shares)
    since = {
        "uniform": "the controller is near uniform again",
        "ok": f"the controller began to move at update {run.first_update('ok')}",
        "narrowing": f"the controller began to narrow at update "
        f"{run.first_update('narrowing', 'collapsed')}",
        "collapsed": f"the controller collapsed at update "
        f"{run.first_update('collapsed')}",
    }
    return (
        f"{since[run.state]} and now draws {ops.OPS[op].name} for "
        f"{100 * shares[0][op]:.0f} % of its ops, and magnitude {magnitude} for "
        f"{100 * shares[1][magnitude]:.0f} %"
    )


def _against_random(family: Family, group: Group) -> str:
    """Whether a group differs from random policies, and its controllers' states."""
    ends = [run.state for run in group.finished if run.is_learned]
    counts = [f"{ends.count(s)} {s}" for s in collapse.STATES if s in ends]
    states = f" (controllers at the end: {', '.join(counts)})" if counts else ""
    if group.is_random:
        return f"{group.label} is random here: its controller never moved"
    found = TEST_ERROR.difference(family, group)
    return f"{group.label} {_difference_in_words(found)}{states}" if found else ""


def _difference_in_words(found: Difference) -> str:
    points = f"{found.mean:+.2f} points"
    if found.low is None or found.high is None:
        return (
            f"differs from {REFERENCE} by {points} in one pair of runs, which is no "
            "evidence"
        )
    interval = (
        f"{points}, 95 % interval {found.low:+.2f} to {found.high:+.2f}, "
        f"{len(found.seeds)} pairs of runs"
    )
    if found.low <= 0 <= found.high:
        return f"cannot be told from {REFERENCE} ({interval})"
    return f"is {'better' if found.high < 0 else 'worse'} than {REFERENCE} ({interval})"


def _wall_time(runs: Sequence[Run]) -> str:
    """Of training and tests; of several runs the sum and the range."""
    seconds = [run.cost.clock_seconds for run in runs if run.cost]
    if not seconds:
        return "no epoch is over"
    text = f"{duration(sum(seconds))} of training and tests"
    if len(seconds) > 1:
        ends = f"{duration(min(seconds))} to {duration(max(seconds))}"
        text += f" in {len(seconds)} runs, {ends} each"
    is_whole = all(run.cost.steps == run.cost.timed_steps for run in runs if run.cost)
    return text if is_whole else f"{text}; some steps were not timed"


def _each_once(values: Iterable[str | None]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]
