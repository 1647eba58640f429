"""Adversarial AutoAugment in a training loop of your own: plain Flax and JAX.

    python -m examples.own_loop --epochs=20

What mentions `aaa_jax` or `source` is this library's; network, optimiser and loop are
yours. The digits of scikit-learn need no download.
"""

import argparse

import flax.linen as nn
import jax
import jax.numpy as jnp

import aaa_jax
from aaa_jax import data

DIGITS = data.describe("digits")
first, second = nn.Conv(16, (3, 3), 2), nn.Conv(32, (3, 3), 2)
network = nn.Sequential([first, nn.relu, second, nn.relu, jnp.ravel, nn.Dense(10)])


def logits_of(params, images):
    """Images uint8 [B, 32, 32, 3] to logits [B, 10]."""
    floats = aaa_jax.normalize(images, DIGITS.mean, DIGITS.std)
    return jax.vmap(network.apply, in_axes=(None, 0))(params, floats)


@jax.jit
def train_step(params, key, policies, images, labels):
    """One step on the large batch of a mini-batch; the losses are [M]."""
    big = aaa_jax.large_batch(key, images, policies, fill=DIGITS.fill)  # [M, N, ...]

    def objective(params):
        logits = jax.vmap(logits_of, in_axes=(None, 0))(params, big)  # [M, N, 10]
        losses = aaa_jax.per_policy_losses(logits, labels)
        return losses.mean(), losses  # Eqs. 4 and 5

    (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    return jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient), losses


def main(command_line=None):
    """Train, and print the test error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=37, help="per epoch")
    chosen = parser.parse_args(command_line)
    train, test = data.load("digits", "train"), data.load("digits", "test")
    source = aaa_jax.adversarial_source(num_policies=4)
    sample, update = jax.jit(source.sample), jax.jit(source.update)
    state = source.init(jax.random.key(0))
    params = network.init(jax.random.key(1), jnp.zeros((32, 32, 3)))
    for epoch in range(chosen.epochs):
        key = jax.random.fold_in(jax.random.key(2), epoch)
        policies = sample(key, state, epoch / chosen.epochs)
        losses = []
        for step in range(chosen.steps):
            step_key = jax.random.fold_in(key, step)
            rows = jax.random.choice(step_key, len(train.labels), (32,), replace=False)
            batch = train.images[rows], train.labels[rows]
            params, of_policies = train_step(params, step_key, policies, *batch)
            losses.append(of_policies)
        mean = jnp.stack(losses).mean(axis=0)
        state, info = update(state, policies, aaa_jax.RoundOutcome(mean))
        shown = f"loss {mean.mean():.3f}, entropy of the ops {info['op_entropy']:.3f}"
        print(f"epoch {epoch}: {shown}")
    wrong = logits_of(params, test.images).argmax(-1) != test.labels
    print(f"test error {100 * wrong.mean():.2f} %")


if __name__ == "__main__":
    main()
