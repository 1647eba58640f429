"""PyramidNet: counts, the forward pass against NumPy, the schedule of the gates."""

from fractions import Fraction
from math import floor

import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax import models
from aaa_jax.models import pyramidnet as module
from tests.oracles.models_numpy import average_pool, check_forward_pass, count

pytestmark = pytest.mark.usefixtures("light_compiler")


def channels_of(depth, widening):
    """16 + widening * k / L, rounded, by exact fractions."""
    layers = (depth - 2) // 3
    return [
        floor(16 + Fraction(widening * k, layers) + Fraction(1, 2))
        for k in range(1, layers + 1)
    ]


def formula(depth, widening, num_classes):
    """Parameters of convolutions and classifier, and those of the normalisation."""
    layers, norms, wide = 3 * 9 * 16, 2 * 16, 16
    for narrow in channels_of(depth, widening):
        layers += wide * narrow + 9 * narrow**2 + 4 * narrow**2
        norms += 2 * (wide + narrow + narrow + 4 * narrow)
        wide = 4 * narrow
    return layers + (wide + 1) * num_classes, norms + 2 * wide


@pytest.mark.parametrize(
    ("depth", "widening", "num_classes", "millions"),
    # Han et al. give 26.0 million, which is the count without the normalisation.
    [(272, 200, 10, 26.0), (29, 31, 4, None)],
)
def test_the_number_of_parameters_follows_the_formula(
    depth, widening, num_classes, millions
):
    layers, norms = formula(depth, widening, num_classes)
    assert millions in (None, round(layers / 1e6, 1))
    network = models.create(
        "pyramidnet", num_classes=num_classes, depth=depth, widening=widening
    )
    assert count(network) == layers + norms


def numpy_pyramidnet(layers, x, depth, factors):
    """factors [layers, B] scale the residual branches."""
    x = layers.norm("norm1", layers.conv("stem", x))
    blocks = (depth - 2) // 9
    for layer in range(3 * blocks):
        stage, index = divmod(layer, blocks)
        block = layers.inside(f"stage{stage + 1}_block{index + 1}")
        stride = 2 if stage > 0 and index == 0 else 1
        y = block.conv("conv1", block.norm("norm1", x))
        y = block.conv("conv2", block.norm_relu("norm2", y), stride)
        y = block.conv("conv3", block.norm_relu("norm3", y))
        y = block.norm("norm4", y) * factors[layer][:, None, None, None]
        if stride == 2:
            x = average_pool(x)
        y[..., : x.shape[-1]] += x
        x = y
    return layers.classifier(layers.norm_relu("norm2", x))


@pytest.mark.parametrize("train", [False, True])
def test_the_forward_pass_is_the_one_written_in_numpy(train, monkeypatch):
    depth, batch, gate = 20, 4, 0.4
    noise = np.random.default_rng(2).uniform(size=(batch, 6, 3)).astype(np.float32)
    monkeypatch.setattr(module, "network_noise", lambda *_: jnp.asarray(noise))
    gates = 1 - np.arange(1, 7)[:, None] / 6 * (1 - gate)
    kept, shake = gates > noise[:, :, 0].T, 2 * noise[:, :, 1].T - 1
    assert 0 < kept.sum() < kept.size
    factors = np.where(kept, 1, shake) if train else np.tile(gates, (1, batch))

    def numpy_forward(layers, x):
        return numpy_pyramidnet(layers, x, depth, factors)

    options = {"depth": depth, "widening": 11, "last_gate": gate}
    check_forward_pass("pyramidnet", options, (11, 8), numpy_forward, train)
