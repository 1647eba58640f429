"""The ops' oracle: Pillow's own on NumPy images; pictures and policies of all kinds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

from aaa_jax.augment.large_batch import Draws
from aaa_jax.augment.magnitudes import RANGES
from aaa_jax.augment.ops import OPS
from aaa_jax.augment.policies import Policies

Color = tuple[int, ...]
NAMES = [op.name for op in OPS]
FILL = (125, 123, 114)

# Sides of the images under test: CIFAR's, MNIST's, odd ones and degenerate ones.
SIZES = [(32, 32), (37, 53), (28, 28), (1, 1), (2, 7)]


def pillow_op(
    image: np.ndarray,
    name: str,
    value: float,
    center: tuple[int, int] = (0, 0),
    partner: np.ndarray | None = None,
    fill: Color = FILL,
) -> np.ndarray:
    """One op by name, uint8 [H, W, 3] -> the same; a name without an oracle fails."""
    picture = Image.fromarray(image)
    if partner is None:
        partner = image
    result = apply(picture, name, value, center, Image.fromarray(partner), fill, fill)
    return np.asarray(result)


def apply(
    picture: Image.Image,
    name: str,
    value: float,
    center: tuple[int, int],
    partner: Image.Image,
    moved_in: Color,
    covered: Color,
) -> Image.Image:
    """One op by name on a Pillow image, RGB or (not SamplePairing) RGBA."""
    matrices = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, value),
    }
    if name in matrices:
        kind = Image.Transform.AFFINE
        return picture.transform(picture.size, kind, matrices[name], fillcolor=moved_in)
    if name == "Rotate":
        return picture.rotate(value, fillcolor=moved_in)
    tones = {
        "AutoContrast": ImageOps.autocontrast,
        "Invert": ImageOps.invert,
        "Equalize": ImageOps.equalize,
        "Solarize": lambda rgb: ImageOps.solarize(rgb, value),
        "Posterize": lambda rgb: ImageOps.posterize(rgb, int(value)),
    }
    if name in tones:  # these go through RGB, as in AutoAugment's CIFAR code
        return tones[name](picture.convert("RGB")).convert(picture.mode)
    if name in ("Contrast", "Color", "Brightness", "Sharpness"):
        return getattr(ImageEnhance, name)(picture).enhance(value)
    if name == "Cutout":
        return _cutout(picture, int(value) // 2, center, covered)
    if name == "SamplePairing":
        return Image.blend(picture, partner, value)
    assert name == "Identity", f"{name} has no oracle"
    return picture


def _cutout(
    picture: Image.Image, half: int, center: tuple[int, int], covered: Color
) -> Image.Image:
    picture = picture.copy()
    width, height = picture.size
    top, bottom = max(center[0] - half, 0), min(center[0] + half, height)
    left, right = max(center[1] - half, 0), min(center[1] + half, width)
    if half:
        corners = (left, top, right - 1, bottom - 1)
        ImageDraw.Draw(picture).rectangle(corners, fill=covered)
    return picture


@functools.cache
def pictures(height: int, width: int) -> np.ndarray:
    """Nine images uint8 [9, H, W, 3]: noise, ramps, flat, few values, photographs."""
    rng = np.random.default_rng(height * 1000 + width)
    size = (height, width, 3)
    y, x, c = np.mgrid[:height, :width, :3]
    dominant = np.where(rng.random(size) < 0.9, 200, rng.integers(0, 256, size))
    images = [
        rng.integers(0, 256, size),
        (x * 255 // max(width - 1, 1) + 40 * c) % 256,
        20 + (3 * x * x + 5 * y * y + 7 * (c + 1) * x * y + 11 * c * y + 40) % 200,
        np.full(size, (125, 7, 255)),
        rng.choice([0, 31, 32, 255], size),
        np.clip(rng.normal(128, 6, size), 0, 255),
        dominant,
        _crop("china.jpg", height, width),
        _crop("flower.jpg", height, width),
    ]
    return np.stack(images).astype(np.uint8)


def _crop(photograph: str, height: int, width: int) -> np.ndarray:
    return load_sample_image(photograph)[150 : 150 + height, 250 : 250 + width]


def some_policies(
    shape: tuple[int, int, int],
    *,
    num_magnitudes: int = 10,
    probs: tuple[float, ...] = (1.0,),
    without: tuple[str, ...] = (),
    seed: int = 0,
) -> Policies:
    """Policies [M, Q, S] in which every op of `OPS` occurs, if there is room."""
    rng = np.random.default_rng(seed)
    indices = rng.permutation(
        [i for i, name in enumerate(NAMES) if name not in without]
    )
    return Policies(
        ops=jnp.asarray(np.resize(indices, shape), jnp.int32),
        magnitudes=jnp.asarray(rng.integers(0, num_magnitudes, shape), jnp.int32),
        probs=jnp.asarray(rng.choice(probs, shape), jnp.float32),
    )


def replay(
    draws: Draws,
    rows: np.ndarray,
    some: Policies,
    policy_of_row: np.ndarray,
    group_size: int,
    ranges: str,
    *,
    fill: Color = FILL,
    with_validity: bool = False,
) -> np.ndarray:
    """What Pillow makes of the rows, op by op, from the same draws.

    With validity as AutoAugment's CIFAR code: RGBA, alpha 0 outside and under Cutout.
    """
    table, size = RANGES[ranges], rows.shape[1:3]
    draws, some = jax.tree.map(np.asarray, (draws, some))
    mode = "RGBA" if with_validity else "RGB"
    colors = ((0, 0, 0, 0), (*fill, 0)) if with_validity else (fill, fill)
    pictures = [Image.fromarray(row).convert(mode) for row in np.asarray(rows)]
    results = []
    for i, picture in enumerate(pictures):
        group = pictures[i // group_size * group_size :]
        chain = (int(policy_of_row[i]), draws.sub_policy[i])
        for s in np.flatnonzero(draws.applied[i]):
            name, magnitude = NAMES[some.ops[chain][s]], int(some.magnitudes[chain][s])
            value = table.value(name, magnitude, int(draws.sign[i, s]), *size)
            center = tuple(draws.center[i, s].tolist())
            partner = group[draws.partner[i, s]]
            picture = apply(picture, name, value, center, partner, *colors)
        results.append(np.asarray(picture))
    return np.stack(results)


def crop(image, offset, flip, padding):
    """The standard augmentation of one image [H, W, C], zeros around it."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    top, left = offset
    cropped = padded[top : top + image.shape[0], left : left + image.shape[1]]
    return cropped[:, ::-1] if flip else cropped
