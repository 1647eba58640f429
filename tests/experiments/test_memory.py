"""The memory of a step by estimate, and the passes that fit a device."""

import types

import jax
import jax.numpy as jnp
import optax
import pytest

from aaa_jax import models
from aaa_jax.augment import batch_layout
from aaa_jax.experiments import memory
from aaa_jax.train import step

GIB = 2**30


def _gpu(gib: float) -> types.SimpleNamespace:
    stats = {"bytes_limit": gib * GIB}
    return types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)


@pytest.mark.parametrize(
    ("gib", "devices", "passes"),
    [(60, 1, 1), (20, 1, 1), (11, 1, 2), (6, 1, 4), (1, 1, 8), (6, 2, 2), (6, 8, 1)],
)
def test_passes_are_the_fewest_that_fit_the_device(gib, devices, passes):
    """Eight groups of 128 rows, at 2 GiB and 0.01 GiB a row."""
    layout = batch_layout.group_layout(128, 8, 128)
    found = memory.fewest_passes(
        layout, _gpu(gib), devices, lambda rows: (2 + 0.01 * rows) * GIB
    )
    assert found == passes


def test_a_pass_on_a_cpu_is_one_group_but_no_small_one():
    def passes(batch_size, group_size):
        layout = batch_layout.group_layout(batch_size, 8, group_size)
        return memory.fewest_passes(layout, jax.devices("cpu")[0], 1, lambda rows: 0.0)

    assert passes(128, 128) == 8
    assert passes(16, 16) == 2
    assert passes(4, 4) == 1  # all rows are fewer than a pass should have


def test_more_passes_are_at_least_twice_as_many_and_divide_the_groups():
    layout = batch_layout.group_layout(128, 6, 128)
    found = [memory.more_passes(layout, 1, passes) for passes in (1, 2, 3, 6)]
    assert found == [2, 6, 6, None]
    assert memory.more_passes(layout, 3, 1) == 2


def _estimate(name: str, side: int, rows: int, group: int, **options) -> float:
    """GiB of a step of M = 8 in bfloat16."""
    model = models.create(
        name, num_classes=10, dtype=jnp.bfloat16, bn_group_size=group, **options
    )
    tx = optax.sgd(0.1, momentum=0.9)
    state = jax.eval_shape(
        lambda key: step.init_train_state(key, model, tx, (side, side, 3), 8),
        jax.random.key(0),
    )
    bytes_of = memory.step_bytes(model, state, (side, side, 3), group, 0, rows)
    return bytes_of(rows) / GIB


def test_an_estimate_grows_with_the_rows_and_with_the_network():
    small = {"depth": 10, "width": 1}
    half, whole = (_estimate("wide_resnet", 32, n, 64, **small) for n in (512, 1024))
    assert 1.9 < whole / half < 2.1
    wide = _estimate("wide_resnet", 32, 1024, 64, depth=10, width=4)
    assert wide > 2 * whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "side", "rows", "planned"),
    [
        ("wide_resnet", {"depth": 40, "width": 2}, 32, 1024, 2.9),
        ("wide_resnet", {"depth": 28, "width": 10}, 32, 1024, 9.3),
        ("shake_shake", {"depth": 26, "width": 96}, 32, 1024, 11.4),
        ("resnet", {"depth": 50}, 224, 1024, 42.6),
        ("resnet", {"depth": 200}, 224, 256, 31.2),
    ],
)
def test_estimates_are_a_little_above_xlas_plans(name, options, side, rows, planned):
    """The plans of docs/memory.md: an estimate below would run out of memory."""
    found = _estimate(name, side, rows, 128 if side == 32 else 256, **options)
    assert planned < found < 1.45 * planned
