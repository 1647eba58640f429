"""What zeros in a config stand for."""

import pytest

from aaa_jax.experiments import sizes
from configs import default, digits, folder, imagenet_r50


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


@pytest.mark.parametrize(
    ("num_images", "batch_size", "epochs"),
    [
        (5, 5, 600),
        (48, 8, 100),
        (300, 64, 150),
        (1000, 128, 86),
        (50_000, 128, 60),
    ],
)
def test_mini_batch_and_epochs_follow_from_the_number_of_images(
    num_images, batch_size, epochs
):
    config = folder.get_config()
    filled = sizes.filled_in(config, num_images)
    assert (filled.batch_size, filled.epochs) == (batch_size, epochs)
    steps_per_epoch = num_images // batch_size
    rounds = steps_per_epoch * epochs // sizes.round_steps(filled, steps_per_epoch)
    assert rounds >= sizes.NUM_ROUNDS
    assert (config.batch_size, config.epochs) == (0, 0)
    config.batch_size, config.epochs = 4, 7
    assert sizes.filled_in(config, num_images) == config
