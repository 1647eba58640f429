"""ResNet-50 on ImageNet at 224 px (Table 3, Table 4, Table 7).

    python launch.py --config=configs/imagenet_r50.py

The data: `python -m aaa_jax prepare imagenet2012 --archive=FOLDER`, with the two
original tar files in FOLDER. They are streamed: a host decodes an image once and cuts
its 8 rows from that. How fast: `benchmarks/input`; on a pod: `docs/pods.md`.

Meant for 8 GPUs of 80 GB; it runs on 1 to 64. Test error, top-1 / top-5, paper: 20.60
± 0.15 / 5.53 ± 0.05 % (ours), 21.68 (random), 22.70 (fixed), 23.69 / 6.92 (baseline).
Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "imagenet2012"
    c.model.name = "resnet"
    c.model.options = ConfigDict({"depth": 50})
    c.batch_size = 2048
    c.epochs = 120
    c.augment.padding = 0  # random resized crops, which the loader makes
    c.augment.cutout_size = 0  # on CIFAR only (Sec. 4.2)
    c.policies.published = "imagenet"
    c.policies.randaugment_num_ops = 2
    c.policies.randaugment_magnitude = 9
    c.optimizer.learning_rate = 0.8
    c.optimizer.weight_decay = 1e-4
    c.optimizer.clip_norm = 0.0
    c.optimizer.schedule = "cosine"
    # Silent: linear, as Goyal et al. 2017 at large batches; of the Baseline too.
    c.optimizer.warmup_epochs = 5.0
    arguments.apply(c, argument)
    if argument == "baseline":  # Table 4; Silent: when and by how much
        c.optimizer.schedule = "step"
        c.optimizer.milestones = (30, 60, 90)
        c.optimizer.factor = 0.1
    return c
