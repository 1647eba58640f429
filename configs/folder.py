"""Images of your own: a folder `CLASS/*.jpg`, from tens of images to tens of thousands.

    python launch.py --config=configs/folder.py --config.data.name=folder:PATH

PATH holds a folder of images for each class: a fifth of each is held out for the test,
drawn by the seed (`data.validation_fraction`, `held_out.json` in the run's directory).
Or PATH holds folders `train` and `validation`, or `test`, with these in them. Other
arguments as for every preset: `configs/folder.py:random`, `:guarded`, ...

Not in the paper: a ResNet-18 in float32, trained from nothing. Side, mini-batch and
epochs follow from the images and their number, and a round is short enough for 200
controller updates. The learning rate suits mini-batches of 8 to 128.
Hours: 60 images take 600 steps of 64 rows at 64 pixels, a quarter of an hour on 2 idle
CPU cores (23 minutes of CPU time, jax 0.12); 50,000 at 224 pixels need a GPU. 60 crops
of scikit-image's pictures in 3 classes, 12 of them for testing, ended without an error
under `:ours` and `:random`; the controller began to move in epoch 68 of 100.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "folder:PATH"
    c.data.image_size = -1
    c.model.name = "resnet"
    c.model.options = ConfigDict({"depth": 18})
    c.model.dtype = "float32"
    c.batch_size = 0
    c.epochs = 0
    c.augment.padding = 0  # random resized crops, which the loader makes
    c.augment.cutout_size = 0  # on CIFAR only (Sec. 4.2)
    c.policies.round_steps = -1
    c.policies.published = "imagenet"
    c.optimizer.learning_rate = 0.05
    c.optimizer.schedule = "cosine"
    c.evaluation.every_epochs = 5
    return arguments.apply(c, argument)
