"""Adversarial AutoAugment in a training loop of your own: plain JAX, no framework.

    python -m examples.own_loop --epochs=20

What mentions `aaa_jax` or `source` is this library's; network, optimiser and loop are
yours. The digits of scikit-learn need no download.
"""

import argparse

import jax
import jax.numpy as jnp

import aaa_jax
from aaa_jax import data
from aaa_jax.standard import normalize

DIGITS = data.describe("digits")
CONVOLUTION = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def init_network(key: jax.Array) -> dict[str, jax.Array]:
    """Two convolutions and a dense layer."""
    shapes = {"first": (3, 3, 3, 16), "second": (3, 3, 16, 32), "last": (2048, 10)}
    keys = jax.random.split(key, len(shapes))
    make = jax.nn.initializers.he_normal()
    return {n: make(k, s) for k, (n, s) in zip(keys, shapes.items(), strict=True)}


def network(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """Images uint8 [B, 32, 32, 3] to logits [B, 10]."""
    x = normalize(images, DIGITS.mean, DIGITS.std)
    for name in ("first", "second"):
        x = jax.lax.conv_general_dilated(x, params[name], (2, 2), **CONVOLUTION)
        x = jax.nn.relu(x)
    return x.reshape(len(x), -1) @ params["last"]


@jax.jit
def train_step(params, key, policies, images, labels):
    """One step on the large batch of a mini-batch; the losses are [M]."""
    big = aaa_jax.large_batch(key, images, policies, fill=DIGITS.fill)  # [M, N, ...]

    def objective(params):
        logits = network(params, big.reshape(-1, *images.shape[1:]))
        losses = aaa_jax.per_policy_losses(logits.reshape(*big.shape[:2], -1), labels)
        return losses.mean(), losses  # Eqs. 4 and 5

    (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    return jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient), losses


def train(
    epochs: int, steps: int, num_policies: int = 4, batch_size: int = 32
) -> float:
    """The share of wrong test images after training; at most `steps` steps an epoch."""
    train_set, test_set = data.load("digits", "train"), data.load("digits", "test")
    images, labels = jnp.asarray(train_set.images), jnp.asarray(train_set.labels)
    source = aaa_jax.adversarial_source(num_policies=num_policies)
    state, params = source.init(jax.random.key(0)), init_network(jax.random.key(1))
    sample, update = jax.jit(source.sample), jax.jit(source.update)
    for epoch in range(epochs):
        key = jax.random.fold_in(jax.random.key(2), epoch)
        policies = sample(key, state, epoch / epochs)
        order = jax.random.permutation(jax.random.fold_in(key, 1), len(labels))
        total = jnp.zeros(num_policies)
        for step in range(min(steps, len(labels) // batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            step_key = jax.random.fold_in(key, 2 + step)
            batch = images[rows], labels[rows]
            params, losses = train_step(params, step_key, policies, *batch)
            total += losses
        state, info = update(state, policies, total / (step + 1))
        loss, entropy = float(total.mean() / (step + 1)), float(info["op_entropy"])
        print(f"epoch {epoch}: loss {loss:.3f}, entropy of the ops {entropy:.3f}")
    predicted = network(params, jnp.asarray(test_set.images)).argmax(-1)
    return float((predicted != test_set.labels).mean())


def main(command_line: list[str] | None = None) -> None:
    """Train and print the test error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10**6, help="at most, per epoch")
    arguments = parser.parse_args(command_line)
    print(f"test error {100 * train(arguments.epochs, arguments.steps):.2f} %")


if __name__ == "__main__":
    main()
