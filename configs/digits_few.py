"""Digits for comparisons of methods: 250 training images, 1498 test images.

    python launch.py --config=configs/digits_few.py

The quick start's 599 test images cannot tell 1.8 % from 2.1 %. Here five sixths of the
digits are for testing, and each seed draws 250 of the other 299 images. Images of 16x16
pixels and a stem of stride 2 make a step cheap, so that many seeds fit an hour. Not in
the paper: as `digits.py`, with 200 controller updates, one every three mini-batches.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "digits_few"
    c.data.num_train_images = 250
    c.model.options = ConfigDict({"depth": 10, "width": 1, "stem_stride": 2})
    c.model.dtype = "float32"
    c.batch_size = 16
    c.epochs = 40
    c.policies.round_steps = 3
    c.policies.published = "svhn"  # the policy that was found on digits
    c.optimizer.schedule = "cosine"
    c.augment.padding = 2
    c.augment.cutout_size = 4
    c.evaluation.every_epochs = 9
    return arguments.apply(c, argument)
