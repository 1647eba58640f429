"""Shake-Shake 26 2x32d on CIFAR-10 (Table 1, Table 7).

    python launch.py --config=configs/cifar10_shake26_2x32d.py

Meant for one GPU of 24 GB or more, or several. Test error, paper: 2.36 ± 0.10 % (ours),
3.02 (cutout), 3.55 (baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.name = "shake_shake"
    c.model.options = ConfigDict({"depth": 26, "width": 32})
    c.epochs = 600
    c.optimizer.learning_rate = 0.2
    c.optimizer.weight_decay = 1e-4
    c.optimizer.schedule = "cosine"
    # Silent: RandAugment has no setting for this width; that of 2x96d.
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 9
    return arguments.apply(c, argument)
