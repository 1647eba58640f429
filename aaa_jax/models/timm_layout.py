"""Names and layouts of a ResNet's weights in timm (https://huggingface.co/docs/timm).

`resnet50`, `resnet50d`, `resnet200` and their sisters of timm 1.0 are our `resnet` of
the same depth, variant "v1.5" or "d", and width 64. PyTorch has kernels [C_out, C_in,
h, w], where Flax has [h, w, C_in, C_out].
"""

from collections.abc import Iterable, Mapping

import numpy as np

from aaa_jax.models.resnet import STAGE_SIZES

WIDTH = 64
# Leaves of a module, by what its name ends in: ours -> timm's.
_CONVOLUTION = {"params.kernel": "weight"}
_DENSE = {"params.kernel": "weight", "params.bias": "bias"}
_NORM = {
    "params.scale": "weight",
    "params.bias": "bias",
    "batch_stats.mean": "running_mean",
    "batch_stats.var": "running_var",
}
_COUNTER = "num_batches_tracked"  # of PyTorch's norms; nothing here needs it


def is_timm(names: Iterable[str]) -> bool:
    """Whether these are names of a ResNet's weights in timm."""
    return {"layer1.0.conv1.weight", "layer4.0.bn3.running_var"} <= set(names)


def to_timm(
    leaves: Mapping[str, np.ndarray], depth: int, variant: str
) -> dict[str, np.ndarray]:
    """A ResNet's variables as timm's state dict.

    Args:
        leaves: every variable, by names such as `params.stem_conv1.kernel`.
        depth: of the network.
        variant: of the network.
    """
    names = _leaf_names(depth, variant)
    return {names[name]: _turned(leaf, (3, 2, 0, 1)) for name, leaf in leaves.items()}


def from_timm(
    weights: Mapping[str, np.ndarray], depth: int, variant: str
) -> dict[str, np.ndarray]:
    """A ResNet's variables from timm's state dict; unknown names stay as they are."""
    names = {theirs: ours for ours, theirs in _leaf_names(depth, variant).items()}
    return {
        names.get(name, name): _turned(leaf, (2, 3, 1, 0))
        for name, leaf in weights.items()
        if not name.endswith(_COUNTER)
    }


def _turned(leaf: np.ndarray, axes: tuple[int, int, int, int]) -> np.ndarray:
    """A kernel in the other layout; what is no kernel as it is."""
    if leaf.ndim == 2:
        return leaf.T
    return leaf.transpose(axes) if leaf.ndim == 4 else leaf


def _leaf_names(depth: int, variant: str) -> dict[str, str]:
    """Every leaf: our name -> timm's."""
    names = {}
    for ours, theirs in _module_names(depth, variant).items():
        last = ours.split(".")[-1]
        leaves = (
            _DENSE if last == "dense" else _NORM if "norm" in last else _CONVOLUTION
        )
        for leaf, its in leaves.items():
            collection, name = leaf.split(".")
            names[f"{collection}.{ours}.{name}"] = f"{theirs}.{its}"
    return names


def _module_names(depth: int, variant: str) -> dict[str, str]:
    """Convolutions, norms and the classifier: our name -> timm's."""
    names = {"stem_conv1": "conv1", "stem_norm1": "bn1"}
    shortcut = {"shortcut_conv": "0", "shortcut_norm": "1"}
    if variant == "d":
        names = {f"stem_conv{i + 1}": f"conv1.{3 * i}" for i in range(3)}
        names |= {"stem_norm1": "conv1.1", "stem_norm2": "conv1.4", "stem_norm3": "bn1"}
        shortcut = {"shortcut_conv": "1", "shortcut_norm": "2"}
    for stage, number in enumerate(STAGE_SIZES[depth], start=1):
        for block in range(number):
            ours, theirs = f"stage{stage}_block{block + 1}", f"layer{stage}.{block}"
            for i in (1, 2, 3):
                names[f"{ours}.conv{i}"] = f"{theirs}.conv{i}"
                names[f"{ours}.norm{i}"] = f"{theirs}.bn{i}"
            if block == 0:
                for name, place in shortcut.items():
                    names[f"{ours}.{name}"] = f"{theirs}.downsample.{place}"
    return names | {"classifier.dense": "fc"}
