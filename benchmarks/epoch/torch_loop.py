"""The PyTorch way of `epoch.py`: Pillow augments in DataLoader workers. No JAX here.

    python -m benchmarks.epoch.torch_loop SETTING.json WORK.npz RESULT.json

A dataset's item is an image's M instances, each with its own crop, flip, sub-policy of
two Pillow ops and Cutout, as uint8: a quarter of the bytes of floats; the device
normalises. One worker for each core, pinned memory, copies that overlap. The controller
is left out, which costs PyTorch nothing; what a policy's instances lose is added up.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.augment import libraries
from benchmarks.augment.work import Work, patch
from benchmarks.train_step import torch_training

PADDING, CUTOUT = 4, 16
PREFETCH = 2  # batches of each worker, PyTorch's default


class Instances(torch.utils.data.Dataset):
    """Item i: uint8 [M, H, W, 3] and a label, image i under each of the M policies."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, work: Work) -> None:
        self.images, self.labels, self.work = images, labels, work
        self.ops = libraries.pillow_ops()
        self.random: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if self.random is None:  # in each worker another one
            worker = torch.utils.data.get_worker_info()
            self.random = np.random.default_rng(worker.seed if worker else 0)
        num_policies = len(self.work.ops)
        out = np.empty((num_policies, *self.images.shape[1:]), np.uint8)
        for m in range(num_policies):
            out[m] = self._instance(self.images[index], m, self.random)
        return out, int(self.labels[index])

    def _instance(
        self, image: np.ndarray, m: int, random: np.random.Generator
    ) -> np.ndarray:
        """Crop and flip, a sub-policy of policy m, Cutout."""
        height, width, _ = image.shape
        fill, ops, magnitudes = self.work.fill, self.work.ops, self.work.magnitudes
        padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
        y, x = random.integers(0, 2 * PADDING + 1, 2)
        cut = padded[y : y + height, x : x + width]
        if random.integers(2):
            cut = cut[:, ::-1]
        picture = Image.fromarray(np.ascontiguousarray(cut))
        q = random.integers(ops.shape[1])
        for op, magnitude in zip(ops[m, q], magnitudes[m, q], strict=True):
            value = float(self.work.values[op, magnitude, random.integers(2)])
            center = random.integers(0, (height, width)).tolist()
            partner = Image.fromarray(self.images[random.integers(len(self.images))])
            apply = self.ops[self.work.names[op]]
            picture = apply(picture, value, center, partner, fill)
        out = np.array(picture)
        center = random.integers(0, (height, width)).tolist()
        out[patch(CUTOUT, center, height, width)] = fill
        return out


def main(paths: Sequence[str]) -> None:
    """Measure what SETTING says, write RESULT."""
    setting_path, work_path, result_path = map(Path, paths)
    setting = json.loads(setting_path.read_text())
    result_path.write_text(json.dumps(measure(setting, load_work(work_path))))


def load_work(path: Path) -> tuple[Work, np.ndarray]:
    """What `epoch.save_work` wrote: the policies and all images, and the labels."""
    with np.load(path) as arrays:
        fields = {name: arrays[name] for name in arrays.files}
    labels = fields.pop("labels")
    for name in ("names", "fill", "mean", "std"):
        fields[name] = tuple(fields[name].tolist())
    return Work(**fields), labels


def measure(setting: dict[str, Any], data: tuple[Work, np.ndarray]) -> dict[str, Any]:
    """Seconds of a step in each epoch, of a step without, and of a batch alone."""
    work, labels = data
    steps, epochs, num_images = (
        setting[name] for name in ("steps", "epochs", "batch_size")
    )
    workers = setting["workers"] or len(os.sched_getaffinity(0))
    waiting = workers * PREFETCH  # batches that are made ahead
    dataset = Instances(work.images, labels, work)
    is_cuda = torch.cuda.is_available()
    total = (2 * waiting + (epochs + 1) * steps + 3) * num_images
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=num_images,
        sampler=torch.utils.data.RandomSampler(dataset, True, total),
        num_workers=workers,
        prefetch_factor=PREFETCH,
        pin_memory=is_cuda,
        multiprocessing_context="fork",  # before any device is touched
        drop_last=True,
    )
    batches = iter(loader)
    _skip(batches, waiting)
    alone = _timed(lambda: _skip(batches, steps)) / steps
    training = torch_training.make_training(
        setting["model"], setting["options"], setting
    )
    moments = _moments(work, training.device)
    train = _training_loop(training, moments, batches)
    started = time.perf_counter()
    train(1)
    first = time.perf_counter() - started
    train(1 + waiting)  # those that were made during compilation
    seconds = [_timed(lambda: train(steps)) / steps for _ in range(epochs)]
    fixed = next(batches)
    ready = _prepare(moments, fixed)
    without = _timed(lambda: _repeat(training, ready, steps)) / steps
    return {
        "seconds": seconds,
        "first_s": first,
        "step_s": without,
        "batch_s": alone,
        "workers": workers,
        "device": torch.cuda.get_device_name() if is_cuda else "cpu",
    }


def _training_loop(
    training: torch_training.Training, moments: torch.Tensor, batches: Iterator[Any]
) -> Any:
    sums = torch.zeros((), device=training.device)

    def train(steps: int) -> None:
        for _ in range(steps):
            batch = next(batches)
            losses = training.step(*_prepare(moments, batch))
            nonlocal sums
            sums = sums + losses.view(len(batch[1]), -1).mean(0)  # L_m of the round
        training.wait()

    return train


def _moments(work: Work, device: torch.device) -> torch.Tensor:
    """Mean and deviation of the channels on the device, once: [2, 1, 3, 1, 1]."""
    values = torch.tensor([work.mean, work.std], dtype=torch.float32)
    return values.view(2, 1, 3, 1, 1).to(device)


def _prepare(
    moments: torch.Tensor, batch: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 [N, M, H, W, 3] and [N] on the host -> float [N M, 3, H, W], labels."""
    instances, labels = (leaf.to(moments.device, non_blocking=True) for leaf in batch)
    rows = instances.flatten(0, 1).permute(0, 3, 1, 2)  # channels last as it lies
    images = (rows.float() / 255 - moments[0]) / moments[1]
    labels = labels[:, None].expand(instances.shape[:2]).reshape(-1)
    return images, labels


def _repeat(
    training: torch_training.Training,
    ready: tuple[torch.Tensor, torch.Tensor],
    steps: int,
) -> None:
    for _ in range(steps):
        training.step(*ready)
    training.wait()


def _skip(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


def _timed(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1:])
