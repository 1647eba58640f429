"""PyTorch's candidate of `train_step.py`: the same network, channels last, compiled."""

import time
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import torch_networks
from benchmarks.step_jax import Candidate


def network_step(
    name: str, model: str, options: dict[str, Any], setting: dict[str, Any]
) -> Candidate:
    """Forward, backward, clipping and update, as the recipe of Table 7 asks.

    Args:
        name: of the row.
        model: the network's family.
        options: of the network.
        setting: num_rows, side, num_classes, dtype, compile, learning_rate,
            weight_decay, clip_norm.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    network = torch_networks.create(model, setting["num_classes"], options)
    network = network.to(device, memory_format=torch.channels_last).train()
    forward = torch.compile(network) if setting["compile"] else network
    side, num_rows = setting["side"], setting["num_rows"]
    images = torch.randn(num_rows, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.zeros(num_rows, dtype=torch.int64, device=device)
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

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        noise = torch.rand(num_rows, layers, 3, device=device)
        with autocast:
            logits = forward(images, noise)
        F.cross_entropy(logits.float(), labels).backward()
        if setting["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(network.parameters(), setting["clip_norm"])
        optimizer.step()

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

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
    return Candidate(name, run, facts, release)
