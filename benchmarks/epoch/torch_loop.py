"""The PyTorch way of an epoch: Pillow augments in DataLoader workers. No JAX here.

A dataset's item is an image's M instances, each with its own crop, flip, sub-policy of
two Pillow ops and Cutout, as uint8: a quarter of the bytes of floats; the device
normalises. One worker for each core, pinned memory, copies that overlap. The controller
is left out, which costs PyTorch nothing; what a policy's instances lose is added up.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from aaa_jax.search.pillow_policy import FILL, apply_op
from benchmarks.augment.work import Work, patch
from benchmarks.train_step import torch_step

PADDING, CUTOUT = 4, 16
PREFETCH = 2  # batches of each worker, PyTorch's default


class Instances(torch.utils.data.Dataset):
    """Item i: uint8 [M, H, W, 3] and a label, image i under each of the M policies."""

    def __init__(self, work: Work, labels: np.ndarray) -> None:
        self.work, self.labels = work, labels
        self.random: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if self.random is None:  # in each worker another one
            worker = torch.utils.data.get_worker_info()
            self.random = np.random.default_rng(worker.seed if worker else 0)
        instances = [
            self._instance(self.work.images[index], m, self.random)
            for m in range(len(self.work.ops))
        ]
        return np.stack(instances), int(self.labels[index])

    def _instance(
        self, image: np.ndarray, m: int, random: np.random.Generator
    ) -> np.ndarray:
        """Crop and flip, a sub-policy of policy m, Cutout."""
        height, width, _ = image.shape
        work = self.work
        padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
        y, x = random.integers(0, 2 * PADDING + 1, 2)
        cut = padded[y : y + height, x : x + width]
        if random.integers(2):
            cut = cut[:, ::-1]
        picture = Image.fromarray(np.ascontiguousarray(cut))
        q = random.integers(work.ops.shape[1])
        for op, magnitude in zip(work.ops[m, q], work.magnitudes[m, q], strict=True):
            value = float(work.values[op, magnitude, random.integers(2)])
            center = random.integers(0, (height, width)).tolist()
            partner = Image.fromarray(work.images[random.integers(len(work.images))])
            picture = apply_op(picture, work.names[op], value, center, partner)
        out = np.array(picture)
        center = random.integers(0, (height, width)).tolist()
        out[patch(CUTOUT, center, height, width)] = FILL
        return out


def measure_loop(
    setting: dict[str, Any], work: Work, labels: np.ndarray, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of a step in each epoch, of a step without a loader, of a batch alone.

    `setting` is `presets.torch_setting`'s; `work` has all images and the policies.
    """
    steps, epochs = options.steps, options.epochs
    workers = options.workers or len(os.sched_getaffinity(0))
    waiting = workers * PREFETCH  # batches that are made ahead
    number = 2 * waiting + (epochs + 1) * steps + 3
    batches = _batches(Instances(work, labels), options.batch_size, number, workers)
    _timed(lambda: next(batches), waiting)
    alone = _timed(lambda: next(batches), steps)
    training = torch_step.make_training(setting)
    moments = _moments(work).to(training.device)
    sums = torch.zeros((), device=training.device)

    def step() -> None:
        nonlocal sums
        batch = next(batches)
        losses = training.step(*_prepare(moments, batch))
        sums = sums + losses.view(len(batch[1]), -1).mean(0)  # L_m of the round

    first = _timed(step, 1, training.wait)
    _timed(step, 1 + waiting, training.wait)  # were made during compilation
    seconds = [_timed(step, steps, training.wait) for _ in range(epochs)]
    ready = _prepare(moments, next(batches))
    is_cuda = training.device.type == "cuda"
    return {
        "seconds": seconds,
        "first_s": first,
        "step_s": _timed(lambda: training.step(*ready), steps, training.wait),
        "batch_s": alone,
        "workers": workers,
        "device": torch.cuda.get_device_name() if is_cuda else "cpu",
    }


def _batches(
    dataset: Instances, num_images: int, number: int, workers: int
) -> Iterator[Any]:
    """So many batches from worker processes, which are started now."""
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=num_images,
        sampler=torch.utils.data.RandomSampler(dataset, True, number * num_images),
        num_workers=workers,
        prefetch_factor=PREFETCH,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",  # before any device is touched
        drop_last=True,
    )
    return iter(loader)


def _moments(work: Work) -> torch.Tensor:
    """Mean and deviation of the channels: [2, 1, 3, 1, 1]."""
    return torch.tensor([work.mean, work.std]).view(2, 1, 3, 1, 1)


def _prepare(
    moments: torch.Tensor, batch: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 [N, M, H, W, 3] and [N] on the host -> float [N M, 3, H, W], labels."""
    instances, labels = (leaf.to(moments.device, non_blocking=True) for leaf in batch)
    rows = instances.flatten(0, 1).permute(0, 3, 1, 2)  # channels last as it lies
    images = (rows.float() / 255 - moments[0]) / moments[1]
    labels = labels[:, None].expand(instances.shape[:2]).reshape(-1)
    return images, labels


def _timed(
    function: Callable[[], Any], times: int, wait: Callable[[], None] = lambda: None
) -> float:
    """Seconds of a call, the mean over so many."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    wait()
    return (time.perf_counter() - start) / times
