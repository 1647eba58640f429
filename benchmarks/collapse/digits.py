"""What policies do to a network's test loss, in pairs: from the runs of a table.

    python launch.py --config=configs/compare_digits.py --workdir=runs/compare_digits
    python -m benchmarks.collapse.digits runs/compare_digits

Reads finished runs WORKDIR/ROW/COLUMN/seedS alone. Prints a Markdown table: test error
and loss, their differences to `random` over the seeds that both have, when the
controller moved. Draws `docs/images/compare_digits.png`.
"""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aaa_jax.report import statistics
from aaa_jax.workdir import run_directory, run_facts
from benchmarks import measure
from benchmarks.collapse.__main__ import MOVED

REFERENCE = "random"
Lines = list[dict[str, Any]]


def read(folder: pathlib.Path) -> dict[str, dict[int, tuple[Lines, Lines]]]:
    """Column -> seed -> lines of ``metrics`` and ``policies`` of finished runs."""
    found: dict[str, dict[int, tuple[Lines, Lines]]] = {}
    for path in sorted(folder.glob("*/*/seed*")):
        metrics = run_directory.read_lines(path, "metrics")
        total = run_facts.load_facts(path).get("total_steps")
        if metrics and metrics[-1]["step"] == total:
            seed = int(path.name.removeprefix("seed"))
            lines = metrics, run_directory.read_lines(path, "policies")
            found.setdefault(path.parent.name, {})[seed] = lines
    return found


def moved_at(lines: Lines) -> int | None:
    """The first update, from 1, with less than 0.95 of the maximal entropy."""
    entropies = [line["entropy"] for line in lines]
    reached = [index for index, value in enumerate(entropies, 1) if value < MOVED]
    return reached[0] if reached else None


def row(name: str, runs: Mapping[int, Any], others: Mapping[int, Any]) -> list[str]:
    """A column of the experiment as a line of the table."""
    cells = [name, str(len(runs))]
    for key, digits in (("test_error", 2), ("test_loss", 4)):
        own, theirs = (
            {seed: lines[0][-1][key] for seed, lines in some.items()}
            for some in (runs, others)
        )
        cells.append(
            statistics.show_estimate(statistics.estimate(own.values()), digits)
        )
        difference = statistics.paired_difference(own, theirs)
        cells.append(
            "" if name == REFERENCE else statistics.show_difference(difference, digits)
        )
    last = [lines[0][-1] for lines in runs.values()]
    cells.append(f"{np.mean([line['train_loss'] for line in last]):.2f}")
    if "state" not in last[0]:
        return [*cells, "", "", "", ""]
    moves = [moved_at(lines[1]) for lines in runs.values()]
    known = [move for move in moves if move is not None]
    shares = np.mean([lines[1][-1]["op_shares"] for lines in runs.values()], axis=0)
    names = [key.removeprefix("op_share/") for key in last[0] if "op_share/" in key]
    top = int(np.argmax(shares))
    states = [line["state"] for line in last]
    return [
        *cells,
        "never" if not known else f"{np.median(known):.0f} ({len(known)}/{len(moves)})",
        f"{np.mean([line['entropy'] for line in last]):.2f}",
        ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))),
        f"{names[top]} {shares[top]:.2f}",
    ]


def draw(
    found: Mapping[str, Mapping[int, tuple[Lines, Lines]]], path: pathlib.Path
) -> None:
    """Left the entropy over the updates, right each pair's difference in test loss."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.8))
    for name, runs in found.items():
        lines = [rounds for metrics, rounds in runs.values() if "state" in metrics[-1]]
        if not lines:
            continue
        entropy = np.array([[line["entropy"] for line in rounds] for rounds in lines])
        x = np.arange(1, entropy.shape[1] + 1)
        (drawn,) = left.plot(x, entropy.mean(0), label=name)
        bounds = entropy.min(0), entropy.max(0)
        left.fill_between(x, *bounds, color=drawn.get_color(), alpha=0.15, lw=0)
    left.axhline(MOVED, color="grey", lw=0.6)
    left.set(xlabel="controller update", ylabel="entropy, fraction of the maximum")
    left.set_ylim(0, 1.02)
    left.legend(loc="lower left")
    others = [name for name in found if name != REFERENCE]
    for place, name in enumerate(others):
        seeds = sorted(found[name].keys() & found[REFERENCE].keys())
        loss = {
            of: np.array([found[of][seed][0][-1]["test_loss"] for seed in seeds])
            for of in (name, REFERENCE)
        }
        differences = loss[name] - loss[REFERENCE]
        right.plot(differences, np.full(len(seeds), place), "o", alpha=0.5)
        half = statistics.t_half_width(list(differences))
        right.errorbar(
            differences.mean(), place - 0.25, xerr=half, fmt="k|", capsize=3, lw=1
        )
    right.axvline(0, color="grey", lw=0.6)
    right.set_yticks(range(len(others)), others)
    right.set_xlabel(f"test loss less {REFERENCE}'s: pairs, mean and 95 % interval")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=pathlib.Path, help="the table's directory")
    parser.add_argument("--output", type=pathlib.Path, default=measure.ROOT)
    options = parser.parse_args(command_line)
    found = read(options.runs)
    reference = found.get(REFERENCE, {})
    heads = ["argument", "seeds", "test error, %", f"less {REFERENCE}", "test loss"]
    heads += [f"less {REFERENCE}", "train loss", "moved at", "entropy at the end"]
    heads += ["states", "likeliest op"]
    rows = [row(name, runs, reference) for name, runs in found.items()]
    print(measure.page(measure.table(heads, rows)))
    draw(found, options.output / "docs/images/compare_digits.png")


if __name__ == "__main__":
    main()
