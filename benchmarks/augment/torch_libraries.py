"""torchvision v2 and kornia as candidates, on the host.

A maker raises ImportError where its library is not installed.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.augment.libraries import GEOMETRIC
from benchmarks.augment.work import (
    Apply,
    Draws,
    Inputs,
    Library,
    Work,
    affine_matrix,
    image_by_image,
    middle_coordinates,
    patch,
    steps_of_row,
)


def torchvision(work: Work) -> Library:
    """Torchvision's v2 functions on one uint8 tensor at a time, as its AutoAugment."""
    import torch

    torch.set_num_threads(1)
    return image_by_image(
        work,
        torchvision_ops(_import_torchvision()),
        lambda image: torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        lambda image: image.permute(1, 2, 0).numpy(),
    )


def _import_torchvision() -> Any:
    """The functions, also where torchvision's compiled part is for another PyTorch.

    Then the two operators that its import expects are declared here; the ops of this
    benchmark are PyTorch's own and need neither.
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


def torchvision_ops(F: Any) -> dict[str, Apply]:
    """The ops on uint8 tensors [3, H, W]."""
    import torch

    def shear(axis: int) -> Apply:
        def apply(image: Any, value: float, inputs: Inputs) -> Any:
            degrees = [0.0, 0.0]
            degrees[axis] = math.degrees(math.atan(value))
            around = {"fill": list(inputs.fill), "center": [0, 0]}
            return F.affine(image, 0.0, [0, 0], 1.0, degrees, **around)

        return apply

    def translate(axis: int) -> Apply:
        def apply(image: Any, value: float, inputs: Inputs) -> Any:
            pixels = [0, 0]
            pixels[axis] = -int(value)
            fill = list(inputs.fill)
            return F.affine(image, 0.0, pixels, 1.0, [0.0, 0.0], fill=fill)

        return apply

    def cutout(image: Any, value: float, inputs: Inputs) -> Any:
        rows, columns = patch(value, inputs.center, *image.shape[1:])
        color = torch.tensor(inputs.fill, dtype=torch.uint8)[:, None, None]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return F.erase(image, rows.start, columns.start, height, width, color)

    def pair(image: Any, value: float, inputs: Inputs) -> Any:
        mixed = torch.lerp(image.float(), inputs.partner.float(), value)
        return mixed.to(torch.uint8)

    return {
        "ShearX": shear(0),
        "ShearY": shear(1),
        "TranslateX": translate(0),
        "TranslateY": translate(1),
        "Rotate": lambda image, value, inputs: F.rotate(
            image, value, fill=list(inputs.fill)
        ),
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


def kornia(work: Work) -> Library:
    """Kornia's functions on float tensors, all images of an op in one call."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    ops = kornia_ops(work.fill)
    mean, std = (
        torch.tensor(value, dtype=torch.float32)[None, :, None, None]
        for value in (work.mean, work.std)
    )

    def augment(draws: Draws, rows: Sequence[int]) -> Any:
        images = torch.from_numpy(work.images).permute(0, 3, 1, 2).float() / 255
        out = images[[row % len(images) for row in rows]]
        steps = [steps_of_row(work, draws, row) for row in rows]
        for s in range(work.ops.shape[2]):
            places: dict[str, list[int]] = {}
            for place, chain in enumerate(steps):
                places.setdefault(chain[s][0], []).append(place)
            for name, chosen in places.items():
                _, values, centers, partners = zip(
                    *(steps[place][s] for place in chosen), strict=True
                )
                pool = images[list(partners)]
                columns = (np.float32(values), np.array(centers), pool)
                out[chosen] = ops[name](out[chosen], *columns)
        return out

    def pixels(rows: Any) -> np.ndarray:
        return (rows * 255).round().byte().permute(0, 2, 3, 1).numpy()

    return Library(augment, lambda rows: (rows - mean) / std, pixels)


def kornia_ops(fill: Sequence[int]) -> dict[str, Batched]:
    """The ops on float tensors [B, 3, H, W] from 0 to 1."""
    import kornia.enhance as enhance
    import kornia.geometry.transform as transform
    import torch

    color = torch.tensor(fill, dtype=torch.float32) / 255

    def affine(name: str) -> Batched:
        def apply(images: Any, values: np.ndarray, *_: Any) -> Any:
            height, width = images.shape[2:]
            maps = np.tile(np.eye(3), (len(values), 1, 1))
            for i, value in enumerate(values.tolist()):
                matrix = affine_matrix(name, value, height, width)
                maps[i, :2] = middle_coordinates(matrix)
            forward = torch.from_numpy(np.linalg.inv(maps)[:, :2].astype(np.float32))
            return transform.warp_affine(
                images,
                forward,
                (height, width),
                mode="nearest",
                padding_mode="fill",
                fill_value=color,
            )

        return apply

    def with_values(function: Callable, scale: float = 1.0) -> Batched:
        return lambda images, values, *_: function(
            images, torch.from_numpy(values * np.float32(scale))
        )

    def cutout(images: Any, values: np.ndarray, centers: np.ndarray, _: Any) -> Any:
        for image, value, center in zip(images, values, centers, strict=True):
            rows, columns = patch(value, center, *images.shape[2:])
            image[:, rows, columns] = color[:, None, None]
        return images

    def posterize(images: Any, values: np.ndarray, *_: Any) -> Any:
        return enhance.posterize(images, torch.from_numpy(values.astype(np.int32)))

    def pair(images: Any, values: np.ndarray, _: Any, partners: Any) -> Any:
        weights = torch.from_numpy(values)[:, None, None, None]
        return torch.lerp(images, partners, weights)

    return {
        **{name: affine(name) for name in GEOMETRIC},
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
