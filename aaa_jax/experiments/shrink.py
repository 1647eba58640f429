"""A preset shrunken for a quick look: fewer epochs, smaller networks.

What remains is not the paper's recipe; everything that it writes says so.
"""

import math

import ml_collections

from aaa_jax import models
from aaa_jax.models import resnet

# Network -> option -> (step, offset); allowed: the offset plus multiples of the step.
ALLOWED = {
    "wide_resnet": {"depth": (6, 4), "width": (1, 0)},
    "shake_shake": {"depth": (6, 2), "width": (2, 0)},
    "pyramidnet": {"depth": (9, 2), "widening": (1, 0)},
    "resnet": {"width": (2, 0)},
}


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
    if config.model.name not in ALLOWED:
        return
    network = models.MODELS[config.model.name]
    root, options = math.sqrt(scale), config.model.options.to_dict()
    for name, (step, offset) in ALLOWED[config.model.name].items():
        full = options.get(name, getattr(network, name))
        options[name] = offset + step * max(1, round((full - offset) / step * root))
    if network is resnet.ResNet:
        full = options.get("depth", network.depth)
        depths = sorted(resnet.STAGE_SIZES)
        fitting = [depth for depth in depths if depth <= full * root]
        options["depth"] = [depths[0], *fitting][-1]
    config.model.options = ml_collections.ConfigDict(options)
