"""Augmentation policies as a transform of Pillow images; needs Pillow and NumPy only.

    crop = [RandomCrop(32, padding=4), RandomHorizontalFlip()]  # of torchvision or timm
    transform = Compose([*crop, Policy(), ToTensor(), Normalize(...)])

Every op is bit for bit the one of aaa_jax, which wrote this file.
"""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

# An op: its name, its probability, and the values of which one is drawn for each image:
# two where it has two directions, none where it needs none. Degrees counter-clockwise;
# pixels to the left or up; shear; threshold; bits; factor (1 changes nothing); side of
# the patch; weight of the partner.
Op = tuple[str, float, tuple[float, ...]]
Chain = Sequence[tuple[str, float, tuple[int, int]]]  # name, value, (row, column)
Picture = Image.Image | np.ndarray

POLICIES: list[list[list[Op]]] = []
SIZE = (32, 32)  # height and width of the images that the values are for
FILL = (125, 123, 114)  # red, green, blue of moved-in pixels and of Cutout's patch


class Policy:
    """Puts an image through a sub-policy that is drawn anew for each image.

    An image is Pillow's or uint8 [H, W, 3], and comes back as what it was. Random
    numbers are those of Python's `random`, which PyTorch seeds anew in every worker.

    Args:
        number: which of POLICIES; None: one drawn for each image, as in training.
        policies: instead of POLICIES.
    """

    def __init__(
        self, number: int | None = None, policies: Sequence[list[list[Op]]] = POLICIES
    ) -> None:
        self.policies = policies if number is None else [policies[number]]
        self.last: Image.Image | None = None

    def __call__(self, image: Picture, partner: Picture | None = None) -> Picture:
        """The augmented image.

        Args:
            image: of SIZE.
            partner: what SamplePairing mixes in, of SIZE; None: the image of the call
                before, of the first call the image itself.
        """
        picture = _picture(image)
        other = (self.last or picture) if partner is None else _picture(partner)
        self.last = picture
        result = apply(picture, self.draw(), other)
        return np.asarray(result) if isinstance(image, np.ndarray) else result

    def draw(self) -> Chain:
        """The ops of one sub-policy, each with its value and a place for Cutout."""
        chain = random.choice(random.choice(self.policies))
        height, width = SIZE
        return [
            (
                name,
                random.choice(values) if values else 0.0,
                (random.randrange(height), random.randrange(width)),
            )
            for name, probability, values in chain
            if random.random() < probability
        ]


def apply(image: Image.Image, chain: Chain, partner: Image.Image) -> Image.Image:
    """The ops of a chain in order; SamplePairing mixes in the partner as it is."""
    for name, value, center in chain:
        image = apply_op(image, name, value, center, partner)
    return image


def apply_op(
    image: Image.Image,
    name: str,
    value: float,
    center: tuple[int, int],
    partner: Image.Image,
) -> Image.Image:
    """One op by name."""
    if name in MATRICES:
        matrix = MATRICES[name](value)
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, fillcolor=FILL
        )
    if name in TONES:
        return TONES[name](image, value)
    if name == "Rotate":
        return image.rotate(value, fillcolor=FILL)
    if name == "Cutout":
        return _cutout(image, int(value) // 2, center)
    if name == "SamplePairing":
        return Image.blend(image, partner, value)
    return image


Matrix = tuple[float, float, float, float, float, float]
MATRICES: dict[str, Callable[[float], Matrix]] = {
    "ShearX": lambda value: (1, value, 0, 0, 1, 0),
    "ShearY": lambda value: (1, 0, 0, value, 1, 0),
    "TranslateX": lambda value: (1, 0, value, 0, 1, 0),
    "TranslateY": lambda value: (1, 0, 0, 0, 1, value),
}
TONES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "AutoContrast": lambda image, value: ImageOps.autocontrast(image),
    "Invert": lambda image, value: ImageOps.invert(image),
    "Equalize": lambda image, value: ImageOps.equalize(image),
    "Solarize": lambda image, value: ImageOps.solarize(image, math.ceil(value)),
    "Posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "Contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "Color": lambda image, value: ImageEnhance.Color(image).enhance(value),
    "Brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "Sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
}


def _cutout(image: Image.Image, half: int, center: tuple[int, int]) -> Image.Image:
    """Covers a square of 2 * half pixels, cut at the borders."""
    (row, column), (width, height) = center, image.size
    top, bottom = max(row - half, 0), min(row + half, height)
    left, right = max(column - half, 0), min(column + half, width)
    if not half:
        return image
    image = image.copy()
    corners = (left, top, right - 1, bottom - 1)
    ImageDraw.Draw(image).rectangle(corners, fill=FILL)
    return image


def _picture(image: Picture) -> Image.Image:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if image.size != SIZE[::-1]:
        width, height = image.size
        raise ValueError(
            f"an image of {height} x {width} pixels: the values of this file are for "
            f"{SIZE[0]} x {SIZE[1]}; put Policy() behind the crop, or write the file "
            "with --size"
        )
    return image.convert("RGB")
