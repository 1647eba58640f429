"""Pillow, OpenCV and albumentations as candidates: one image at a time, on the host.

Pillow's results are the definition of right; the others approximate them as their own
functions do.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from PIL import Image

from aaa_jax.search.pillow_policy import FILL, MATRICES, apply_op
from benchmarks.augment import work

GEOMETRIC = (*MATRICES, "Rotate")


def pillow(task: work.Work) -> work.Library:
    """Pillow, as AutoAugment's code and its ports call it."""

    def apply(name: str, image: Any, value: float, inputs: work.Inputs) -> Any:
        return apply_op(image, name, value, *inputs)

    ops = {name: functools.partial(apply, name) for name in task.names}
    return work.image_by_image(task, ops, Image.fromarray, np.asarray)


def opencv(task: work.Work) -> work.Library:
    """OpenCV's functions on arrays, the quickest we know of for each op."""
    cv2.setNumThreads(1)
    return work.image_by_image(task, opencv_ops())


def opencv_ops() -> dict[str, work.Apply]:
    """The ops by OpenCV on uint8 arrays."""
    ramp = np.arange(256)

    def affine(name: str, image: np.ndarray, value: float, inputs: work.Inputs) -> Any:
        height, width, _ = image.shape
        matrix = work.middle_coordinates(work.affine_matrix(name, value, height, width))
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        options = {"flags": flags, "borderValue": FILL}
        return cv2.warpAffine(image, matrix, (width, height), **options)

    @functools.cache
    def blended_table(value: float, start: int) -> np.ndarray:
        return np.clip(start + value * (ramp - start), 0, 255).astype(np.uint8)

    @functools.cache
    def solarize_table(value: float) -> np.ndarray:
        return np.where(ramp < value, ramp, 255 - ramp).astype(np.uint8)

    def auto_contrast(image: np.ndarray, *_: Any) -> Any:
        extremes = [cv2.minMaxLoc(channel)[:2] for channel in cv2.split(image)]
        low, high = np.array(extremes).T
        scale = 255 / np.maximum(high - low, 1)
        table = np.clip((ramp[:, None] - low) * scale, 0, 255)
        table = np.where(high > low, table, ramp[:, None]).astype(np.uint8)
        return cv2.LUT(image, table[None])

    def equalize(image: np.ndarray, *_: Any) -> Any:
        return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])

    def contrast(image: np.ndarray, value: float, _: work.Inputs) -> Any:
        mean = int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5)
        return cv2.LUT(image, blended_table(value, mean))

    def color(image: np.ndarray, value: float, _: work.Inputs) -> Any:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        gray = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(image, value, gray, 1 - value, 0)

    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13

    def sharpness(image: np.ndarray, value: float, _: work.Inputs) -> Any:
        smooth = cv2.filter2D(image, -1, kernel)
        return cv2.addWeighted(image, value, smooth, 1 - value, 0)

    def cutout(image: np.ndarray, value: float, inputs: work.Inputs) -> Any:
        image = image.copy()
        image[work.patch(value, inputs.center, *image.shape[:2])] = FILL
        return image

    return {
        **{name: functools.partial(affine, name) for name in GEOMETRIC},
        "AutoContrast": auto_contrast,
        "Invert": lambda image, *_: cv2.bitwise_not(image),
        "Equalize": equalize,
        "Solarize": lambda image, value, _: cv2.LUT(image, solarize_table(value)),
        "Posterize": lambda image, value, _: (
            image & np.uint8(255 << (8 - int(value)) & 255)
        ),
        "Contrast": contrast,
        "Color": color,
        "Brightness": lambda image, value, _: cv2.LUT(image, blended_table(value, 0)),
        "Sharpness": sharpness,
        "Cutout": cutout,
        "SamplePairing": lambda image, value, inputs: cv2.addWeighted(
            image, 1 - value, inputs.partner, value, 0
        ),
        "Identity": lambda image, *_: image,
    }


def albumentations(task: work.Work) -> work.Library:
    """Albumentations' transforms, made once per value; SamplePairing by OpenCV."""
    import albumentations as A

    cv2.setNumThreads(1)
    make = _albumentations_transform(A)

    def apply(name: str, image: np.ndarray, value: float, _: work.Inputs) -> Any:
        transform = make(name, value)
        return image if transform is None else transform(image=image)["image"]

    ops: dict[str, work.Apply] = {
        name: functools.partial(apply, name) for name in task.names
    }
    ops |= {"SamplePairing": opencv_ops()["SamplePairing"]}
    return work.image_by_image(task, ops)


def _albumentations_transform(A: Any) -> Callable:
    """(op, value) -> a transform with that strength, or None for the identity."""
    geometry = {"interpolation": cv2.INTER_NEAREST, "fill": FILL, "p": 1.0}

    def jitter(field: str, value: float) -> Any:
        ranges = dict.fromkeys(("brightness", "contrast", "saturation"), (1.0, 1.0))
        ranges[field] = (value, value)
        return A.ColorJitter(**ranges, hue=(0.0, 0.0), p=1.0)

    def affine(option: str, axis: str, value: float) -> Any:
        is_shear = option == "shear"
        amount = math.degrees(math.atan(value)) if is_shear else -int(value)
        both = {"x": (0, 0), "y": (0, 0)} | {axis: (amount, amount)}
        return A.Affine(**{option: both}, **geometry)

    def cutout(value: float) -> Any:
        side = (int(value), int(value))
        if side[0] < 1:
            return None
        holes = {"hole_height_range": side, "hole_width_range": side}
        return A.CoarseDropout((1, 1), fill=FILL, p=1.0, **holes)

    def sharpen(value: float) -> Any:  # it has no smoothing side
        strength = min(abs(value - 1), 1.0)
        return A.Sharpen((strength, strength), (1.0, 1.0), p=1.0)

    makers: dict[str, Callable[[float], Any]] = {
        "ShearX": functools.partial(affine, "shear", "x"),
        "ShearY": functools.partial(affine, "shear", "y"),
        "TranslateX": functools.partial(affine, "translate_px", "x"),
        "TranslateY": functools.partial(affine, "translate_px", "y"),
        "Rotate": lambda v: A.Rotate((v, v), border_mode=0, **geometry),
        "AutoContrast": lambda v: A.AutoContrast(method="pil", p=1.0),
        "Invert": lambda v: A.InvertImg(p=1.0),
        "Equalize": lambda v: A.Equalize(mode="cv", p=1.0),
        "Solarize": lambda v: A.Solarize((v / 256, v / 256), p=1.0),
        "Posterize": lambda v: None if v >= 8 else A.Posterize(int(v), p=1.0),
        "Contrast": functools.partial(jitter, "contrast"),
        "Color": functools.partial(jitter, "saturation"),
        "Brightness": functools.partial(jitter, "brightness"),
        "Sharpness": sharpen,
        "Cutout": cutout,
        "Identity": lambda v: None,
    }
    return functools.cache(lambda name, value: makers[name](value))
