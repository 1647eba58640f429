"""Shake-Shake 26 2x96d on CIFAR-10 (Table 1, Table 7).

    python launch.py --config=configs/cifar10_shake26_2x96d.py

Meant for one GPU of 24 GB or more, or several. Test error, paper: 1.85 ± 0.12 % (ours),
2.56 (cutout), 2.86 (baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.name = "shake_shake"
    c.model.options = ConfigDict({"depth": 26, "width": 96})
    c.epochs = 600
    c.optimizer.learning_rate = 0.2
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = "cosine"
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 9
    return arguments.apply(c, argument)
