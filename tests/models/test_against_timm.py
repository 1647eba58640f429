"""ResNets against timm's, which others wrote: the same weights, the same logits."""

import types

import jax
import numpy as np
import pytest

from aaa_jax import models
from tests.oracles.models_numpy import random_variables

BATCH, NUM_CLASSES = 3, 10
# float32 against double, relative; a wrong stride is of order 1. By train: there the
# last norms of ResNet-200 see 12 values a channel, and timm's own float32 is 3e-3 off.
ROUNDING = {False: 2e-4, True: 0.01}
# timm's name: our options, blocks per stage, side of the images.
CASES = {
    "resnet50": ({"depth": 50}, (3, 4, 6, 3), 96),
    "resnet50d": ({"depth": 50, "variant": "d"}, (3, 4, 6, 3), 97),
    "resnet200": ({"depth": 200}, (3, 24, 36, 3), 64),
}


@pytest.fixture(scope="module")
def timm() -> types.ModuleType:
    install = "pip install -r requirements-oracles.txt"
    pytest.importorskip("torch", reason=f"PyTorch is not installed: {install}")
    try:
        import timm
    except Exception as error:
        reason = f"timm cannot be imported ({error}): {install}"
        pytest.skip(reason.replace("\n", " "))
    return timm


def names_of(variant: str, blocks: tuple[int, ...]) -> dict[str, str]:
    """Convolutions and norms: our name -> timm's."""
    names = {"stem_conv1": "conv1", "stem_norm1": "bn1"}
    shortcut = {"shortcut_conv": "0", "shortcut_norm": "1"}
    if variant == "d":
        names = {f"stem_conv{i + 1}": f"conv1.{3 * i}" for i in range(3)}
        names |= {"stem_norm1": "conv1.1", "stem_norm2": "conv1.4", "stem_norm3": "bn1"}
        shortcut = {"shortcut_conv": "1", "shortcut_norm": "2"}
    for stage, number in enumerate(blocks, start=1):
        for block in range(number):
            ours, theirs = f"stage{stage}_block{block + 1}", f"layer{stage}.{block}"
            for i in (1, 2, 3):
                names[f"{ours}.conv{i}"] = f"{theirs}.conv{i}"
                names[f"{ours}.norm{i}"] = f"{theirs}.bn{i}"
            if block == 0:
                for name, place in shortcut.items():
                    names[f"{ours}.{name}"] = f"{theirs}.downsample.{place}"
    return names | {"classifier.dense": "fc"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_timm(name, timm) -> None:
    import torch

    from tests.oracles import models_torch

    options, blocks, side = CASES[name]
    network = models.create("resnet", num_classes=NUM_CLASSES, **options)
    variables = random_variables(network)
    oracle = models_torch.load(
        timm.create_model(name, num_classes=NUM_CLASSES),
        variables,
        names_of(options.get("variant", ""), blocks),
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
