"""DALI as a candidate: it draws by itself, so its images are compared with nobody's."""

import os
from collections.abc import Sequence
from typing import Any

from aaa_jax.search.pillow_policy import FILL
from benchmarks.augment import work


def trivial_augment_twice(task: work.Work) -> work.Library:
    """Twice an op drawn for each image, of TrivialAugment's 14: as many as ours.

    On the GPU where there is one, from images that are there. ImportError where DALI or
    PyTorch, which holds the images, is not installed.
    """
    import torch
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.auto_aug import trivial_augment

    is_gpu = torch.cuda.is_available()
    images = torch.from_numpy(task.images).cuda() if is_gpu else task.images
    batch = [images[row % len(images)] for row in range(task.num_rows)]

    @pipeline_def(
        batch_size=task.num_rows,
        num_threads=len(os.sched_getaffinity(0)),
        device_id=0 if is_gpu else None,
        enable_conditionals=True,
    )
    def pipeline() -> Any:
        device = "gpu" if is_gpu else "cpu"
        rows = fn.external_source(source=lambda: batch, layout="HWC", device=device)
        for _ in range(2):
            rows = trivial_augment.trivial_augment_wide(rows, fill_value=FILL[0])
        mean, std = (
            [255 * part for part in part_of] for part_of in (task.mean, task.std)
        )
        options = {"dtype": types.FLOAT, "output_layout": "HWC"}
        return fn.crop_mirror_normalize(rows, mean=mean, std=std, **options)

    made = pipeline()
    made.build()

    def augment(draws: work.Draws, rows: Sequence[int]) -> Any:
        return made.run()[0]

    def finish(rows: Any) -> Any:
        if is_gpu:
            torch.cuda.synchronize()
        return rows

    return work.Library(augment, finish, lambda rows: None)
