"""Which ops destroy the label? A trained network's accuracy under each of 160 pairs.

    python -m aaa_jax.trained.probe RUN [--images=500] [--data-dir=DIR]

Each (op, magnitude) pair of the search space is applied alone, to the same test images
with the same random numbers, and the network of RUN's newest checkpoint is asked in
evaluation mode. Test images, since a network knows its training images by heart and
would name them whatever is left of the label. Writes RUN/probe.json:

    {"version": 1, "step": int, "num_images": int, "clean_accuracy": float,
     "ops": [16 names], "accuracy": [16][10]}

Accuracies are fractions. A low one says that this network cannot tell the label, not
that nobody could: compare with runs that trained on the pair.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.augment import large_batch, ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.trained import run as trained

VERSION = 1
FILE = "probe.json"
DRAWS_SEED = 0
# Rows that the network sees at once; the images are filled up to whole batches.
BATCH_SIZE = 100


class ProbeData(NamedTuple):
    """Images with the random numbers that every pair is applied with; a batch or many.

    Attributes:
        images: uint8 [..., B, H, W, 3].
        labels: int32 [..., B]; -1 on rows that fill up the last batch.
        partners: uint8 [..., B, H, W, 3], what SamplePairing mixes in: another image.
        draws: sign int32 [..., B] and centre int32 [..., B, 2].
    """

    images: jax.Array
    labels: jax.Array
    partners: jax.Array
    draws: large_batch.OpDraws


def probe(run: trained.TrainedRun, split: data.Dataset) -> dict[str, Any]:
    """The content of ``probe.json``.

    Args:
        run: the network, its range table and fill.
        split: the images.
    """
    batches = probe_data(split.images, split.labels)
    count = len(split.labels)
    clean = functools.partial(trained.count_correct, run, run.variables)
    clean_counts = jax.jit(lambda b: jax.lax.map(lambda x: clean(*x), b))
    accuracy_of = pair_accuracy(run)
    accuracy = [
        [
            float(accuracy_of(run.variables, batches, op, magnitude)) / count
            for magnitude in range(NUM_MAGNITUDES)
        ]
        for op in range(ops.NUM_SEARCH_OPS)
    ]
    counts = clean_counts((batches.images, batches.labels))
    return {
        "version": VERSION,
        "step": run.step,
        "num_images": count,
        "clean_accuracy": float(jnp.sum(counts)) / count,
        "ops": [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]],
        "accuracy": accuracy,
    }


def pair_accuracy(run: trained.TrainedRun) -> Callable[..., jax.Array]:
    """(variables, batches, op, magnitude) -> how many are right, int32 []; jitted.

    Op and magnitude are arrays: one compilation serves all 160 pairs.
    """

    def count(
        variables: Any, batches: ProbeData, op: jax.Array, magnitude: jax.Array
    ) -> jax.Array:
        def of_batch(batch: ProbeData) -> jax.Array:
            rows = batch.labels.shape
            changed = large_batch.apply_ops(
                batch.images,
                jnp.full(rows, op, jnp.int32),
                jnp.full(rows, magnitude, jnp.int32),
                batch.draws,
                partners=batch.partners,
                ranges=run.ranges,
                fill=run.fill,
            )
            return trained.count_correct(run, variables, changed, batch.labels)

        return jnp.sum(jax.lax.map(of_batch, batches))

    return jax.jit(count)


def probe_data(images: np.ndarray, labels: np.ndarray) -> ProbeData:
    """Whole batches of images and fixed draws, the same whatever the run.

    Args:
        images: uint8 [n, H, W, 3].
        labels: int [n].

    Returns:
        Leaves [batches, B, …]. A partner is another of the n images, if n > 1.
    """
    count, height, width = images.shape[:3]
    random = np.random.RandomState(DRAWS_SEED)  # its numbers never change
    size = min(BATCH_SIZE, count)
    missing = -count % size
    step = random.randint(1, max(count, 2), count)
    partners = images[(np.arange(count) + step) % count]
    sign = random.choice(np.array([-1, 1]), count)
    center = random.randint(0, (height, width), (count, 2))

    def batched(values: np.ndarray, filling: int) -> jax.Array:
        tail = np.full((missing, *values.shape[1:]), filling, values.dtype)
        whole = np.concatenate([values, tail])
        return jnp.asarray(whole.reshape(-1, size, *values.shape[1:]))

    return ProbeData(
        images=batched(images, 0),
        labels=batched(labels.astype(np.int32), -1),
        partners=batched(partners, 0),
        draws=large_batch.OpDraws(
            sign=batched(sign.astype(np.int32), 1),
            center=batched(center.astype(np.int32), 0),
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Probes one run; exit code 2 and one line if it cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m aaa_jax.trained.probe",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("run", help="a run directory")
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    parser.add_argument("--data-dir", help="TFDS directory; default: the run's")
    options = parser.parse_args(argv)
    try:
        run = trained.load(options.run, data_dir=options.data_dir)
        result = probe(run, trained.load_images(run, options.images))
        trained.write_json(run, FILE, result)
    except trained.ERRORS as error:
        print(f"aaa_jax.trained.probe: {error}", file=sys.stderr)
        return 2
    print(summary(result))
    return 0


def summary(result: dict[str, Any]) -> str:
    """What was found, in a line, and the five pairs that hurt most."""
    pairs = [
        (value, f"{name} {magnitude}")
        for name, row in zip(result["ops"], result["accuracy"], strict=True)
        for magnitude, value in enumerate(row)
    ]
    worst = ", ".join(
        f"{pair} {100 * value:.1f} %" for value, pair in sorted(pairs)[:5]
    )
    mean = sum(value for value, _ in pairs) / len(pairs)
    return (
        f"accuracy {100 * result['clean_accuracy']:.1f} % on {result['num_images']} "
        f"clean images, {100 * mean:.1f} % on the mean over the pairs; the lowest: "
        f"{worst}"
    )


if __name__ == "__main__":
    sys.exit(main())
