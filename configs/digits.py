"""Handwritten digits: the quick start. Real data, no download, minutes on a laptop.

    python launch.py --config=configs/digits.py

1797 images of 8x8 pixels (scikit-learn's copy of the UCI set), shown as 32x32 RGB. Few
of them are for training, so that augmentation shows. Not in the paper: a small
Wide-ResNet, and a controller update every few steps, because with fewer than about 200
updates the controller would still be uniform, and "ours" would be "random".
Measured results are in the README.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "digits"
    c.data.num_train_images = 300
    c.model.options = ConfigDict({"depth": 10, "width": 1})
    c.model.dtype = "float32"
    c.batch_size = 16
    c.epochs = 34
    c.policies.round_steps = 3
    c.policies.published = "svhn"  # the policy that was found on digits
    c.optimizer.schedule = "cosine"
    c.augment.cutout_size = 8
    c.evaluation.every_epochs = 4
    return arguments.apply(c, argument)
