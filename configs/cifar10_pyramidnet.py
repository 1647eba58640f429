"""PyramidNet-272 (widening 200) with ShakeDrop on CIFAR-10 (Table 1, Table 7).

    python launch.py --config=configs/cifar10_pyramidnet.py

Meant for one GPU of 80 GB, or 2, 4 or 8.
Test error, paper: 1.36 ± 0.06 % (ours), 2.31 (cutout), 2.67 (baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.name = "pyramidnet"
    c.model.options = ConfigDict({"depth": 272, "widening": 200})
    c.epochs = 600
    c.optimizer.learning_rate = 0.1
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = "cosine"
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 9
    return arguments.apply(c, argument)
