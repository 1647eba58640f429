"""The DATASETS table: what a run must know of a dataset before it reads it.

A dataset is one row. One that this package can prepare also has a file in `prepare` and
a row in `preparers.PREPARERS`. Names outside the table work too, see `load.describe`.
"""

from typing import NamedTuple

# Of ImageNet's train split, as in fb.resnet.torch and torchvision. The deviation is the
# average over the images of each image's own; that over all pixels is about 0.28.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Part(NamedTuple):
    """The images of a split that are held out to test on, or the others."""

    of: str  # a TFDS split
    fraction: float  # of each class that is held out, rounded, at least one image
    seed: int  # of the choice
    is_held_out: bool  # this part is what is held out

    def __str__(self) -> str:
        return f"held out of {self.of}" if self.is_held_out else self.of


class DatasetSpec(NamedTuple):
    """The facts about one dataset.

    Attributes:
        name: as TFDS names it, `name`, `name/config` or `name/config:version`.
        num_classes: K.
        image_size: height and width in pixels, as the network sees them.
        mean: of each channel over the train split, in 0..1 (pixel / 255).
        std: standard deviation of each channel over all its pixels, in 0..1.
        fill: the colour, uint8, that geometric ops bring in; it is the mean.
        flip: whether the standard augmentation may mirror an image.
        padding: pixels of zeros round an image before its random crop.
        train_split: TFDS split to train on, or a part of one.
        test_split: TFDS split to test on, or a part of one.
        loader: "resident" if the split is decoded once and lives on the device;
            "stream" if images, of any size, are decoded at each use and cropped to
            `image_size` by the host.
    """

    name: str
    num_classes: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fill: tuple[int, int, int]
    flip: bool
    padding: int = 4
    train_split: str | Part = "train"
    test_split: str | Part = "test"
    loader: str = "resident"


# Images of the train and the test split, for plans before the data are there.
NUM_IMAGES: dict[str, tuple[int, int]] = {
    "digits": (1_198, 599),
    "digits_few": (299, 1_498),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet2012": (1_281_167, 50_000),
}

DATASETS: dict[str, DatasetSpec] = {
    "digits": DatasetSpec(
        name="digits",
        num_classes=10,
        image_size=32,
        mean=(0.3058, 0.3058, 0.3058),
        std=(0.3238, 0.3238, 0.3238),
        fill=(78, 78, 78),
        flip=False,
    ),
    "digits_few": DatasetSpec(
        name="digits_few",
        num_classes=10,
        image_size=16,
        mean=(0.3053, 0.3053, 0.3053),
        std=(0.3188, 0.3188, 0.3188),
        fill=(78, 78, 78),
        flip=False,
        padding=2,
    ),
    "cifar10": DatasetSpec(
        name="cifar10",
        num_classes=10,
        image_size=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        fill=(125, 123, 114),
        flip=True,
    ),
    "cifar100": DatasetSpec(
        name="cifar100",
        num_classes=100,
        image_size=32,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        fill=(129, 124, 112),
        flip=True,
    ),
    "imagenet2012": DatasetSpec(
        name="imagenet2012",
        num_classes=1000,
        image_size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        fill=(124, 116, 104),
        flip=True,
        padding=0,
        test_split="validation",
        loader="stream",
    ),
}
