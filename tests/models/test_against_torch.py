"""Networks of the published sizes against plain PyTorch: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax import models
from tests.oracles.models_numpy import random_variables

pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install -r requirements-oracles.txt"
)

from benchmarks.train_step import torch_networks as nets
from tests.oracles import models_torch

BATCH, NUM_CLASSES = 4, 10
# float32 against double: 5e-7 for most networks; the last batch normalisation of the
# ResNets sees 36 values a channel here, some of them with a tiny variance.
VALUES = 2e-4
# Measured 1e-6 until a ReLU or a maximum whose inputs differ by rounding alone sends
# a gradient elsewhere; then up to 0.03. A wrong coefficient or stride is of order 1.
GRADIENTS = 0.06
# Our name and options; PyTorch's class and what it takes after the number of classes.
CASES = [
    ("wide_resnet", {"depth": 28, "width": 2}, nets.WideResNet, (28, 2)),
    ("shake_shake", {"depth": 26, "width": 32}, nets.ShakeShake, (26, 32)),
    ("pyramidnet", {"depth": 56, "widening": 40}, nets.PyramidNet, (56, 40)),
    ("resnet", {"depth": 50}, nets.ResNet, ((3, 4, 6, 3), "v1.5")),
    ("resnet", {"depth": 50, "variant": "d"}, nets.ResNet, ((3, 4, 6, 3), "d")),
]


def test_every_family_has_a_case():
    assert {name for name, *_ in CASES} == set(models.MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("name", "options", "torch_class", "sizes"), CASES)
def test_values_and_gradients_are_those_of_pytorch(
    name, options, torch_class, sizes, train, monkeypatch
):
    size = 96 if name == "resnet" else 32
    network = models.create(name, num_classes=NUM_CLASSES, **options)
    variables = random_variables(network)
    images = jax.random.normal(jax.random.key(1), (BATCH, size, size, 3))
    generator = np.random.default_rng(2)
    noise = jnp.asarray(generator.uniform(size=(BATCH, 90, 3)), jnp.float32)
    weights = jnp.asarray(generator.normal(size=(BATCH, NUM_CLASSES)), jnp.float32)
    for module in (models.shake_shake, models.pyramidnet):
        monkeypatch.setattr(module, "network_noise", lambda *_: noise)

    @jax.jit
    def pull(variables, images):
        def loss(images):
            logits, _ = network.apply(
                variables, images, train=train, mutable=["batch_stats"]
            )
            return (logits * weights).sum(), logits

        return jax.grad(loss, has_aux=True)(images)

    gradient, logits = pull(variables, images)
    oracle = models_torch.load(torch_class(NUM_CLASSES, *sizes), variables)
    expected = models_torch.logits_and_gradient(oracle, images, noise, weights, train)
    assert relative_error(logits, expected[0]) < VALUES
    assert relative_error(gradient, expected[1]) < GRADIENTS


def relative_error(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
