"""Error under corruption: 15 kinds of damage in 5 severities, since clean error hides.

    python -m aaa_jax.trained.corruptions RUN [RUN …] [--images=500] [--data-dir=DIR]
                                  [--frost=FOLDER]

Test images, corrupted with the functions of TFDS (`damage`), go through the network of
a run's newest checkpoint. Writes RUN/corruption.json; errors are in percent:

    {"version": 1, "step": int, "num_images": int, "clean_error": float,
     "mean_error": float, "errors": {name: [5]}, "left_out": {name: why},
     "side": {name: pixels at which it was applied}}

Each corruption's errors are kept at once, in RUN/corruption.part.json: a command that
is stopped goes on there. Frost needs five pictures that TFDS does not carry:
`damage.FROST`, of ImageNet-C's own code.

The constants are meant for 224 px, and TFDS has none for small images (its
cifar10_corrupted downloads finished pictures). Hence on those this is not CIFAR-10-C,
and comparable between networks on one dataset only. The mean is over what was measured;
it is not divided by another network's errors.
"""

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.trained import run as trained
from aaa_jax.trained.corrupted_images import (
    AT_224,
    FROST,
    NAMES,
    SEVERITIES,
    SIDE,
    DamageError,
    Tools,
    corrupted_splits,
    find_frost,
    find_imagemagick,
    left_out,
)
from aaa_jax.workdir import run_directory

VERSION = 1
FILE = "corruption.json"
PART = "corruption.part.json"
BATCH_SIZE = 100  # rows that the network sees at once
Counter = Callable[[np.ndarray], int]
Errors = dict[str, list[float]]  # corruption -> percent at each severity


