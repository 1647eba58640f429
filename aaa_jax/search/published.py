"""Policies that other papers published, as plain data.

A chain is a tuple of (op, probability, magnitude). Its ops are applied in order, each
with its probability. A policy is a tuple of chains; every image draws one of them
uniformly. `sources` names the range table of the magnitudes.

Sources: E. Cubuk et al., "AutoAugment" (arXiv:1805.09501); D. Ho et al., "Population
Based Augmentation" (arXiv:1905.05393); E. Cubuk et al., "RandAugment"
(arXiv:1909.13719); S. Müller and F. Hutter, "TrivialAugment" (arXiv:2103.10158).
"""

import itertools

Entry = tuple[str, float, int]  # op, probability, magnitude
Chain = tuple[Entry, ...]

# AutoAugment, the policy found on reduced CIFAR-10; magnitudes 0-9 of "release".
_CIFAR10: tuple[Chain, ...] = (
    (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
    (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
)
# AutoAugment, the policy found on reduced SVHN.
_SVHN: tuple[Chain, ...] = (
    (("ShearX", 0.9, 4), ("Invert", 0.2, 3)),
    (("ShearY", 0.9, 8), ("Invert", 0.7, 5)),
    (("Equalize", 0.6, 5), ("Solarize", 0.6, 6)),
    (("Invert", 0.9, 3), ("Equalize", 0.6, 3)),
    (("Equalize", 0.6, 1), ("Rotate", 0.9, 3)),
    (("ShearX", 0.9, 4), ("AutoContrast", 0.8, 3)),
    (("ShearY", 0.9, 8), ("Invert", 0.4, 5)),
    (("ShearY", 0.9, 5), ("Solarize", 0.2, 6)),
    (("Invert", 0.9, 6), ("AutoContrast", 0.8, 1)),
    (("Equalize", 0.6, 3), ("Rotate", 0.9, 3)),
    (("ShearX", 0.9, 4), ("Solarize", 0.3, 3)),
    (("ShearY", 0.8, 8), ("Invert", 0.7, 4)),
    (("Equalize", 0.9, 5), ("TranslateY", 0.6, 6)),
    (("Invert", 0.9, 4), ("Equalize", 0.6, 7)),
    (("Contrast", 0.3, 3), ("Rotate", 0.8, 4)),
    (("Invert", 0.8, 5), ("TranslateY", 0.0, 2)),
    (("ShearY", 0.7, 6), ("Solarize", 0.4, 8)),
    (("Invert", 0.6, 4), ("Rotate", 0.8, 4)),
    (("ShearY", 0.3, 7), ("TranslateX", 0.9, 3)),
    (("ShearX", 0.1, 6), ("Invert", 0.6, 5)),
    (("Solarize", 0.7, 2), ("TranslateY", 0.6, 7)),
    (("ShearY", 0.8, 4), ("Invert", 0.8, 8)),
    (("ShearX", 0.7, 9), ("TranslateY", 0.8, 3)),
    (("ShearY", 0.8, 5), ("AutoContrast", 0.7, 3)),
    (("ShearX", 0.7, 2), ("Invert", 0.1, 5)),
)
# AutoAugment, the policy found on reduced ImageNet; five of its chains count twice.
_IMAGENET: tuple[Chain, ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 2)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 8), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
    (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
)
AUTOAUGMENT: dict[str, tuple[Chain, ...]] = {
    "cifar10": _CIFAR10,
    "svhn": _SVHN,
    "imagenet": _IMAGENET,
}

# The ops of RandAugment's paper and of TrivialAugment's standard space.
# fmt: off
FOURTEEN_OPS = (
    "Identity", "AutoContrast", "Equalize", "Rotate", "Solarize", "Color", "Posterize",
    "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX",
    "TranslateY",
)
# fmt: on
NUM_WIDE_MAGNITUDES = 31


def randaugment(num_ops: int, magnitude: int) -> tuple[Chain, ...]:
    """RandAugment: `num_ops` ops drawn with replacement, all at one magnitude, 0-30.

    The chains are all 14^num_ops ordered tuples of the 14 ops.
    """
    tuples = itertools.product(FOURTEEN_OPS, repeat=num_ops)
    return tuple(tuple((op, 1.0, magnitude) for op in ops) for ops in tuples)


def trivialaugment() -> tuple[Chain, ...]:
    """TrivialAugment: one op and one of 31 magnitudes, both uniform; 434 chains."""
    pairs = itertools.product(FOURTEEN_OPS, range(NUM_WIDE_MAGNITUDES))
    return tuple(((op, 1.0, magnitude),) for op, magnitude in pairs)


# Population Based Augmentation, the schedule found on reduced CIFAR-10 with
# Wide-ResNet-40-2 and used for CIFAR-10 and CIFAR-100. Each image gets 0, 1 or 2 ops,
# with these probabilities, on a walk through the shuffled 30 entries.
PBA_NUM_OPS_PROBS = (0.2, 0.3, 0.5)
# fmt: off
PBA_OPS = (
    "Rotate", "TranslateX", "TranslateY", "Brightness", "Color", "Invert", "Sharpness",
    "Posterize", "ShearX", "Solarize", "ShearY", "Equalize", "AutoContrast", "Cutout",
    "Contrast",
)
# (epochs, entries): two copies of PBA_OPS, each op with its probability in tenths
# (0-10) and its magnitude (0-9 of "release"), in this order.
_PBA_CIFAR: tuple[tuple[int, tuple[int, ...]], ...] = (
    (12, (
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )),
    (22, (
        0, 3, 3, 7, 1, 9, 2, 0, 2, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 2,
        0, 2, 0, 0, 0, 0, 1, 0, 3, 1, 0, 0, 1, 0, 3, 0, 2, 0, 0, 6,
        0, 0, 0, 3, 0, 2, 0, 0, 6, 0, 3, 4, 0, 0, 0, 0, 3, 1, 0, 3,
    )),
    (20, (
        3, 0, 3, 8, 3, 2, 0, 6, 3, 0, 0, 3, 0, 0, 0, 3, 0, 3, 2, 4,
        5, 3, 0, 0, 2, 1, 0, 0, 6, 0, 2, 0, 2, 8, 5, 4, 2, 3, 0, 5,
        3, 3, 0, 2, 1, 5, 3, 0, 5, 0, 3, 3, 0, 1, 0, 0, 1, 0, 1, 3,
    )),
    (20, (
        2, 0, 2, 3, 3, 5, 0, 3, 0, 2, 3, 6, 1, 0, 2, 5, 0, 5, 0, 2,
        5, 5, 0, 0, 0, 4, 0, 1, 2, 0, 4, 3, 2, 5, 8, 6, 0, 6, 0, 2,
        6, 5, 5, 3, 1, 7, 2, 6, 2, 0, 3, 1, 1, 8, 0, 0, 0, 0, 9, 0,
    )),
    (1, (
        4, 0, 0, 5, 6, 0, 1, 2, 3, 1, 6, 7, 0, 0, 0, 8, 0, 5, 0, 3,
        4, 2, 0, 0, 0, 6, 0, 0, 4, 0, 6, 1, 0, 5, 6, 3, 0, 3, 9, 0,
        8, 5, 5, 3, 2, 7, 5, 4, 0, 3, 3, 0, 0, 7, 0, 2, 0, 1, 7, 3,
    )),
    (6, (
        4, 0, 3, 3, 5, 3, 1, 0, 9, 0, 3, 8, 0, 0, 0, 9, 0, 2, 1, 6,
        1, 2, 6, 1, 0, 7, 0, 2, 1, 0, 7, 1, 8, 8, 5, 3, 1, 2, 10, 7,
        8, 5, 4, 3, 3, 7, 5, 6, 0, 3, 6, 1, 0, 4, 0, 5, 0, 1, 7, 3,
    )),
    (3, (
        3, 0, 4, 3, 9, 5, 0, 2, 10, 0, 3, 9, 0, 0, 0, 6, 3, 0, 0, 6,
        0, 5, 9, 1, 0, 5, 0, 1, 9, 0, 7, 4, 8, 2, 5, 3, 2, 2, 10, 7,
        8, 3, 4, 3, 3, 7, 3, 6, 0, 5, 6, 1, 0, 6, 8, 9, 3, 0, 8, 3,
    )),
    (27, (
        4, 1, 7, 2, 10, 3, 0, 2, 10, 0, 4, 9, 3, 0, 2, 6, 4, 3, 2, 9,
        1, 8, 10, 1, 3, 2, 0, 2, 10, 3, 7, 2, 6, 4, 7, 3, 2, 6, 10, 9,
        5, 4, 1, 4, 6, 7, 1, 5, 0, 2, 1, 0, 0, 9, 3, 9, 3, 0, 9, 3,
    )),
    (6, (
        4, 1, 8, 2, 10, 2, 3, 3, 10, 0, 4, 8, 1, 0, 0, 4, 6, 2, 4, 9,
        5, 7, 9, 3, 4, 2, 0, 4, 8, 1, 8, 0, 6, 7, 7, 8, 1, 6, 10, 9,
        3, 3, 1, 3, 3, 7, 1, 8, 0, 6, 0, 3, 0, 9, 6, 6, 5, 6, 9, 2,
    )),
    (21, (
        2, 0, 10, 2, 10, 6, 4, 3, 10, 1, 5, 9, 2, 3, 0, 4, 5, 3, 7, 5,
        8, 4, 10, 2, 5, 1, 0, 2, 5, 3, 10, 1, 2, 8, 7, 8, 1, 7, 7, 8,
        3, 1, 1, 5, 3, 6, 0, 8, 0, 6, 0, 6, 1, 9, 7, 9, 5, 6, 10, 6,
    )),
    (6, (
        5, 1, 10, 5, 9, 7, 4, 7, 7, 0, 2, 9, 4, 1, 0, 2, 7, 1, 10, 4,
        10, 5, 10, 8, 5, 0, 0, 4, 4, 3, 10, 1, 0, 8, 6, 7, 1, 9, 4, 7,
        1, 2, 1, 6, 6, 5, 4, 9, 0, 7, 0, 3, 1, 9, 8, 9, 4, 8, 9, 6,
    )),
    (9, (
        4, 0, 10, 5, 7, 3, 7, 5, 7, 0, 0, 9, 1, 1, 3, 0, 7, 0, 10, 7,
        10, 5, 10, 5, 3, 0, 0, 4, 1, 3, 10, 3, 0, 8, 5, 9, 5, 2, 5, 9,
        1, 3, 0, 6, 4, 6, 1, 7, 3, 4, 0, 6, 7, 9, 9, 9, 5, 7, 5, 6,
    )),
    (7, (
        4, 0, 7, 6, 5, 5, 9, 5, 5, 0, 0, 6, 0, 1, 0, 1, 2, 3, 10, 7,
        10, 2, 10, 3, 4, 0, 0, 1, 3, 5, 10, 2, 10, 6, 5, 9, 3, 3, 5, 6,
        4, 9, 0, 7, 6, 6, 4, 9, 0, 5, 2, 6, 9, 9, 6, 9, 3, 8, 4, 1,
    )),
    (17, (
        1, 8, 10, 4, 8, 5, 7, 3, 5, 7, 1, 8, 9, 1, 0, 9, 4, 5, 8, 7,
        9, 1, 10, 4, 4, 4, 1, 0, 0, 7, 8, 4, 10, 4, 8, 9, 5, 4, 6, 1,
        5, 6, 1, 4, 7, 4, 5, 7, 0, 7, 2, 5, 6, 9, 3, 9, 3, 6, 5, 3,
    )),
    (6, (
        3, 7, 7, 1, 9, 5, 9, 5, 3, 9, 0, 9, 10, 3, 5, 8, 1, 3, 10, 7,
        10, 5, 10, 8, 7, 1, 1, 7, 0, 9, 6, 5, 10, 4, 9, 9, 8, 2, 8, 2,
        8, 3, 2, 1, 4, 2, 8, 7, 1, 5, 2, 2, 3, 9, 2, 9, 1, 8, 8, 9,
    )),
    (12, (
        3, 7, 6, 0, 10, 7, 8, 5, 6, 9, 0, 9, 9, 3, 2, 6, 1, 1, 10, 5,
        10, 2, 7, 8, 7, 8, 3, 6, 9, 7, 2, 6, 10, 3, 7, 9, 10, 3, 6, 2,
        1, 6, 0, 0, 5, 0, 6, 9, 3, 4, 1, 2, 1, 9, 2, 0, 5, 9, 8, 9,
    )),
    (5, (
        0, 6, 6, 6, 10, 0, 3, 4, 5, 8, 0, 9, 7, 3, 0, 6, 0, 2, 10, 5,
        10, 2, 10, 6, 10, 9, 0, 8, 10, 7, 2, 7, 8, 6, 6, 7, 10, 3, 9, 4,
        0, 8, 0, 1, 5, 0, 8, 7, 3, 3, 2, 3, 0, 8, 3, 3, 5, 2, 7, 6,
    )),
)
# fmt: on


def pba_cifar() -> tuple[tuple[int, Chain], ...]:
    """PBA's CIFAR schedule: (epochs, the 30 entries of that time), 200 epochs long."""
    schedule = []
    for epochs, numbers in _PBA_CIFAR:
        entries = zip(PBA_OPS * 2, numbers[::2], numbers[1::2], strict=True)
        chain = tuple((op, tenths / 10, magnitude) for op, tenths, magnitude in entries)
        schedule.append((epochs, chain))
    return tuple(schedule)
