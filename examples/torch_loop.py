"""Adversarial AutoAugment around a PyTorch network; arrays change hands by DLPack.

    python -m examples.torch_loop --epochs=20

Policies and augmentation are JAX's, on the same device without a copy.
"""

import argparse

import jax
import jax.numpy as jnp
import torch

import aaa_jax
from aaa_jax import data

DIGITS = data.describe("digits")


def logits_of(network, images):
    """Images uint8 [B, 32, 32, 3] of JAX to logits [B, 10] of PyTorch."""
    floats = aaa_jax.normalize(images, DIGITS.mean, DIGITS.std)
    return network(torch.from_dlpack(floats).permute(0, 3, 1, 2))


def train_step(network, optimizer, key, policies, images, labels):
    """One step on the large batch of a mini-batch; the losses are JAX's [M]."""
    big = aaa_jax.large_batch(key, images, policies, fill=DIGITS.fill)  # [M, N, ...]
    logits = logits_of(network, big.reshape(-1, *images.shape[1:]))
    of_row = torch.as_tensor(labels).long().repeat(len(big))
    losses = torch.nn.functional.cross_entropy(logits, of_row, reduction="none")
    losses = losses.reshape(len(big), -1).mean(dim=1)
    optimizer.zero_grad()
    losses.mean().backward()  # Eqs. 4 and 5
    optimizer.step()
    return jnp.from_dlpack(losses.detach())


def main(command_line=None):
    """Train, and print the test error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=37, help="per epoch")
    chosen = parser.parse_args(command_line)
    train, test = data.load("digits", "train"), data.load("digits", "test")
    source = aaa_jax.adversarial_source(num_policies=4)
    state = source.init(jax.random.key(0))
    torch.manual_seed(1)
    nn = torch.nn
    layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 32, 10))
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
    for epoch in range(chosen.epochs):
        key = jax.random.fold_in(jax.random.key(2), epoch)
        policies = source.sample(key, state, epoch / chosen.epochs)
        losses = []
        for step in range(chosen.steps):
            step_key = jax.random.fold_in(key, step)
            rows = jax.random.choice(step_key, len(train.labels), (32,), replace=False)
            images, labels = train.images[rows], train.labels[rows]
            losses.append(
                train_step(network, optimizer, step_key, policies, images, labels)
            )
        mean = jnp.stack(losses).mean(axis=0)
        state, _ = source.update(state, policies, aaa_jax.RoundOutcome(mean))
        print(f"epoch {epoch}: loss {mean.mean():.3f}")
    found = logits_of(network, test.images).argmax(dim=1).numpy()
    print(f"test error {100 * (found != test.labels).mean():.2f} %")


if __name__ == "__main__":
    main()
