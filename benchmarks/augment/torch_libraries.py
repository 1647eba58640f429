"""torchvision v2 and kornia as candidates, on the host.

A maker raises ImportError where its library is not installed.
"""

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.augment import work
from benchmarks.augment.libraries import GEOMETRIC


def torchvision(task: work.Work) -> work.Library:
    """Torchvision's v2 functions on one uint8 tensor at a time, as its AutoAugment."""
    import torch

    torch.set_num_threads(1)
    return work.image_by_image(
        task,
        torchvision_ops(_import_torchvision()),
        lambda image: torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        lambda image: image.permute(1, 2, 0).numpy(),
    )


def _import_torchvision() -> Any:
    """The functions; torchvision's compiled part may be for another PyTorch.

    Then the operators that its import expects are declared here; no op needs them.
    """
    import torch

    try:
        from torchvision.transforms.v2 import functional
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float t) -> Tensor")
        from torchvision.transforms.v2 import functional
    return functional


def torchvision_ops(F: Any) -> dict[str, work.Apply]:
    """The ops on uint8 tensors [3, H, W]."""
    import torch

    def affine(axis: str, image: Any, value: float, inputs: work.Inputs) -> Any:
        pixels, degrees = [0, 0], [0.0, 0.0]
        options: dict[str, Any] = {"fill": list(inputs.fill)}
        if axis.startswith("Shear"):
            degrees[axis == "ShearY"] = math.degrees(math.atan(value))
            options["center"] = [0, 0]
        else:
            pixels[axis == "TranslateY"] = -int(value)
        return F.affine(image, 0.0, pixels, 1.0, degrees, **options)

    def rotate(image: Any, value: float, inputs: work.Inputs) -> Any:
        return F.rotate(image, value, fill=list(inputs.fill))

    def cutout(image: Any, value: float, inputs: work.Inputs) -> Any:
        rows, columns = work.patch(value, inputs.center, *image.shape[1:])
        color = torch.tensor(inputs.fill, dtype=torch.uint8)[:, None, None]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return F.erase(image, rows.start, columns.start, height, width, color)

    def pair(image: Any, value: float, inputs: work.Inputs) -> Any:
        mixed = torch.lerp(image.float(), inputs.partner.float(), value)
        return mixed.to(torch.uint8)

    return {
        **{name: functools.partial(affine, name) for name in GEOMETRIC},
        "Rotate": rotate,
        "AutoContrast": lambda image, *_: F.autocontrast(image),
        "Invert": lambda image, *_: F.invert(image),
        "Equalize": lambda image, *_: F.equalize(image),
        "Solarize": lambda image, value, _: (
            image if value > 255 else F.solarize(image, value)
        ),
        "Posterize": lambda image, value, _: F.posterize(image, int(value)),
        "Contrast": lambda image, value, _: F.adjust_contrast(image, value),
        "Color": lambda image, value, _: F.adjust_saturation(image, value),
        "Brightness": lambda image, value, _: F.adjust_brightness(image, value),
        "Sharpness": lambda image, value, _: F.adjust_sharpness(image, value),
        "Cutout": cutout,
        "SamplePairing": pair,
        "Identity": lambda image, *_: image,
    }


# One of kornia's ops on many images: (images [B, 3, H, W], values, centers, partners).
Batched = Callable[[Any, np.ndarray, np.ndarray, Any], Any]


def kornia(task: work.Work) -> work.Library:
    """Kornia's functions on float tensors, all images of an op in one call."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    ops = kornia_ops(task.fill)
    mean, std = (
        torch.tensor(value, dtype=torch.float32)[None, :, None, None]
        for value in (task.mean, task.std)
    )

    def augment(draws: work.Draws, rows: Sequence[int]) -> Any:
        images = torch.from_numpy(task.images).permute(0, 3, 1, 2).float() / 255
        out = images[[row % len(images) for row in rows]]
        chains = [work.steps_of_row(task, draws, row) for row in rows]
        for steps in zip(*chains, strict=True):
            places: dict[str, list[int]] = {}
            for place, (name, *_) in enumerate(steps):
                places.setdefault(name, []).append(place)
            for name, chosen in places.items():
                columns = zip(*(steps[place][1:] for place in chosen), strict=True)
                values, centers, partners = map(np.array, columns)
                pool = images[partners]
                batch = (out[chosen], values.astype(np.float32), centers, pool)
                out[chosen] = ops[name](*batch)
        return out

    def pixels(rows: Any) -> np.ndarray:
        return (rows * 255).round().byte().permute(0, 2, 3, 1).numpy()

    return work.Library(augment, lambda rows: (rows - mean) / std, pixels)


def kornia_ops(fill: Sequence[int]) -> dict[str, Batched]:
    """The ops on float tensors [B, 3, H, W] from 0 to 1."""
    import kornia.enhance as enhance
    import torch
    from kornia.geometry.transform import warp_affine

    color = torch.tensor(fill, dtype=torch.float32) / 255

    def affine(name: str, images: Any, values: np.ndarray, *_: Any) -> Any:
        size = tuple(images.shape[2:])
        maps = np.tile(np.eye(3), (len(values), 1, 1))
        for i, value in enumerate(values.tolist()):
            maps[i, :2] = work.middle_coordinates(
                work.affine_matrix(name, value, *size)
            )
        forward = torch.from_numpy(np.linalg.inv(maps)[:, :2].astype(np.float32))
        options = {"mode": "nearest", "padding_mode": "fill", "fill_value": color}
        return warp_affine(images, forward, size, **options)

    def with_values(function: Callable, scale: float = 1.0) -> Batched:
        return lambda images, values, *_: function(
            images, torch.from_numpy(values * np.float32(scale))
        )

    def cutout(images: Any, values: np.ndarray, centers: np.ndarray, _: Any) -> Any:
        for image, value, center in zip(images, values, centers, strict=True):
            rows, columns = work.patch(value, center, *images.shape[2:])
            image[:, rows, columns] = color[:, None, None]
        return images

    def posterize(images: Any, values: np.ndarray, *_: Any) -> Any:
        return enhance.posterize(images, torch.from_numpy(values.astype(np.int32)))

    def pair(images: Any, values: np.ndarray, _: Any, partners: Any) -> Any:
        weights = torch.from_numpy(values)[:, None, None, None]
        return torch.lerp(images, partners, weights)

    return {
        **{name: functools.partial(affine, name) for name in GEOMETRIC},
        "AutoContrast": lambda images, *_: enhance.normalize_min_max(images),
        "Invert": lambda images, *_: enhance.invert(images),
        "Equalize": lambda images, *_: enhance.equalize(images),
        "Solarize": with_values(enhance.solarize, 1 / 256),
        "Posterize": posterize,
        "Contrast": with_values(enhance.adjust_contrast_with_mean_subtraction),
        "Color": with_values(enhance.adjust_saturation_with_gray_subtraction),
        "Brightness": with_values(enhance.adjust_brightness_accumulative),
        "Sharpness": with_values(enhance.sharpness),
        "Cutout": cutout,
        "SamplePairing": pair,
        "Identity": lambda images, *_: images,
    }
