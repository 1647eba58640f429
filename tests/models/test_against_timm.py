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
    """Convolutions and norms: timm's name -> ours."""
    stem = {"conv1": "stem_conv1", "bn1": "stem_norm1"}
    shortcut = {"0": "shortcut_conv", "1": "shortcut_norm"}
    if variant == "d":
        stem = {f"conv1.{3 * i}": f"stem_conv{i + 1}" for i in range(3)}
        stem |= {"conv1.1": "stem_norm1", "conv1.4": "stem_norm2", "bn1": "stem_norm3"}
        shortcut = {"1": "shortcut_conv", "2": "shortcut_norm"}
    names = stem
    for stage, number in enumerate(blocks, start=1):
        for block in range(number):
            theirs, ours = f"layer{stage}.{block}", f"stage{stage}_block{block + 1}/"
            for i in (1, 2, 3):
                names[f"{theirs}.conv{i}"] = f"{ours}conv{i}"
                names[f"{theirs}.bn{i}"] = f"{ours}norm{i}"
            if block == 0:
                for place, name in shortcut.items():
                    names[f"{theirs}.downsample.{place}"] = ours + name
    return names | {"fc": "classifier/dense"}


def state_of(variables, names) -> dict[str, np.ndarray]:
    """Our variables under timm's names and in PyTorch's layout, in double."""
    fields = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    fields |= {"mean": "running_mean", "var": "running_var"}
    theirs_of = {ours: theirs for theirs, ours in names.items()}
    state = {}
    for collection in variables.values():
        for path, leaf in jax.tree_util.tree_flatten_with_path(collection)[0]:
            *module, name = [part.key for part in path]
            value = np.asarray(leaf, np.float64)
            if name == "kernel":
                value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
            state[f"{theirs_of['/'.join(module)]}.{fields[name]}"] = value
    return state


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_timm(name, timm) -> None:
    import torch

    options, blocks, side = CASES[name]
    network = models.create("resnet", num_classes=NUM_CLASSES, **options)
    variables = random_variables(network)
    state = state_of(variables, names_of(options.get("variant", ""), blocks))
    oracle = timm.create_model(name, num_classes=NUM_CLASSES).double()
    counters = {k: v for k, v in oracle.state_dict().items() if "num_batches" in k}
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    oracle.load_state_dict(tensors | counters, strict=True)
    images = jax.random.normal(jax.random.key(1), (BATCH, side, side, 3))
    for train in (False, True):
        ours, _ = network.apply(variables, images, train=train, mutable=["batch_stats"])
        oracle.train(train)
        with torch.no_grad():
            nchw = np.asarray(images, np.float64).transpose(0, 3, 1, 2)
            theirs = oracle(torch.tensor(nchw)).numpy()
        difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert difference < ROUNDING[train], (train, difference)
