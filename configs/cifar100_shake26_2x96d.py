"""Shake-Shake 26 2x96d on CIFAR-100 (Table 2, Table 7).

    python launch.py --config=configs/cifar100_shake26_2x96d.py

Meant for one GPU of 24 GB or more, or several. Test error, paper: 14.10 ± 0.15 %
(ours), 16.00 (cutout), 17.05 (baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar100"
    c.model.name = "shake_shake"
    c.model.options = ConfigDict({"depth": 26, "width": 96})
    c.epochs = 1200
    c.optimizer.learning_rate = 0.1
    c.optimizer.weight_decay = 5e-4
    c.optimizer.schedule = "cosine"
    # Silent: RandAugment has no setting for this pair; that of the dataset.
    c.policies.randaugment_num_ops = 2
    # Silent: the paper's 14 is beyond its scale, whose end is 10, the strongest.
    c.policies.randaugment_magnitude = 10
    return arguments.apply(c, argument)
