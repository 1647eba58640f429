"""A preset shrunken for a quick look: fewer epochs, smaller networks.

What remains is not the paper's recipe; everything that it writes says so.
"""

import math
from collections.abc import Callable
from typing import Any

import ml_collections

from aaa_jax.models import resnet

Options = dict[str, Any]


def scale_down(config: ml_collections.ConfigDict, scale: float) -> None:
    """Shrinks a run in place: its epochs by `scale`, its network by the square root.

    A convolution's cost grows with the square of its width, so width shrinks by the
    root. Depth does too, to what the family allows. Milestones and warm-up keep their
    share of the epochs. Networks of your own keep their size.

    Args:
        config: a preset.
        scale: above 0, at most 1.
    """
    epochs = max(1, round(config.epochs * scale))
    share = epochs / config.epochs
    config.scale = scale
    config.epochs = epochs
    o = config.optimizer
    o.milestones = tuple(milestone * share for milestone in o.milestones)
    o.warmup_epochs = o.warmup_epochs * share
    config.evaluation.every_epochs = min(config.evaluation.every_epochs, epochs)
    shrink = SMALLER.get(config.model.name)
    if shrink is not None:
        smaller = shrink(config.model.options.to_dict(), math.sqrt(scale))
        config.model.options = ml_collections.ConfigDict(smaller)


def _wide_resnet(options: Options, root: float) -> Options:
    depth = 6 * _at_least(1, (options["depth"] - 4) / 6 * root) + 4
    return options | {"depth": depth, "width": _at_least(1, options["width"] * root)}


def _shake_shake(options: Options, root: float) -> Options:
    depth = 6 * _at_least(1, (options["depth"] - 2) / 6 * root) + 2
    width = 2 * _at_least(1, options["width"] / 2 * root)
    return options | {"depth": depth, "width": width}


def _pyramidnet(options: Options, root: float) -> Options:
    depth = 9 * _at_least(1, (options["depth"] - 2) / 9 * root) + 2
    widening = _at_least(1, options["widening"] * root)
    return options | {"depth": depth, "widening": widening}


def _resnet(options: Options, root: float) -> Options:
    depths = sorted(resnet.STAGE_SIZES)
    fitting = [depth for depth in depths if depth <= options["depth"] * root]
    width = 2 * _at_least(1, options.get("width", 64) / 2 * root)
    return options | {"depth": [depths[0], *fitting][-1], "width": width}


def _at_least(low: int, value: float) -> int:
    return max(low, round(value))


SMALLER: dict[str, Callable[[Options, float], Options]] = {
    "wide_resnet": _wide_resnet,
    "shake_shake": _shake_shake,
    "pyramidnet": _pyramidnet,
    "resnet": _resnet,
}
