"""A training step in PyTorch: channels last, autocast, compiled. Imports no JAX.

Without JAX, since the loop of `epoch/torch_loop.py` forks workers.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.train_step import torch_networks


class Training(NamedTuple):
    """A network under training."""

    device: torch.device
    # (images [R, 3, H, W], labels [R]) -> losses [R], after the update; all on the
    # device, images channels last.
    step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    wait: Callable[[], None]  # until the device is done


def make_training(setting: dict[str, Any]) -> Training:
    """The recipe of Table 7, by `presets.torch_setting`: one step with clipping."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    network = torch_networks.create(
        setting["model"], setting["num_classes"], setting["options"]
    )
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


def network_step(
    setting: dict[str, Any], num_rows: int, side: int
) -> tuple[Callable[[int], None], dict[str, float], Callable[[], None]]:
    """(run, facts, release) of `candidates.Candidate`: steps on rows that are there."""
    training = make_training(setting)
    device = training.device
    images = torch.randn(num_rows, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.zeros(num_rows, dtype=torch.int64, device=device)

    def run(steps: int) -> None:
        for _ in range(steps):
            training.step(images, labels)
        training.wait()

    def release() -> None:
        if device.type == "cuda":
            torch.cuda.empty_cache()

    start = time.perf_counter()
    run(1)
    facts = {"compile_cold_s": time.perf_counter() - start}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        run(1)
        facts["memory_bytes"] = float(torch.cuda.max_memory_allocated())
    return run, facts, release
