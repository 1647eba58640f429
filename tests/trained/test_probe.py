"""The probe against Pillow and NumPy: every pair alone, on equal images and draws."""

import jax
import numpy as np

from aaa_jax.augment import ops
from aaa_jax.augment.magnitudes import range_table
from aaa_jax.trained import probe
from aaa_jax.trained import run as trained
from tests.oracles import pillow_ops
from tests.oracles.by_hand import (
    COUNT,
    NUM_CLASSES,
    SIDE,
    make_run,
    make_split,
    numpy_answers,
)


def expected_accuracy(run, split, batches) -> list[list[float]]:
    """Pillow applies each pair to each image, NumPy asks the network."""

    def rows(values):
        return np.asarray(values).reshape(-1, *np.shape(values)[2:])[:COUNT]

    partners = rows(batches.partners)
    sign, center = rows(batches.draws.sign), rows(batches.draws.center)
    table = []
    for op in ops.OPS[: ops.NUM_SEARCH_OPS]:
        table.append([])
        for magnitude in range(10):
            changed = []
            for i, image in enumerate(split.images):
                value = range_table(run.ranges).value(
                    op.name, magnitude, int(sign[i]), SIDE, SIDE
                )
                changed.append(
                    pillow_ops.pillow_op(
                        image, op.name, value, tuple(center[i]), partners[i], run.fill
                    )
                )
            right = numpy_answers(run, np.stack(changed)) == split.labels
            table[-1].append(right.mean())
    return table


def test_every_pair_has_the_accuracy_that_pillow_and_numpy_find(monkeypatch):
    monkeypatch.setattr(trained, "BATCH_SIZE", 10)  # three batches, the last not full
    programs = []
    make = probe.make_pair_counter
    monkeypatch.setattr(
        probe,
        "make_pair_counter",
        lambda run: programs.append(make(run)) or programs[0],
    )
    run, split = make_run("autoaugment"), make_split()  # not the default's
    # The labels are what the network says of the clean images except for two.
    labels = numpy_answers(run, split.images).astype(np.int32)
    labels[:2] = (labels[:2] + 1) % NUM_CLASSES
    split = split._replace(labels=labels)
    result = probe.probe(run, split)
    batches = probe.make_probe_data(split.images, split.labels)
    expected = expected_accuracy(run, split, batches)
    np.testing.assert_allclose(result["accuracy"], expected, rtol=1e-12)
    assert len({value for row in expected for value in row}) > 5
    assert result["clean_accuracy"] == (COUNT - 2) / COUNT
    assert result["ops"] == [op.name for op in ops.OPS[:16]]
    assert (result["version"], result["step"]) == (1, 7)
    assert result["num_images"] == COUNT
    assert programs[0]._cache_size() == 1  # one compilation served all 160


def test_draws_are_fixed_and_no_image_is_its_own_partner():
    split = make_split()
    images = np.arange(COUNT, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (COUNT, 4, 4, 3))
    first, second = (probe.make_probe_data(images, split.labels) for _ in range(2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.any(np.asarray(first.partners) == images[None])
    assert set(np.unique(first.draws.sign)) == {-1, 1}