def evaluate_runs(
    runs: Sequence[trained.TrainedRun],
    split: data.Dataset,
    *,
    tools: Tools,
    processes: int,
    names: Sequence[str] = NAMES,
    known: Sequence[Errors] | None = None,
    keep: Callable[[int, Errors], None] = lambda place, errors: None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """The content of each run's ``corruption.json``; the images are corrupted once.

    Args:
        runs: networks of one dataset.
        split: its test images.
        tools: what is here.
        processes: that corrupt.
        names: what to measure, of `NAMES`.
        known: of each run, what was measured before and is not measured again.
        keep: is given a run's place and its errors so far, after each corruption.
        say: is given a line for each corruption.
    """
    longer = max(split.images.shape[1:3])
    why = left_out(longer, tools)
    counters = [_counter(run, split.labels) for run in runs]
    errors = [dict(of_run) for of_run in known or [{} for _ in runs]]
    lacking = {
        name: [place for place, of_run in enumerate(errors) if name not in of_run]
        for name in names
        if name not in why
    }
    count = len(split.labels)
    found: list[list[float]] = []
    for name, severity, images in corrupted_splits(
        split.images, [name for name in lacking if lacking[name]], tools, processes
    ):
        rights = [counters[place](images) for place in lacking[name]]
        found.append([100 * (1 - right / count) for right in rights])
        if severity != SEVERITIES[-1]:
            continue
        for place, values in zip(lacking[name], zip(*found, strict=True), strict=True):
            errors[place][name] = list(values)
            keep(place, errors[place])
        found = []
        first = lacking[name][0]
        shown = " ".join(f"{value:.1f}" for value in errors[first][name])
        say(f"{name}: {shown} %{f' ({runs[first].path})' if len(runs) > 1 else ''}")
    clean = [100 * (1 - counter(split.images) / count) for counter in counters]
    return [
        _record(run, count, longer, of_run, why) | {"clean_error": error}
        for run, of_run, error in zip(runs, errors, clean, strict=True)
    ]


def _record(
    run: trained.TrainedRun, count: int, longer: int, errors: Errors, why: dict
) -> dict[str, Any]:
    """A run's ``corruption.json``, but for its clean error."""
    enlarged = SIDE if longer <= SIDE else longer
    measured = [name for name in NAMES if name in errors]
    return {
        "version": VERSION,
        "step": run.step,
        "num_images": count,
        "mean_error": float(np.mean([errors[name] for name in measured])),
        "errors": {name: errors[name] for name in measured},
        "left_out": {name: why[name] for name in why if name not in errors},
        "side": {name: enlarged if name in AT_224 else longer for name in measured},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates runs; exit code 2 and one line if it cannot."""
    options = _parser().parse_args(argv)
    try:
        frost = find_frost(options.frost) if options.frost else ()
        tools = Tools(find_imagemagick(), frost)
        groups: dict[Any, list[trained.TrainedRun]] = {}
        for path in options.run:
            run = trained.load(path, data_dir=options.data_dir)
            key = run.spec, run.data_dir, run.testing
            groups.setdefault(key, []).append(run)
        for runs in groups.values():
            results = _evaluate_group(runs, options, tools)
    except (
        trained.TrainedError,
        DamageError,
        data.DatasetError,
        run_directory.RunDirectoryError,
    ) as err:
        print(f"aaa_jax.trained.corruptions: {err}", file=sys.stderr)
        return 2
    for name, why in results[0]["left_out"].items():
        print(f"left out: {name} ({why})")
    return 0


def _evaluate_group(
    runs: Sequence[trained.TrainedRun], options: argparse.Namespace, tools: Tools
) -> list[dict[str, Any]]:
    """Runs on one dataset, with what was measured before a stop; writes their files."""
    split = trained.load_images(runs[0], options.images)
    longer = max(split.images.shape[1:3])
    parts = [
        {"version": VERSION, "step": run.step, "num_images": len(split.labels)}
        | {"longer_side": longer}
        for run in runs
    ]

    def keep(place: int, errors: Errors) -> None:
        text = json.dumps(parts[place] | {"errors": errors})
        trained.write_json(runs[place].path / PART, text + "\n")

    results = evaluate_runs(
        runs,
        split,
        tools=tools,
        processes=options.processes,
        known=[_read_part(run, part) for run, part in zip(runs, parts, strict=True)],
        keep=keep,
    )
    for run, result in zip(runs, results, strict=True):
        trained.write_json(run.path / FILE, json.dumps(result) + "\n")
        (run.path / PART).unlink(missing_ok=True)
        print(f"{run.path}: {summary(result)}")
    return results


def _read_part(run: trained.TrainedRun, expected: dict[str, int]) -> Errors:
    """What was measured of a run before a stop, alike; nothing where it was not."""
    try:
        part = json.loads((run.path / PART).read_text())
        errors = part.pop("errors")
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return errors if part == expected else {}


def summary(result: dict[str, Any]) -> str:
    """What was found, in a line."""
    worst = max(result["errors"], key=lambda name: np.mean(result["errors"][name]))
    return (
        f"error {result['clean_error']:.2f} % clean, {result['mean_error']:.2f} % mean "
        f"over {len(result['errors'])} corruptions x {len(SEVERITIES)} severities "
        f"({result['num_images']} images); the worst is {worst}, "
        f"{np.mean(result['errors'][worst]):.1f} %"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aaa_jax.trained.corruptions",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("run", nargs="+", help="a run directory")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--data-dir", help="TFDS directory; default: the run's")
    parser.add_argument(
        "--processes",
        type=int,
        default=os.cpu_count() or 1,
        help="that corrupt images; default: one a core",
    )
    parser.add_argument(
        "--frost", help=f"folder of ImageNet-C's {FROST[0]}, …; default: no frost"
    )
    return parser


def _counter(run: trained.TrainedRun, labels: np.ndarray) -> Counter:
    """A function images uint8 [n, H, W, 3] -> how many the run's network gets right."""
    size = min(BATCH_SIZE, len(labels))
    missing = -len(labels) % size
    rows = np.concatenate([labels.astype(np.int32), np.full(missing, -1, np.int32)])

    @jax.jit
    def count(variables: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        of_batch = functools.partial(trained.count_correct, run, variables)
        return jnp.sum(jax.lax.map(lambda batch: of_batch(*batch), (images, labels)))

    def counter(images: np.ndarray) -> int:
        filled = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        batches = filled.reshape(-1, size, *images.shape[1:])
        return int(count(run.variables, batches, rows.reshape(-1, size)))

    return counter


if __name__ == "__main__":
    sys.exit(main())
