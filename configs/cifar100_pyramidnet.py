"""PyramidNet-272 (widening 200) with ShakeDrop on CIFAR-100 (Table 2, Table 7).

    python launch.py --config=configs/cifar100_pyramidnet.py

Meant for one GPU of 80 GB, or 2, 4 or 8.
Test error, paper: 10.42 ± 0.20 % (ours), 12.19 (cutout), 13.99 (baseline). Here: not
run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar100"
    c.model.name = "pyramidnet"
    c.model.options = ConfigDict({"depth": 272, "widening": 200})
    c.epochs = 1200
    c.optimizer.learning_rate = 0.5
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = "cosine"
    # Silent: RandAugment has no setting for this pair; that of the dataset.
    c.policies.randaugment_num_ops = 2
    # Silent: the paper's 14 is beyond its scale, whose end is 10, the strongest.
    c.policies.randaugment_magnitude = 10
    return arguments.apply(c, argument)
