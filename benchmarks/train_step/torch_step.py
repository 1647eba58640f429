"""PyTorch's candidate of `train_step.py`: the same network, channels last, compiled."""

import time
from typing import Any

import torch

from benchmarks.train_step import torch_training
from benchmarks.train_step.jax_steps import Candidate


def network_step(
    name: str, model: str, options: dict[str, Any], setting: dict[str, Any]
) -> Candidate:
    """The step of `torch_training.py` on rows that are there.

    Args:
        name: of the row.
        model: the network's family.
        options: of the network.
        setting: num_rows, side, and what `torch_training.make_training` reads.
    """
    training = torch_training.make_training(model, options, setting)
    device = training.device
    side, num_rows = setting["side"], setting["num_rows"]
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
    return Candidate(name, run, facts, release)
