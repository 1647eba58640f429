"""torchvision v2 and kornia as candidates, on the host or on a GPU.

A maker raises ImportError where its library is not installed.
"""

import functools
import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aaa_jax.search.pillow_policy import FILL
from benchmarks.augment import work
from benchmarks.augment.libraries import GEOMETRIC


def device_name() -> str:
    """Where what is called in batches runs: a GPU, the CPU, or nowhere."""
    if importlib.util.find_spec("torch") is None:
        return "nothing: PyTorch is not installed"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


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


def torchvision_batches(task: work.Work) -> work.Library:
    """The same on uint8 tensors, all images of an op and a value in one call."""
    ops = torchvision_ops(_import_torchvision())
    batched = {
        name: _by_value(apply, has_center=name == "Cutout")
        for name, apply in ops.items()
    }
    return _in_batches(task, batched, scale=1)


def kornia(task: work.Work) -> work.Library:
    """Kornia's functions on float tensors, all images of an op in one call."""
    return _in_batches(task, kornia_ops(), scale=255)


# An op on many images: (images [B, 3, H, W], values, centers, partners).
Batched = Callable[[Any, np.ndarray, np.ndarray, Any], Any]


def _by_value(apply: work.Apply, *, has_center: bool) -> Batched:
    """A function that takes one value (and centre), on images with one each."""

    def batched(
        images: Any, values: np.ndarray, centers: np.ndarray, partners: Any
    ) -> Any:
        kinds: dict[tuple, list[int]] = {}
        for place, (value, center) in enumerate(
            zip(values.tolist(), centers.tolist(), strict=True)
        ):
            kind = (value, *center) if has_center else (value,)
            kinds.setdefault(kind, []).append(place)
        for (value, *center), chosen in kinds.items():
            inputs = work.Inputs(center, partners[chosen])
            images[chosen] = apply(images[chosen], value, inputs)
        return images

    return batched


def _in_batches(
    task: work.Work, ops: dict[str, Batched], *, scale: int
) -> work.Library:
    """All images of an op in one call, on the GPU where there is one.

    Draws and the choice of images are the host's. The pixels are uint8, or floats if
    `scale`, by which they are divided, is not 1.
    """
    import torch

    is_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if is_gpu else "cpu")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    mean, std = (
        torch.tensor(value, dtype=torch.float32, device=device)[None, :, None, None]
        for value in (task.mean, task.std)
    )

    resident = torch.from_numpy(task.images).to(device).permute(0, 3, 1, 2).contiguous()

    def augment(draws: work.Draws, rows: Sequence[int]) -> Any:
        images = resident if scale == 1 else resident.float() / scale
        out = images[[row % len(images) for row in rows]]
        chains = [work.steps_of_row(task, draws, row) for row in rows]
        for steps in zip(*chains, strict=True):
            places: dict[str, list[int]] = {}
            for place, (name, *_) in enumerate(steps):
                places.setdefault(name, []).append(place)
            for name, chosen in places.items():
                columns = zip(*(steps[place][1:] for place in chosen), strict=True)
                values, centers, partners = map(np.array, columns)
                batch = (out[chosen], values, centers, images[partners.tolist()])
                out[chosen] = ops[name](*batch)
        return out

    def finish(rows: Any) -> Any:
        done = (rows.float() * (scale / 255) - mean) / std
        if is_gpu:
            torch.cuda.synchronize()
        return done

    def pixels(rows: Any) -> np.ndarray:
        whole = (rows * scale).round().byte() if scale > 1 else rows
        return whole.permute(0, 2, 3, 1).cpu().numpy()

    return work.Library(augment, finish, pixels)


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
        options: dict[str, Any] = {"fill": list(FILL)}
        if axis.startswith("Shear"):
            degrees[axis == "ShearY"] = math.degrees(math.atan(value))
            options["center"] = [0, 0]
        else:
            pixels[axis == "TranslateY"] = -int(value)
        return F.affine(image, 0.0, pixels, 1.0, degrees, **options)

    def rotate(image: Any, value: float, inputs: work.Inputs) -> Any:
        return F.rotate(image, value, fill=list(FILL))

    def cutout(image: Any, value: float, inputs: work.Inputs) -> Any:
        rows, columns = work.patch(value, inputs.center, *image.shape[-2:])
        color = torch.tensor(FILL, dtype=torch.uint8, device=image.device)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return F.erase(
            image, rows.start, columns.start, height, width, color[:, None, None]
        )

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


def kornia_ops() -> dict[str, Batched]:
    """The ops on float tensors [B, 3, H, W] from 0 to 1."""
    import kornia.enhance as enhance
    import torch
    from kornia.geometry.transform import warp_affine

    color = torch.tensor(FILL, dtype=torch.float32) / 255

    def tensor(values: np.ndarray, like: Any) -> Any:
        return torch.from_numpy(values.astype(np.float32)).to(like.device)

    def affine(name: str, images: Any, values: np.ndarray, *_: Any) -> Any:
        size = tuple(images.shape[2:])
        matrices = np.broadcast_arrays(*work.affine_matrix(name, values, *size))
        maps = np.tile(np.eye(3), (len(values), 1, 1))
        maps[:, :2] = np.moveaxis(work.middle_coordinates(matrices), -1, 0)
        forward = tensor(np.linalg.inv(maps)[:, :2], images)
        fill_value = color.to(images.device)
        options = {"mode": "nearest", "padding_mode": "fill", "fill_value": fill_value}
        return warp_affine(images, forward, size, **options)

    def with_values(function: Callable, scale: float = 1.0) -> Batched:
        return lambda images, values, *_: function(
            images, tensor(values * scale, images)
        )

    def cutout(images: Any, values: np.ndarray, centers: np.ndarray, _: Any) -> Any:
        for image, value, center in zip(images, values, centers, strict=True):
            rows, columns = work.patch(value, center, *images.shape[2:])
            image[:, rows, columns] = color[:, None, None].to(image.device)
        return images

    def posterize(images: Any, values: np.ndarray, *_: Any) -> Any:
        return enhance.posterize(images, tensor(values, images).int())

    def pair(images: Any, values: np.ndarray, _: Any, partners: Any) -> Any:
        weights = tensor(values, images)[:, None, None, None]
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
