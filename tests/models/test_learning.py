"""Each family learns the handwritten digits with the optimiser of the trainer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from aaa_jax import models, objective
from aaa_jax.experiments import optimizer

BATCH, STEPS = 64, 200
# Small networks, and the side to which the 8 x 8 digits are enlarged.
CASES = {
    "wide_resnet": ({"depth": 10, "width": 1}, 16),
    "shake_shake": ({"depth": 8, "width": 16}, 16),
    "pyramidnet": ({"depth": 20, "widening": 24}, 16),
    "resnet": ({"depth": 14, "width": 16}, 32),
}


def digits(side):
    """Images float32 [1797, side, side, 3] of mean 0, and their labels."""
    data = load_digits()
    images = np.kron(data.images / 16 - 0.3, np.ones((side // 8, side // 8)))
    images = np.repeat(images[..., None], 3, -1).astype(np.float32)
    return images, data.target.astype(np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.MODELS)
def test_the_family_learns_the_digits(name):
    options, side = CASES[name]
    images, labels = digits(side)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1400], order[1400:]
    network = models.create(name, num_classes=10, bn_group_size=BATCH, **options)
    tx = optimizer.sgd(
        optimizer.learning_rate_schedule("cosine", 0.1, STEPS),
        weight_decay=5e-4,
        clip_norm=5.0,
    )
    key = jax.random.key(0)
    variables = jax.jit(lambda k: network.init(k, images[:1], train=False))(key)

    @jax.jit
    def step(variables, state, images, labels, key):
        def loss(params):
            logits, updates = network.apply(
                {**variables, "params": params},
                images,
                train=True,
                rows=jnp.arange(BATCH),
                rngs={"noise": key},
                mutable=["batch_stats"],
            )
            return objective.cross_entropy(logits, labels).mean(), updates

        gradients, updates = jax.grad(loss, has_aux=True)(variables["params"])
        moves, state = tx.update(gradients, state, variables["params"])
        params = optax.apply_updates(variables["params"], moves)
        return {"params": params, **updates}, state

    state = tx.init(variables["params"])
    generator = np.random.default_rng(1)
    for number in range(STEPS):
        batch = generator.choice(train, BATCH, replace=False)
        noise = jax.random.fold_in(key, number)
        variables, state = step(variables, state, images[batch], labels[batch], noise)
    evaluate = jax.jit(lambda v, x: network.apply(v, x, train=False).argmax(-1))
    errors = evaluate(variables, images[test]) != labels[test]
    assert errors.mean() < 0.05
