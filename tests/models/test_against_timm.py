"""ResNets against timm's, which others wrote: the same weights, the same logits."""

import re

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from aaa_jax import models
from aaa_jax.models import timm_layout
from tests.oracles.models_numpy import random_variables
from tests.oracles.timm_here import require_timm

BATCH, NUM_CLASSES = 3, 10
# float32 against double, relative; a wrong stride is of order 1. By train: there the
# last norms of ResNet-200 see 12 values a channel, and timm's own float32 is 3e-3 off.
ROUNDING = {False: 2e-4, True: 0.01}
# timm's name: our options, side of the images.
CASES = {
    "resnet50": ({"depth": 50}, 96),
    "resnet50d": ({"depth": 50, "variant": "d"}, 97),
    "resnet200": ({"depth": 200}, 64),
    "resnetv2_50": ({"depth": 50, "variant": "pre_activation"}, 96),
}


def state_of(leaves: dict[str, np.ndarray], variant: str) -> dict[str, np.ndarray]:
    """Variables under timm's names; pre-activation's are of timm's other ResNets."""
    if variant != "pre_activation":
        return timm_layout.to_timm(leaves, variant)
    names = {"conv1": "stem.conv", "last_norm": "norm", "fc": "head.fc"}
    state = {}
    for name, leaf in timm_layout.to_timm(leaves, variant).items():
        module, weight = name.rsplit(".", 1)
        module = re.sub(
            r"layer(\d)\.(\d+)\.(\w+)",
            lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}.{m[3]}",
            module.replace("downsample.0", "downsample_conv").replace(".bn", ".norm"),
        ).replace("downsample_conv", "downsample.conv")
        is_head = module == "fc" and leaf.ndim == 2  # which is a 1x1 convolution there
        key = f"{names.get(module, module)}.{weight}"
        state[key] = leaf[:, :, None, None] if is_head else leaf
    return state


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_timm(name) -> None:
    timm = require_timm()
    import torch

    options, side = CASES[name]
    network = models.create("resnet", num_classes=NUM_CLASSES, **options)
    variables = random_variables(network)
    leaves = {k: np.asarray(v) for k, v in flatten_dict(variables, sep=".").items()}
    state = state_of(leaves, options.get("variant", "v1.5"))
    oracle = timm.create_model(name, num_classes=NUM_CLASSES).double()
    oracle.load_state_dict(
        {k: torch.tensor(np.ascontiguousarray(v)) for k, v in state.items()}
    )
    images = jax.random.normal(jax.random.key(1), (BATCH, side, side, 3))
    for train in (False, True):
        ours, _ = network.apply(variables, images, train=train, mutable=["batch_stats"])
        oracle.train(train)
        with torch.no_grad():
            nchw = np.asarray(images, np.float64).transpose(0, 3, 1, 2)
            theirs = oracle(torch.tensor(nchw)).numpy()
        difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert difference < ROUNDING[train], (train, difference)
