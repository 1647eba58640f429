"""Shake-Shake: the forward pass against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.models import shake_shake as module
from tests.oracles.models_numpy import check_forward_pass, relu

pytestmark = pytest.mark.usefixtures("light_compiler")


def numpy_shortcut(block, x, stride):
    """The second path sees the pixel above and to the left, zero outside."""
    x = relu(x)
    shifted = np.zeros_like(x)
    shifted[:, 1:, 1:] = x[:, :-1, :-1]
    paths = [
        block.conv("shortcut_conv1", x, stride),
        block.conv("shortcut_conv2", shifted, stride),
    ]
    return block.norm("shortcut_norm", np.concatenate(paths, -1))


def numpy_shake_shake(layers, x, depth, forward):
    """forward [layers, B] is the weight of branch 1; that of branch 2 is the rest."""
    x = layers.norm("norm", layers.conv("stem", x))
    blocks = (depth - 2) // 6
    for layer in range(3 * blocks):
        stage, index = divmod(layer, blocks)
        block = layers.inside(f"stage{stage + 1}_block{index + 1}")
        stride = 2 if stage > 0 and index == 0 else 1
        branches = []
        for name in ("branch1", "branch2"):
            y = block.norm_relu(
                f"{name}_norm1", block.conv(f"{name}_conv1", relu(x), stride)
            )
            branches.append(block.norm(f"{name}_norm2", block.conv(f"{name}_conv2", y)))
        a = forward[layer][:, None, None, None]
        if "shortcut_conv1" in block.params:
            x = numpy_shortcut(block, x, stride)
        x = x + a * branches[0] + (1 - a) * branches[1]
    return layers.classifier(relu(x))


@pytest.mark.parametrize("train", [False, True])
def test_the_forward_pass_is_the_one_written_in_numpy(train, monkeypatch):
    depth, batch = 14, 4
    noise = np.random.default_rng(2).uniform(size=(batch, 6, 2)).astype(np.float32)
    monkeypatch.setattr(module, "network_noise", lambda *_: jnp.asarray(noise))
    forward = noise[:, :, 0].T if train else np.full((6, batch), 0.5)

    def numpy_forward(layers, x):
        return numpy_shake_shake(layers, x, depth, forward)

    options = {"depth": depth, "width": 4}
    check_forward_pass("shake_shake", options, (11, 8), numpy_forward, train)
