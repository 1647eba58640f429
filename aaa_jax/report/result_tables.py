"""The report's tables of results: of a family, of every run, of the controllers.

A cell for which nothing ran is empty; a run that is not finished is named and is not in
a mean.
"""

import math
from collections.abc import Sequence

from aaa_jax.report import statistics
from aaa_jax.report.figures import robustness
from aaa_jax.report.figures.comparisons import final_error, to_reference
from aaa_jax.report.figures.efficiency import device_hours
from aaa_jax.report.figures.health import first_update, state_at_end
from aaa_jax.report.grouping import REFERENCE, Family, Group
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import show_difference, show_estimate
from aaa_jax.report.text_table import TextTable
from aaa_jax.search import collapse


def results(family: Family) -> TextTable:
    """A row per group: error, difference to `random`, robustness, state, cost."""
    columns = {
        "policies": lambda group: group.label,
        "M": lambda group: str(group.num_policies),
        "test error (%)": lambda group: show_estimate(final_error(group)),
        f"less {REFERENCE}'s (95 % interval)": lambda group: show_difference(
            to_reference(family, group)
        ),
        "mean corruption error (%)": lambda group: show_estimate(
            robustness.mean_corruption_error(family, group)
        ),
        f"its difference to {REFERENCE}": lambda group: show_difference(
            robustness.corruption_to_reference(family, group)
        ),
        "entropy at the end": lambda group: show_estimate(final_entropy(group)),
        "state at the end": final_states,
        "device hours": lambda group: _show_hours(device_hours(group)),
        "not finished": lambda group: not_finished(group.runs),
    }
    rows = [
        tuple(write(group) for write in columns.values()) for group in family.groups
    ]
    table = TextTable(family.title, tuple(columns), tuple(rows)).without_empty_columns()
    return table._replace(notes=tuple(_notes(family, table.header)))


def _notes(family: Family, header: Sequence[str]) -> list[str]:
    """What the columns of the results say."""
    notes = [
        "Test error after the last epoch, never the best: mean ± standard deviation "
        "over seeds (n)."
    ]
    if any("interval" in name for name in header):
        notes.append(
            f"Differences to {REFERENCE} (the one with the same M where there are "
            "several) are paired by seed, with the 95 % t interval of their mean; "
            "below 0 is better."
        )
    if "entropy at the end" in header:
        notes.append(
            "Entropy: of the controller's type and magnitude heads together, as a "
            "fraction of the maximum."
        )
    found = robustness.comparable_corruptions(family)
    if found is not None:
        notes.append(
            f"Mean corruption error: over {len(found.names)} corruptions of "
            f"{robustness.SEVERITIES} severities, {found.num_images} test images. "
            + " ".join(found.notes)
        )
    if "device hours" in header:
        notes.append(
            "Device hours: of training and of the search in the run itself, summed "
            "over its devices, without evaluation."
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
        error = f"{run.final['test_error']:.2f}" if run.is_finished else ""
        names = (run.name, run.method, settings["data"]["name"])
        network = settings["model"]["name"]
        devices = run.cost.devices if run.cost else ""
        state = state_at_end(run)
        rows.append((*names, network, str(run.seed), done, error, state, devices))
    header = ("run", "policies", "data", "network", "seed", "epochs")
    last = ("test error (%)", "state", "device")
    table = TextTable("Every run", (*header, *last), tuple(rows))
    return table.without_empty_columns()


def controllers(family: Family) -> TextTable | None:
    """A row per learned run: entropy, state, since when; None without such runs."""
    rows = []
    for group in family.groups:
        for run in group.runs:
            if not run.is_learned:
                continue
            numbers = run.rounds.numbers
            names = ("entropy", "op_entropy", "magnitude_entropy")
            first = [first_update(run, collapse.STATES[place:]) for place in (1, 2)]
            rows.append(
                (
                    *(group.label, str(run.seed), str(len(run.rounds.states))),
                    *(f"{numbers[name][-1]:.3f}" for name in names),
                    state_at_end(run) + ("" if run.is_finished else " (not finished)"),
                    *("" if number is None else str(number) for number in first),
                )
            )
    if not rows:
        return None
    header = ("policies", "seed", "updates", "entropy", "of op types", "of magnitudes")
    last = ("state at the end", "not ok since update", "collapsed since update")
    return TextTable(
        "State of the controller, run by run",
        (*header, *last),
        tuple(rows),
        ("Entropies after the last update, as fractions of the maximum.",),
    )


def final_entropy(group: Group) -> statistics.Estimate | None:
    """Entropy after the last update, over the finished learned runs."""
    return statistics.estimate(
        [run.rounds.numbers["entropy"][-1] for run in learned_runs(group)]
    )


def learned_runs(group: Group) -> list[Run]:
    """The finished runs in which a controller learned."""
    return [run for run in group.finished if run.is_learned]


def final_states(group: Group) -> str:
    """`3 narrowing, 2 ok`, over the finished learned runs."""
    states = [state_at_end(run) for run in learned_runs(group)]
    return ", ".join(f"{states.count(name)} {name}" for name in sorted(set(states)))


def not_finished(runs: Sequence[Run]) -> str:
    """Seeds and epochs of the runs that are not averaged."""
    return ", ".join(
        f"seed {run.seed} (epoch {run.epochs_done} of {run.settings['epochs']})"
        for run in runs
        if not run.is_finished
    )


def _show_hours(value: statistics.Estimate | None) -> str:
    """With three digits that count, whatever the size."""
    if value is None or value.mean <= 0:
        return ""
    return show_estimate(value, min(4, max(0, 2 - math.floor(math.log10(value.mean)))))
