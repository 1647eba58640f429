"""The PyTorch networks of the benchmark, with the weights of ours.

Everything is in double: the rounding is ours alone.
"""

import jax
import numpy as np
import torch

NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def load(network, variables):
    """Gives the network our variables; every one must have its place, and no other."""
    state = {}
    for collection in variables.values():
        for path, leaf in jax.tree_util.tree_flatten_with_path(collection)[0]:
            *parts, name = [part.key for part in path]
            module = ".".join(parts)
            value = np.asarray(leaf, np.float64)
            if name == "kernel":
                value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
            state[f"{module}.{NAMES[name]}"] = torch.tensor(value)
    counters = {k: v for k, v in network.state_dict().items() if "num_batches" in k}
    network.double().load_state_dict({**state, **counters}, strict=True)
    return network


def logits_and_gradient(network, images, noise, weights, train):
    """Of the sum of logits * weights with respect to the images, NHWC."""
    x = torch.tensor(np.asarray(images, np.float64).transpose(0, 3, 1, 2))
    x.requires_grad_(True)
    network.train(train)
    logits = network(x, torch.tensor(np.asarray(noise, np.float64)))
    (logits * torch.tensor(np.asarray(weights, np.float64))).sum().backward()
    return logits.detach().numpy(), x.grad.numpy().transpose(0, 2, 3, 1)
