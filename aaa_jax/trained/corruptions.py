"""Error under corruption: 15 kinds of damage in 5 severities, since clean error hides.

    python -m aaa_jax corruptions RUN [RUN …] [--images=500] [--data-dir=DIR]
                                  [--frost=FOLDER | --corrupted=FOLDER]

Corrupted test images go through the network of a run's newest checkpoint. They are made
of the run's test images (`corruption_functions`), or read from a published set, such as
CIFAR-10-C (`--corrupted`). Writes RUN/corruption.json; errors are in percent:

    {"version": 1, "step": int, "num_images": int, "clean_error": float,
     "mean_error": float, "errors": {name: [5]}, "left_out": {name: why},
     "side": {name: pixels at which it was applied}, "published": name of the set}

"published" is there for a published set only. The mean is over the corruptions in
"errors": all 15 of ImageNet-C for a published set, and for made images, on every
machine, the 14 without frost, or 15 with its photographs (`--frost`). It is not divided
by another network's errors. Made images are not those of CIFAR-10-C: they compare
networks on one dataset only.

Each corruption's errors are kept at once, in RUN/corruption.part.json: a command that
is stopped goes on there.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aaa_jax import data
from aaa_jax.trained import run as trained
from aaa_jax.trained.corrupted_images import (
    FROST,
    CorruptedSets,
    CorruptionError,
    make_sets,
    read_sets,
)
from aaa_jax.trained.corruption_functions import SEVERITIES

VERSION = 1
FILE = "corruption.json"
PART = "corruption.part.json"
NUM_IMAGES = 500  # that are corrupted here; of a published set, all are used


def evaluate_runs(
    runs: Sequence[trained.TrainedRun], clean: data.Dataset, sets: CorruptedSets
) -> list[dict[str, Any]]:
    """Writes and returns each run's ``corruption.json``.

    Args:
        runs: networks of one dataset; images are corrupted once for all.
        clean: its test images.
        sets: the corrupted ones.
    """
    parts = [_begin(run, clean, sets) for run in runs]
    measures = [_measure_error(run) for run in runs]
    lacking = {
        name: [place for place, part in enumerate(parts) if name not in part["errors"]]
        for name in sets.sides
    }
    names = [name for name in lacking if lacking[name]]
    for name, images in itertools.groupby(sets.images(names), key=lambda pair: pair[0]):
        places = lacking[name]
        rows = [[measures[p](each, sets.labels) for p in places] for _, each in images]
        for place, values in zip(places, zip(*rows, strict=True), strict=True):
            parts[place]["errors"][name] = list(values)
            trained.write_json(runs[place], PART, parts[place])
        shown = " ".join(f"{row[0]:.1f}" for row in rows)
        of_run = f" ({runs[places[0]].path})" if len(runs) > 1 else ""
        print(f"{name}: {shown} %{of_run}")
    results = []
    for run, part, measure in zip(runs, parts, measures, strict=True):
        errors = {name: part["errors"][name] for name in sets.sides}
        result = _header(run, sets) | {
            "mean_error": float(np.mean(list(errors.values()))),
            "errors": errors,
            "left_out": sets.left_out,
            "side": sets.sides,
            "clean_error": measure(clean.images, clean.labels),
        }
        trained.write_json(run, FILE, result)
        (run.path / PART).unlink(missing_ok=True)
        print(f"{run.path}: {summary(result)}")
        results.append(result)
    return results


def _begin(
    run: trained.TrainedRun, clean: data.Dataset, sets: CorruptedSets
) -> dict[str, Any]:
    """What is known of a run: what a stopped command measured alike, or no error."""
    longer = max(clean.images.shape[1:3])
    part = _header(run, sets) | {"longer_side": longer, "errors": {}}
    if (run.path / PART).exists():
        found = json.loads((run.path / PART).read_text())
        if found | {"errors": {}} == part:
            return found
    return part


def _header(run: trained.TrainedRun, sets: CorruptedSets) -> dict[str, Any]:
    """What the errors are of: those under another header are not mixed with them."""
    header = {"version": VERSION, "step": run.step, "num_images": len(sets.labels)}
    return header | ({"published": sets.published} if sets.published else {})


def _measure_error(run: trained.TrainedRun) -> Callable[..., float]:
    """A function of images and labels: the network's error in percent."""
    count = trained.make_counter(run)
    return lambda images, labels: 100 * (1 - count(images, labels) / len(labels))


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates runs; exit code 2 and one line if it cannot."""
    parser = trained.make_parser("corruptions", __doc__, nargs="+")
    images = f"test images ({NUM_IMAGES}; of a published set, all)"
    parser.add_argument("--images", type=int, help=images)
    processes = "how many corrupt images; default: one per core"
    cores = os.cpu_count() or 1
    parser.add_argument("--processes", type=int, default=cores, help=processes)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--frost", help=f"folder of ImageNet-C's {FROST[0]}, …; default: no frost"
    )
    source.add_argument(
        "--corrupted",
        help="folder of CIFAR-10-C or CIFAR-100-C: NAME.npy and labels.npy are read",
    )
    options = parser.parse_args(argv)
    try:
        groups: dict[Any, list[trained.TrainedRun]] = {}
        for path in options.run:
            run = trained.load_run(path, data_dir=options.data_dir)
            key = run.spec, run.data_dir, run.stream, run.resize
            groups.setdefault(key, []).append(run)
        for runs in groups.values():
            clean, sets = _read_sets(runs[0], options)
            print(data.counted(clean, runs[0].spec.test_split))
            evaluate_runs(runs, clean, sets)
    except (*trained.ERRORS, CorruptionError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(f"the mean is over {', '.join(sets.sides)}")
    for name, why in sets.left_out.items():
        print(f"left out: {name} ({why})")
    return 0


def _read_sets(
    run: trained.TrainedRun, options: argparse.Namespace
) -> tuple[data.Dataset, CorruptedSets]:
    """A run's test images, and the corrupted ones that were asked for."""
    if options.corrupted:
        clean = trained.load_images(run, options.images)
        return clean, read_sets(clean, options.corrupted, options.images)
    wanted = NUM_IMAGES if options.images is None else options.images
    clean = trained.load_images(run, wanted)
    return clean, make_sets(clean, options.frost, options.processes)


def summary(result: dict[str, Any]) -> str:
    """What was found, in a line."""
    worst = max(result["errors"], key=lambda name: np.mean(result["errors"][name]))
    of_set = f" of {result['published']}" if "published" in result else ""
    return (
        f"error {result['clean_error']:.2f} % clean, {result['mean_error']:.2f} % mean "
        f"over {len(result['errors'])} corruptions x {len(SEVERITIES)} severities "
        f"({result['num_images']} images{of_set}); the worst is {worst}, "
        f"{np.mean(result['errors'][worst]):.1f} %"
    )
