"""What policies do to a network's test loss, in pairs: from the runs of a table.

    python launch.py --config=configs/compare_digits.py --workdir=runs/compare_digits
    python -m benchmarks.collapse.digits runs/compare_digits

Reads finished runs WORKDIR/ROW/COLUMN/seedS alone. Prints a Markdown table: test error
and loss, their differences to `random` over the seeds that both have, when the
controller moved. Draws `docs/images/compare_digits.png`.
"""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from aaa_jax.augment import ops
from aaa_jax.report.grouping import REFERENCE, Family, Group, make_families
from aaa_jax.report.measures import TEST_ERROR, TEST_LOSS
from aaa_jax.report.runs import Run, read_runs
from aaa_jax.report.statistics import show_difference
from benchmarks import measure
from benchmarks.collapse.__main__ import MOVED, draw_entropy


def moved_at(run: Run) -> int | None:
    """The first update, from 1, with less than 0.95 of the maximal entropy."""
    reached = np.flatnonzero(run.rounds.numbers["entropy"] < MOVED)
    return int(reached[0]) + 1 if len(reached) else None


def row(family: Family, group: Group) -> list[str]:
    """The finished runs of a group as a line of the table."""
    cells = [group.label, str(len(group.finished))]
    for number in (TEST_ERROR, TEST_LOSS):
        cells.append(number.show_mean(family, group))
        found = number.difference(family, group)
        cells.append(show_difference(found, number.digits))
    cells.append(f"{np.mean([*group.final('train_loss').values()]):.2f}")
    if not any(run.is_learned for run in group.finished):
        return [*cells, "", "", "", ""]
    rounds = [run.rounds for run in group.finished]
    moves = [moved_at(run) for run in group.finished]
    known = [move for move in moves if move is not None]
    shares = np.mean([each.shares["expected_ops"][-1] for each in rounds], axis=0)
    top = int(np.argmax(shares))
    states = [run.state for run in group.finished]
    return [
        *cells,
        "never" if not known else f"{np.median(known):.0f} ({len(known)}/{len(moves)})",
        f"{np.mean([each.numbers['entropy'][-1] for each in rounds]):.2f}",
        ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))),
        f"{ops.OPS[top].name} {shares[top]:.2f}",
    ]


def draw(family: Family, groups: Sequence[Group], path: pathlib.Path) -> None:
    """Left the entropy over the updates, right each pair's difference in test loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8))
    left, right = figure.subplots(1, 2)
    others = [group for group in groups if group.method != REFERENCE]
    colors = {group.label: f"C{place}" for place, group in enumerate(others)}
    for group in others:
        learned = [run for run in group.finished if run.is_learned]
        entropy = np.array([run.rounds.numbers["entropy"] for run in learned])
        if learned:
            draw_entropy(left, entropy, "-", group.label, colors[group.label])
    left.axhline(MOVED, color="grey", lw=0.6)
    left.set(xlabel="controller update", ylabel="entropy, fraction of the maximum")
    left.set_ylim(0, 1.02)
    left.legend(loc="lower left")
    compared: list[str] = []  # a controller that never moved is the reference itself
    for group in others:
        found = TEST_LOSS.difference(family, group)
        reference = family.reference(group)
        if found is None or reference is None:
            continue
        place = len(compared)
        compared.append(group.label)
        own, theirs = (TEST_LOSS.values(family, each) for each in (group, reference))
        differences = [own[seed] - theirs[seed] for seed in found.seeds]
        heights = np.full(len(differences), place)
        right.plot(differences, heights, "o", color=colors[group.label], alpha=0.5)
        half = None if found.high is None else found.high - found.mean
        right.errorbar(found.mean, place - 0.25, xerr=half, fmt="k|", capsize=3, lw=1)
    right.axvline(0, color="grey", lw=0.6)
    right.set_yticks(range(len(compared)), compared)
    right.set_xlabel(f"test loss minus {REFERENCE}'s: pairs, mean and 95 % interval")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=pathlib.Path, help="the table's directory")
    parser.add_argument("--output", type=pathlib.Path, default=measure.ROOT)
    options = parser.parse_args(command_line)
    heads = ["argument", "seeds", "test error, %", f"minus {REFERENCE}", "test loss"]
    heads += [f"minus {REFERENCE}", "train loss", "moved at", "entropy at the end"]
    heads += ["states", "likeliest op"]
    [family] = make_families(read_runs([options.runs]))
    finished = [group for group in family.groups if group.finished]
    groups = sorted(finished, key=lambda group: group.label)
    rows = [row(family, group) for group in groups]
    print(measure.page(measure.table(heads, rows)))
    draw(family, groups, options.output / "docs/images/compare_digits.png")


if __name__ == "__main__":
    main()
