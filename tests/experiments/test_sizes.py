"""What zeros in a config stand for, and the memory of a step by estimate."""

import types

import jax
import jax.numpy as jnp
import optax
import pytest

from aaa_jax import models
from aaa_jax.augment import batch_layout
from aaa_jax.experiments import sizes
from aaa_jax.train import step
from configs import default, digits, imagenet_r50

GIB = 2**30


@pytest.mark.parametrize(
    ("batch_size", "loader", "rows"),
    [
        (128, "resident", 128),
        (2048, "stream", 256),
        (2048, "resident", 128),
        (16, "stream", 16),
        (300, "resident", 100),  # the largest divisor up to 128
        (257, "stream", 1),
    ],
)
def test_a_group_is_a_mini_batch_but_no_larger_than_the_papers(
    batch_size, loader, rows
):
    config = default.get_config()
    config.batch_size = batch_size
    assert sizes.layout(config, loader).rows_per_group == rows
    config.batch_norm.group_size = batch_size
    assert sizes.layout(config, loader).rows_per_group == batch_size


def test_before_the_data_are_opened_the_loader_is_that_of_the_table():
    assert sizes.layout(imagenet_r50.get_config()).rows_per_group == 256
    config = digits.get_config()
    config.batch_size = 256
    assert sizes.layout(config).rows_per_group == 128
    config.data.loader = "stream"
    assert sizes.layout(config).rows_per_group == 256
    config.data.loader, config.data.name = "auto", "folder:somewhere"
    assert sizes.layout(config).rows_per_group == 256


@pytest.mark.parametrize(
    ("given", "epochs", "steps"),
    [(0, 30, 390), (7, 30, 7), (-1, 30, 58), (-1, 200, 390), (-1, 1, 1)],
)
def test_an_automatic_round_is_short_enough_for_200_updates(given, epochs, steps):
    config = default.get_config()
    config.policies.round_steps, config.epochs = given, epochs
    assert sizes.round_steps(config, 390) == steps
    if given == -1 and epochs > 1:
        assert 390 * epochs // steps >= sizes.NUM_ROUNDS


def test_as_many_devices_as_can_share_the_groups_are_used():
    found = [sizes.sharing_devices(8, count) for count in (1, 2, 3, 4, 6, 8, 64)]
    assert found == [1, 2, 2, 4, 4, 8, 8]
    assert sizes.sharing_devices(64, 64) == 64


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
    found = sizes.fewest_passes(
        layout, _gpu(gib), devices, lambda rows: (2 + 0.01 * rows) * GIB
    )
    assert found == passes


def test_a_pass_on_a_cpu_is_one_group_but_no_small_one():
    def passes(batch_size, group_size):
        layout = batch_layout.group_layout(batch_size, 8, group_size)
        return sizes.fewest_passes(layout, jax.devices("cpu")[0], 1, lambda rows: 0.0)

    assert passes(128, 128) == 8
    assert passes(16, 16) == 2
    assert passes(4, 4) == 1  # all rows are fewer than a pass should have


def test_more_passes_are_at_least_twice_as_many_and_divide_the_groups():
    layout = batch_layout.group_layout(128, 6, 128)
    found = [sizes.more_passes(layout, 1, passes) for passes in (1, 2, 3, 6)]
    assert found == [2, 6, 6, None]
    assert sizes.more_passes(layout, 3, 1) == 2


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
    bytes_of = sizes.step_bytes(model, state, (side, side, 3), group, 0, rows)
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
