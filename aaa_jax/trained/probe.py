"""Which ops destroy the label? A trained network's accuracy under each of 160 pairs.

    python -m aaa_jax probe RUN [--images=500] [--data-dir=DIR]

Each (op, magnitude) pair of the search space is applied alone, to the same test images
with the same random numbers, and the network of RUN's newest checkpoint is asked for
their classes. Training images would not do: a network knows them by heart, and names
their class whatever is left of it. Writes RUN/probe.json:

    {"version": 1, "step": int, "num_images": int, "clean_accuracy": float,
     "ops": [16 names], "accuracy": [16][10]}

Accuracies are fractions. A low one says that this network cannot tell the label, not
that nobody could: compare with runs that trained on the pair.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import data
from aaa_jax.augment import large_batch, ops
from aaa_jax.augment.magnitudes import NUM_MAGNITUDES
from aaa_jax.train import evaluate
from aaa_jax.trained import run as trained

VERSION = 1
FILE = "probe.json"
DRAWS_SEED = 0


class ProbeData(NamedTuple):
    """Images with the random numbers that every pair is applied with; a batch or many.

    Rows that fill up the last batch have the label -1. A partner is what SamplePairing
    mixes in: another image.
    """

    images: jax.Array  # uint8 [..., B, H, W, 3]
    labels: jax.Array  # int32 [..., B]
    partners: jax.Array  # uint8 [..., B, H, W, 3]
    draws: large_batch.OpDraws  # sign int32 [..., B] and centre int32 [..., B, 2]


def probe(run: trained.TrainedRun, split: data.Dataset) -> dict[str, Any]:
    """The content of ``probe.json``: a run's network and ranges on images."""
    batches = make_probe_data(split.images, split.labels)
    count = len(split.labels)
    count_pair = make_pair_counter(run)
    accuracy = [
        [
            float(count_pair(run.variables, batches, op, magnitude)) / count
            for magnitude in range(NUM_MAGNITUDES)
        ]
        for op in range(ops.NUM_SEARCH_OPS)
    ]
    clean = trained.make_counter(run)(split.images, split.labels)
    return {
        "version": VERSION,
        "step": run.step,
        "num_images": count,
        "clean_accuracy": clean / count,
        "ops": [op.name for op in ops.OPS[: ops.NUM_SEARCH_OPS]],
        "accuracy": accuracy,
    }


def make_pair_counter(run: trained.TrainedRun) -> Callable[..., jax.Array]:
    """A jitted function (variables, batches, op, magnitude) -> how many are right.

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


def make_probe_data(images: np.ndarray, labels: np.ndarray) -> ProbeData:
    """Batches of images with random numbers that are the same for every run.

    Args:
        images: uint8 [n, H, W, 3].
        labels: int [n].

    Returns:
        Leaves [batches, B, …]. A partner is another of the n images, if n > 1.
    """
    count, height, width = images.shape[:3]
    random = np.random.RandomState(DRAWS_SEED)  # its numbers never change
    step = random.randint(1, max(count, 2), count)
    partners = images[(np.arange(count) + step) % count]
    sign = random.choice(np.array([-1, 1], np.int32), count)
    center = random.randint(0, (height, width), (count, 2)).astype(np.int32)
    batches = evaluate.evaluation_data(
        images, labels, batch_size=trained.BATCH_SIZE, num_devices=1
    )
    places = np.resize(np.arange(count), batches.labels.shape)
    return ProbeData(
        images=jnp.asarray(batches.images),
        labels=jnp.asarray(batches.labels),
        partners=jnp.asarray(partners[places]),
        draws=large_batch.OpDraws(
            sign=jnp.asarray(sign[places]), center=jnp.asarray(center[places])
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Probes one run; exit code 2 and one line if it cannot."""
    parser = trained.make_parser("probe", __doc__)
    parser.add_argument("--images", type=int, default=500, help="test images (500)")
    options = parser.parse_args(argv)
    try:
        run = trained.load_run(options.run, data_dir=options.data_dir)
        images = trained.load_images(run, options.images)
        print(data.counted(images, run.spec.test_split))
        result = probe(run, images)
        trained.write_json(run, FILE, result)
    except trained.ERRORS as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
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
    worst = [f"{pair} {100 * value:.1f} %" for value, pair in sorted(pairs)[:5]]
    mean = np.mean(result["accuracy"])
    return (
        f"accuracy {100 * result['clean_accuracy']:.1f} % on {result['num_images']} "
        f"clean images, {100 * mean:.1f} % on the mean over the pairs; the lowest: "
        f"{', '.join(worst)}"
    )
