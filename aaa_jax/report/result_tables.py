"""The report's tables of results: of a family, of every run, of the controllers.

A cell for which nothing ran is empty; a run that is not finished is named and is not in
a mean.
"""

import math
from collections.abc import Sequence

from aaa_jax.report import statistics
from aaa_jax.report.figures import robustness
from aaa_jax.report.grouping import REFERENCE, Family, Group
from aaa_jax.report.measures import (
    DEVICE_HOURS,
    MEASURES,
    TEST_ERROR,
    TEST_LOSS,
    TOP5_ERROR,
    Measure,
)
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import show_difference, show_estimate
from aaa_jax.report.text_table import TextTable
from aaa_jax.search import collapse


def results(family: Family) -> TextTable:
    """A row per group: errors, loss, differences to `random`, robustness, cost."""
    rows = []
    for group in family.groups:
        cells = [group.label, str(group.num_policies)]
        for measure in MEASURES[:-1]:
            cells.append(measure.show_mean(family, group))
            if measure.is_compared:
                cells.append(_show_less(family, group, measure))
        states = [run.state for run in group.finished if run.is_learned]
        counts = [f"{states.count(name)} {name}" for name in sorted(set(states))]
        counts = states if len(states) == 1 else counts
        hours = _show_hours(DEVICE_HOURS.mean(family, group))
        rows.append((*cells, ", ".join(counts), hours, not_finished(group)))
    header = (
        *("policies", "M", "test error (%)"),
        f"difference to {REFERENCE} (95 % interval)",
        *("top-5 error (%)", "test loss (nats)", f"its difference to {REFERENCE}"),
        *("mean corruption error (%)", f"its difference to {REFERENCE}"),
        *("entropy at the end", "state at the end", "device hours", "not finished"),
    )
    table = TextTable(family.title, header, tuple(rows)).without_empty_columns()
    return table._replace(notes=tuple(_notes(family)))


def _notes(family: Family) -> list[str]:
    """What the columns of the results say."""
    notes = ["Test error after the last epoch."]
    found = robustness.comparable_corruptions(family)
    if found is not None:
        notes.append(
            f"Corruptions: over {len(found.names)} corruptions of "
            f"{robustness.SEVERITIES} severities, {found.num_images} test images. "
            + " ".join(found.notes)
        )
    return notes


def run_list(runs: Sequence[Run]) -> TextTable:
    """A row per run: what it is, how far it is, what came out."""
    rows = []
    for run in runs:
        settings = run.settings
        done = f"{run.epochs_done} of {settings['epochs']}"
        if not run.is_finished:
            done += ", not finished"
        elif run.is_shortened:
            done += f", stopped at max_steps = {settings['max_steps']}"
        final = run.final if run.is_finished else {}
        names = (run.name, run.method, settings["data"]["name"])
        network = settings["model"]["name"]
        devices = run.cost.devices if run.cost else ""
        tested = [
            f"{final[measure.name]:.{measure.digits}f}"
            if final.get(measure.name) is not None
            else ""
            for measure in (TEST_ERROR, TOP5_ERROR, TEST_LOSS)
        ]
        rows.append((*names, network, str(run.seed), done, *tested, run.state, devices))
    header = ("run", "policies", "data", "network", "seed", "epochs")
    last = ("test error (%)", "top-5 error (%)", "test loss (nats)", "state", "device")
    table = TextTable("Every run", (*header, *last), tuple(rows))
    return table.without_empty_columns()


def controllers(family: Family) -> TextTable | None:
    """A row per learned run: entropy, state, since when; None of fewer than two."""
    rows = []
    for group in family.groups:
        for run in group.runs:
            if not run.is_learned:
                continue
            numbers = run.rounds.numbers
            names = ("entropy", "op_entropy", "magnitude_entropy")
            first = [run.first_update(*collapse.STATES[place:]) for place in (2, 3)]
            rows.append(
                (
                    *(group.label, str(run.seed), str(len(run.rounds.states))),
                    *(f"{numbers[name][-1]:.3f}" for name in names),
                    run.state + ("" if run.is_finished else " (not finished)"),
                    *("" if number is None else str(number) for number in first),
                )
            )
    if len(rows) < 2:
        return None  # the first screen says it
    header = ("policies", "seed", "updates", "entropy", "of op types", "of magnitudes")
    last = ("state at the end", "narrowing since update", "collapsed since update")
    return TextTable(
        "State of the controller, run by run",
        (*header, *last),
        tuple(rows),
        ("Entropies after the last update, as fractions of the maximum.",),
    )


def not_finished(group: Group) -> str:
    """Seeds and epochs of the runs that are not averaged."""
    return ", ".join(
        f"seed {run.seed} (epoch {run.epochs_done} of {run.settings['epochs']})"
        for run in group.unfinished
    )


def _show_less(family: Family, group: Group, measure: Measure) -> str:
    """The difference to `random`; of a controller that never moved, that it is."""
    if group.is_random and measure.mean(family, group) is not None:
        return f"{group.method} is random here"
    return show_difference(measure.difference(family, group), measure.digits)


def _show_hours(value: statistics.Estimate | None) -> str:
    """With three digits that count, whatever the size."""
    if value is None or value.mean <= 0:
        return ""
    return show_estimate(value, min(4, max(0, 2 - math.floor(math.log10(value.mean)))))
