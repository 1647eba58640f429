"""A training step in PyTorch: channels last, autocast, compiled. Imports no JAX.

Without JAX, since the loop of `torch_loop.py` forks workers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.train_step import torch_networks


class Training(NamedTuple):
    """A network under training.

    Attributes:
        device: where it is.
        step: (images [R, 3, H, W], labels [R]) -> losses [R], after the update; all on
            the device, images channels last.
        wait: until the device is done.
    """

    device: torch.device
    step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    wait: Callable[[], None]


def make_training(
    model: str, options: dict[str, Any], setting: dict[str, Any]
) -> Training:
    """Forward, backward, clipping and update, as the recipe of Table 7 asks.

    Args:
        model: the network's family.
        options: of the network.
        setting: num_classes, dtype, compile, learning_rate, weight_decay, clip_norm.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    network = torch_networks.create(model, setting["num_classes"], options)
    network = network.to(device, memory_format=torch.channels_last).train()
    forward = torch.compile(network) if setting["compile"] else network
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=setting["learning_rate"],
        momentum=0.9,
        nesterov=True,
        weight_decay=setting["weight_decay"],
    )
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=setting["dtype"] == "bfloat16"
    )
    layers = len(getattr(network, "blocks", ()))

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        noise = torch.rand(len(images), layers, 3, device=device)
        with autocast:
            logits = forward(images, noise)
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        losses.mean().backward()
        if setting["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(network.parameters(), setting["clip_norm"])
        optimizer.step()
        return losses.detach()

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    return Training(device, step, wait)
