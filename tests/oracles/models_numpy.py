"""What the tests of the network families share.

Counting parameters, random variables, and the layers written in NumPy, in double.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from aaa_jax import models

# float32 against double over at most 17 normalised layers; logits are of size ~1:
ROUNDING = 1e-4


def shapes_of(network):
    images = jnp.zeros((1, 8, 8, 3))
    init = functools.partial(network.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), images)


def count(network):
    params = shapes_of(network)["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def random_variables(network):
    """Variables in which no scale is 1 and no bias, mean or variance is trivial."""
    generator = np.random.default_rng(0)

    def drawn(path, leaf):
        name = path[-1].key
        if name == "kernel":
            deviation = math.sqrt(1.5 / math.prod(leaf.shape[:-1]))
            values = deviation * generator.normal(size=leaf.shape)
        else:
            low, high = (0.6, 1.4) if name in ("scale", "var") else (-0.3, 0.3)
            values = generator.uniform(low, high, leaf.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes_of(network))


def double(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def check_forward_pass(name, options, size, numpy_forward, train):
    """Compares a network's logits with those of `numpy_forward(layers, x)`.

    Variables and images are random; there are four images of this size, in two groups.
    """
    network = models.create(name, num_classes=5, bn_group_size=2, **options)
    variables = random_variables(network)
    images = jax.random.normal(jax.random.key(1), (4, *size, 3))
    logits, _ = jax.jit(
        lambda v, x: network.apply(v, x, train=train, mutable=["batch_stats"])
    )(variables, images)
    layers = NumpyLayers(variables, network.bn_group_size if train else None)
    expected = numpy_forward(layers, double(images))
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(logits, expected, atol=ROUNDING)


class NumpyLayers:
    """The layers of a network on its variables; group_size None is evaluation."""

    def __init__(self, variables, group_size):
        self.params = double(variables["params"])
        self.stats = double(variables["batch_stats"])
        self.group_size = group_size

    def inside(self, name):
        part = NumpyLayers({"params": {}, "batch_stats": {}}, self.group_size)
        part.params, part.stats = self.params[name], self.stats[name]
        return part

    def conv(self, name, x, stride=1):
        """Padded by half the kernel on all sides, tap by tap."""
        kernel = self.params[name]["kernel"]
        size = kernel.shape[0]
        pad = size // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        height, width = x.shape[1:3]
        out = (len(x), -(-height // stride), -(-width // stride), kernel.shape[-1])
        y = np.zeros(out)
        for i in range(size):
            for j in range(size):
                tap = padded[:, i : i + height : stride, j : j + width : stride]
                y += tap @ kernel[i, j]
        return y

    def norm(self, name, x):
        if self.group_size is None:
            mean, var = self.stats[name]["mean"], self.stats[name]["var"]
        else:
            groups = x.reshape(-1, self.group_size, *x.shape[1:])
            mean, var = (
                np.repeat(statistic, self.group_size, 0)[:, None, None]
                for statistic in (groups.mean((1, 2, 3)), groups.var((1, 2, 3)))
            )
        unit = (x - mean) / np.sqrt(var + 1e-5)
        return unit * self.params[name]["scale"] + self.params[name]["bias"]

    def norm_relu(self, name, x):
        return relu(self.norm(name, x))

    def classifier(self, x):
        dense = self.params["classifier"]["dense"]
        return x.mean((1, 2)) @ dense["kernel"] + dense["bias"]


def relu(x):
    return np.maximum(x, 0)


def windows(x, size, pad, value):
    """The pixels of each window at stride 2, [B, h, w, size * size, C]."""
    height, width = -(-x.shape[1] // 2), -(-x.shape[2] // 2)
    far = size  # enough for any odd side
    padded = np.pad(x, ((0, 0), (pad, far), (pad, far), (0, 0)), constant_values=value)
    taps = [
        padded[:, i : i + 2 * height : 2, j : j + 2 * width : 2]
        for i in range(size)
        for j in range(size)
    ]
    return np.stack(taps, 3)


def average_pool(x):
    return np.nanmean(windows(x, 2, 0, np.nan), axis=3)


def max_pool(x):
    return windows(x, 3, 1, -np.inf).max(3)
