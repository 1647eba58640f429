"""Evaluation counts every test image exactly once, wherever it lies."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.runtime import devices
from aaa_jax.train import evaluate

pytestmark = pytest.mark.usefixtures("light_compiler")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
NUM_CLASSES = 7


class Linear(nn.Module):
    """Logits = flattened pixels times a matrix."""

    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(NUM_CLASSES)(images.reshape(images.shape[0], -1))


def _split(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return images, rng.integers(0, NUM_CLASSES, count).astype(np.int32)


def _expected(variables, images, labels) -> dict[str, float]:
    """Errors and loss in NumPy, double."""
    x = ((images / 255 - MEAN) / STD).reshape(len(images), -1)
    layer = variables["params"]["Dense_0"]
    logits = x @ np.asarray(layer["kernel"], np.float64)
    logits = logits + np.asarray(layer["bias"])
    order = np.argsort(-logits, axis=1)
    hit = order == labels[:, None]
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1))
    loss = log_sum + logits.max(1) - logits[np.arange(len(labels)), labels]
    return {
        "test_error": 100 * (1 - hit[:, 0].mean()),
        "test_top5_error": 100 * (1 - hit[:, :5].any(1).mean()),
        "test_loss": loss.mean(),
        "test_images": len(labels),
    }


def _measured(variables, images, labels, batch_size, num_devices, mapping):
    used = devices.pick_devices(num_devices)
    test = evaluate.evaluation_data(
        images, labels, batch_size=batch_size, num_devices=num_devices
    )
    own = functools.partial(evaluate.eval_step, model=Linear(), mean=MEAN, std=STD)
    step = devices.map_over_devices(
        functools.partial(own, num_devices=num_devices), used, mapping
    )
    variables, test = devices.replicate((variables, test), used)
    sums = [step(variables, test, np.int32(k)) for k in range(len(test.labels))]
    return evaluate.error_rates(jax.device_get(sums), NUM_CLASSES)


@pytest.mark.parametrize(
    ("count", "batch_size", "num_devices", "mapping"),
    [
        (23, 8, 1, "jit"),
        (23, 10, 4, "pmap"),
        (23, 1000, 4, "shard_map"),
        (3, 2, 4, "pmap"),
        (16, 8, 2, "pmap"),
    ],
)
def test_every_image_counts_once(count, batch_size, num_devices, mapping):
    images, labels = _split(count)
    variables = Linear().init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    measured = _measured(variables, images, labels, batch_size, num_devices, mapping)
    expected = _expected(variables, images, labels)
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(measured[name], value, rtol=1e-5)


def test_padding_is_only_what_whole_batches_need():
    images, labels = _split(23)
    test = evaluate.evaluation_data(images, labels, batch_size=7, num_devices=4)
    assert test.labels.shape == (3, 8)
    assert np.sum(np.asarray(test.labels) >= 0) == 23
    np.testing.assert_array_equal(np.asarray(test.labels).reshape(-1)[:23], labels)


def test_constant_and_broken_logits_are_no_success():
    labels = jnp.zeros(4, jnp.int32)
    for logits in (jnp.zeros((4, 3)), jnp.full((4, 3), jnp.nan)):
        assert int(evaluate.batch_sums(logits, labels)["top1"]) == 0


def test_top_5_is_given_only_where_it_means_something():
    sums = [{"count": 2, "top1": 1, "top5": 2, "loss": 1.0}]
    assert "test_top5_error" not in evaluate.error_rates(sums, 5)
    assert evaluate.error_rates(sums, 6)["test_top5_error"] == 0.0
