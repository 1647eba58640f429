"""What a config's zeros stand for: sizes that follow from the data and the devices.

Images of a mini-batch, epochs, rows that share BatchNorm statistics, steps of a round,
the side of test images. `memory` chooses the passes of accumulation.
"""

import ml_collections

from aaa_jax import data
from aaa_jax.augment import batch_layout

NUM_ROUNDS = 200  # that an automatic round length gives at least: the controller learns
AUTOMATIC_ROUND = -1
# Most rows of a group: N on CIFAR, the 16384 rows over the paper's 64 GPUs on ImageNet.
MOST_IMAGES, FEWEST_IMAGES = 128, 8  # of an automatic mini-batch
# Of an automatic length of training.
FEWEST_EPOCHS, FEWEST_STEPS = 60, 600
MOST_ROWS = {"resident": 128, "stream": 256}


def filled_in(
    config: ml_collections.ConfigDict,
    num_images: int,
    spec: data.DatasetSpec | None = None,
) -> ml_collections.ConfigDict:
    """The config with what it leaves to the data: N, epochs, side, share held out.

    Silent: a mini-batch is the largest power of two up to a quarter of the images, from
    8 to 128; training takes 60 epochs, or as many more as make 600 steps.

    Args:
        config: it is not changed.
        num_images: of the train split.
        spec: the dataset; None: as long as it is not known.
    """
    filled = config.copy_and_resolve_references()
    if filled.batch_size == 0:
        size = 2 ** (max(num_images // 4, 1).bit_length() - 1)
        filled.batch_size = min(num_images, max(FEWEST_IMAGES, min(size, MOST_IMAGES)))
    if filled.epochs == 0:
        steps_per_epoch = max(1, num_images // max(1, filled.batch_size))
        filled.epochs = max(FEWEST_EPOCHS, -(-FEWEST_STEPS // steps_per_epoch))
    if spec and filled.data.image_size == data.AUTOMATIC_SIDE:
        filled.data.image_size = spec.image_size
    if spec and isinstance(spec.train_split, data.Part):
        filled.data.validation_fraction = spec.train_split.fraction
    return filled


def layout(
    config: ml_collections.ConfigDict, loader: str | None = None
) -> batch_layout.GroupLayout:
    """How the rows of the large batch lie in groups, by the loader of the dataset.

    Without a loader it is as far as is known before the data are opened.

    Raises:
        ValueError: the sizes do not fit together.
    """
    num_images = config.batch_size or MOST_IMAGES  # until the data are known
    size = config.batch_norm.group_size
    if size == 0 and num_images > 0:
        most = MOST_ROWS[loader or _known_loader(config)]
        size = batch_layout.largest_divisor(num_images, most)
    return batch_layout.group_layout(
        num_images,
        config.policies.num_policies,
        size,
        config.batch_norm.grouping,
    )


def automatic_values(config: ml_collections.ConfigDict) -> dict[str, int]:
    """What a 0 stands for, as far as the config tells; earlier presets had these."""
    side = config.evaluation.image_size or config.data.image_size or 224
    return {
        "batch_norm.group_size": layout(config).group_size,
        "evaluation.resize": resized_side(side),
    }


def round_steps(config: ml_collections.ConfigDict, steps_per_epoch: int) -> int:
    """Steps between two controller updates."""
    steps = config.policies.round_steps
    if steps != AUTOMATIC_ROUND:
        return steps or steps_per_epoch
    total = steps_per_epoch * config.epochs
    return max(1, min(steps_per_epoch, total // NUM_ROUNDS))


def resized_side(side: int) -> int:
    """The short side before the centre crop of a test image: 256 at 224 pixels."""
    return round(side * 256 / 224)


def _known_loader(config: ml_collections.ConfigDict) -> str:
    """The loader of a dataset that was not opened yet; folders are streamed."""
    if config.data.loader != "auto":
        return config.data.loader
    known = data.DATASETS.get(config.data.name)
    return "stream" if known is None else known.loader
