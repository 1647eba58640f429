"""Names and layouts of a ResNet's weights in timm (https://huggingface.co/docs/timm).

`resnet50`, `resnet50d`, `resnet200` and their sisters of timm 1.0 are our `resnet` of
the same depth, variant "v1.5" or "d", and width 64. PyTorch has kernels [C_out, C_in,
h, w], where Flax has [h, w, C_in, C_out].
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

WIDTH, VARIANTS = 64, ("v1.5", "d")
_LEAVES = {
    **{"kernel": "weight", "scale": "weight", "bias": "bias"},
    **{"mean": "running_mean", "var": "running_var"},
}
_BLOCK = re.compile(r"stage(\d+)_block(\d+)\.(\w+)")
_COUNTER = "num_batches_tracked"  # of PyTorch's norms; nothing here needs it
# The modules of a stem and of a shortcut: ours -> timm's, by variant.
_PLAIN = {
    **{"stem_conv1": "conv1", "stem_norm1": "bn1"},
    **{"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"},
}
_DEEP = {
    **{"stem_conv1": "conv1.0", "stem_norm1": "conv1.1", "stem_conv2": "conv1.3"},
    **{"stem_norm2": "conv1.4", "stem_conv3": "conv1.6", "stem_norm3": "bn1"},
    **{"shortcut_conv": "downsample.1", "shortcut_norm": "downsample.2"},
}


def is_timm(names: Iterable[str]) -> bool:
    """Whether these are names of a ResNet's weights in timm."""
    return {"layer1.0.conv1.weight", "layer4.0.bn1.running_var"} <= set(names)


def to_timm(leaves: Mapping[str, np.ndarray], variant: str) -> dict[str, np.ndarray]:
    """A ResNet's variables as timm's state dict.

    The leaves are all variables, by names such as `params.stem_conv1.kernel`.
    """
    return {
        timm_name(name, variant): _turned(leaf, (3, 2, 0, 1))
        for name, leaf in leaves.items()
    }


def from_timm(
    weights: Mapping[str, np.ndarray], names: Iterable[str], variant: str
) -> dict[str, np.ndarray]:
    """A ResNet's variables from timm's state dict; unknown names stay as they are.

    The names are those of the network's variables.
    """
    ours = {timm_name(name, variant): name for name in names}
    return {
        ours.get(name, name): _turned(leaf, (2, 3, 1, 0))
        for name, leaf in weights.items()
        if not name.endswith(_COUNTER)
    }


def timm_name(name: str, variant: str) -> str:
    """What timm calls a variable of ours."""
    _, *modules, leaf = name.split(".")
    module, modules_of = ".".join(modules), _DEEP if variant == "d" else _PLAIN
    if module == "classifier.dense":
        theirs = "fc"
    elif found := _BLOCK.fullmatch(module):
        stage, block, layer = found.groups()
        inside = modules_of.get(layer, layer.replace("norm", "bn"))
        theirs = f"layer{stage}.{int(block) - 1}.{inside}"
    else:
        theirs = modules_of.get(module, module)
    return f"{theirs}.{_LEAVES[leaf]}"


def _turned(leaf: np.ndarray, axes: tuple[int, int, int, int]) -> np.ndarray:
    """A kernel in the other layout; what is no kernel as it is."""
    if leaf.ndim == 2:
        return leaf.T
    return leaf.transpose(axes) if leaf.ndim == 4 else leaf
