"""Tables as rows of text, and the same as Markdown, CSV and HTML.

A cell for which nothing ran is empty; a run that is not finished is named and is not in
a mean.
"""

import csv
import html
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from aaa_jax.report import statistics
from aaa_jax.report.figures import robustness
from aaa_jax.report.figures.comparisons import final_error, to_reference
from aaa_jax.report.figures.efficiency import device_hours
from aaa_jax.report.figures.health import first_update, state_at_end
from aaa_jax.report.grouping import REFERENCE, Family, Group, method
from aaa_jax.report.runs import Run
from aaa_jax.report.statistics import show_difference, show_estimate


class Sheet(NamedTuple):
    """A table in words.

    Attributes:
        title: a line.
        header: names of the columns.
        rows: as long as the header.
        notes: footnotes.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def results(family: Family) -> Sheet:
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
            corruption_to_reference(family, group)
        ),
        "entropy at the end": lambda group: show_estimate(final_entropy(group)),
        "state at the end": final_states,
        "device hours": lambda group: _show_hours(device_hours(group)),
        "not finished": lambda group: not_finished(group.runs),
    }
    always = ("policies", "M", "test error (%)")
    filled = {
        name: [write(group) for group in family.groups]
        for name, write in columns.items()
    }
    kept = [name for name, cells in filled.items() if name in always or any(cells)]
    return Sheet(
        family.title,
        tuple(kept),
        tuple(zip(*(filled[name] for name in kept), strict=True)),
        tuple(_notes(family, kept)),
    )


def _notes(family: Family, kept: Sequence[str]) -> list[str]:
    """What the columns of the results say."""
    notes = [
        "Test error after the last epoch, never the best: mean ± standard deviation "
        "over seeds (n)."
    ]
    if any("interval" in name for name in kept):
        notes.append(
            f"Differences to {REFERENCE} (the one with the same M where there are "
            "several) are paired by seed, with the 95 % t interval of their mean; "
            "below 0 is better."
        )
    if "entropy at the end" in kept:
        notes.append(
            "Entropy: of the controller's type and magnitude heads together, as a "
            "fraction of the maximum."
        )
    found = robustness.tested(family)
    if found is not None:
        notes.append(
            f"Mean corruption error: over {len(found.names)} corruptions of "
            f"{robustness.SEVERITIES} severities, {found.num_images} test images. "
            + " ".join(found.notes)
        )
    if "device hours" in kept:
        notes.append(
            "Device hours: of training and of the search in the run itself, summed "
            "over its devices, without evaluation."
        )
    return notes


def run_list(runs: Sequence[Run]) -> Sheet:
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
        model = settings["model"]["name"]
        device = run.facts.get("device") or (run.cost.device if run.cost else "")
        count = f"{run.cost.num_devices} x " if run.cost and device else ""
        rows.append(
            (
                *(run.name, method(settings), settings["data"]["name"], model),
                *(str(run.seed), done, error, state_at_end(run), f"{count}{device}"),
            )
        )
    header = ("run", "policies", "data", "network", "seed", "epochs")
    last = ("test error (%)", "state", "device")
    return _without_empty(Sheet("Every run", (*header, *last), tuple(rows)))


def collapse(family: Family) -> Sheet | None:
    """A row per learned run: entropy, state, since when; None without such runs."""
    rows = []
    for group in family.groups:
        for run in group.runs:
            if not run.is_learned:
                continue
            first = [first_update(run, s) for s in (STATES_NOT_OK, STATES_NOT_OK[1:])]
            numbers = run.rounds.numbers
            rows.append(
                (
                    *(group.label, str(run.seed), str(len(run.rounds.states))),
                    f"{numbers['entropy'][-1]:.3f}",
                    f"{numbers['op_entropy'][-1]:.3f}",
                    f"{numbers['magnitude_entropy'][-1]:.3f}",
                    state_at_end(run) + ("" if run.is_finished else " (not finished)"),
                    *("" if number is None else str(number) for number in first),
                )
            )
    if not rows:
        return None
    header = ("policies", "seed", "updates", "entropy", "of op types", "of magnitudes")
    last = ("state at the end", "not ok since update", "collapsed since update")
    return Sheet(
        "State of the controller, run by run",
        (*header, *last),
        tuple(rows),
        ("Entropies after the last update, as fractions of the maximum.",),
    )


STATES_NOT_OK = ("narrowing", "collapsed")


def corruption_to_reference(
    family: Family, group: Group
) -> statistics.Difference | None:
    """Paired difference of the mean corruption error to the `random` group's."""
    reference = family.reference(group)
    if reference is None:
        return None
    return statistics.paired_difference(
        robustness.corruption_errors(family, group),
        robustness.corruption_errors(family, reference),
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


def _without_empty(sheet: Sheet) -> Sheet:
    """The columns in which something stands."""
    kept = [
        place
        for place in range(len(sheet.header))
        if any(row[place] for row in sheet.rows)
    ]
    return sheet._replace(
        header=tuple(sheet.header[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in sheet.rows),
    )


def _show_hours(value: statistics.Estimate | None) -> str:
    """With three digits that count, whatever the size."""
    if value is None or value.mean <= 0:
        return ""
    return show_estimate(value, min(4, max(0, 2 - math.floor(math.log10(value.mean)))))


def to_markdown(sheet: Sheet, *, level: int = 3) -> str:
    """A heading, the table, its notes."""
    lines = [f"{'#' * level} {sheet.title}", "", _markdown_row(sheet.header)]
    lines.append(_markdown_row(["---"] * len(sheet.header)))
    lines += [_markdown_row(row) for row in sheet.rows]
    for note in sheet.notes:
        lines += ["", note]
    return "\n".join([*lines, ""])


def to_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated lines, a header first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()


def to_html(sheet: Sheet, *, has_heading: bool = False) -> str:
    """The table and its notes, with a caption where no heading says the same."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in sheet.header)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(_unbroken(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in sheet.rows
    )
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in sheet.notes)
    caption = "" if has_heading else f"<caption>{html.escape(sheet.title)}</caption>"
    return (
        f'<div class=scroll role=region tabindex=0 aria-label="'
        f'{html.escape(sheet.title)}"><table>{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n{notes}"
    )


def _unbroken(cell: str) -> str:
    """Lines may break before a bracket, and not within a number with its spread."""
    for text in (" ± ", "n = ", ", +", ", -"):
        cell = cell.replace(text, text.replace(" ", "\N{NO-BREAK SPACE}"))
    return cell


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
