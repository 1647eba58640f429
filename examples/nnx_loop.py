"""Adversarial AutoAugment around an NNX network and an optimiser of optax.

python -m examples.nnx_loop --epochs=20
"""

import argparse

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import aaa_jax
from aaa_jax import data

DIGITS = data.describe("digits")


class Network(nnx.Module):
    """Two convolutions and a linear layer: uint8 [B, 32, 32, 3] to logits [B, 10]."""

    def __init__(self, rngs):
        """Draws the parameters."""
        self.first = nnx.Conv(3, 16, (3, 3), 2, rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), 2, rngs=rngs)
        self.last = nnx.Linear(8 * 8 * 32, 10, rngs=rngs)

    def __call__(self, images):
        """The logits."""
        x = aaa_jax.normalize(images, DIGITS.mean, DIGITS.std)
        x = nnx.relu(self.second(nnx.relu(self.first(x))))
        return self.last(x.reshape(len(x), -1))


@nnx.jit
def train_step(network, optimizer, key, policies, images, labels):
    """One step on the large batch of a mini-batch; the losses are [M]."""
    big = aaa_jax.large_batch(key, images, policies, fill=DIGITS.fill)  # [M, N, ...]

    def objective(network):
        logits = network(big.reshape(-1, *images.shape[1:]))
        losses = aaa_jax.per_policy_losses(logits.reshape(*big.shape[:2], 10), labels)
        return losses.mean(), losses  # Eqs. 4 and 5

    (_, losses), gradient = nnx.value_and_grad(objective, has_aux=True)(network)
    optimizer.update(network, gradient)
    return losses


def main(command_line=None):
    """Train, and print the test error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=37, help="per epoch")
    chosen = parser.parse_args(command_line)
    train, test = data.load("digits", "train"), data.load("digits", "test")
    source = aaa_jax.adversarial_source(num_policies=4)
    state = source.init(jax.random.key(0))
    network = Network(nnx.Rngs(1))
    optimizer = nnx.Optimizer(network, optax.sgd(0.02, momentum=0.9), wrt=nnx.Param)
    for epoch in range(chosen.epochs):
        key = jax.random.fold_in(jax.random.key(2), epoch)
        policies = source.sample(key, state, epoch / chosen.epochs)
        losses = []
        for step in range(chosen.steps):
            step_key = jax.random.fold_in(key, step)
            rows = jax.random.choice(step_key, len(train.labels), (32,), replace=False)
            batch = train.images[rows], train.labels[rows]
            losses.append(train_step(network, optimizer, step_key, policies, *batch))
        mean = jnp.stack(losses).mean(axis=0)
        state, _ = source.update(state, policies, aaa_jax.RoundOutcome(mean))
        print(f"epoch {epoch}: loss {mean.mean():.3f}")
    wrong = network(test.images).argmax(-1) != test.labels
    print(f"test error {100 * wrong.mean():.2f} %")


if __name__ == "__main__":
    main()
