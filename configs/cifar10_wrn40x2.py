"""Wide-ResNet-40-2 on CIFAR-10: AutoAugment's small network, for quicker studies.

    python launch.py --config=configs/cifar10_wrn40x2.py

Not in the paper: recipe of Wide-ResNet-28-10 (Table 7). Meant for one GPU. Here: not
run to the end.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.options = ConfigDict({"depth": 40, "width": 2})
    c.policies.round_steps = -1  # not in the paper: short enough to learn
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 5
    return arguments.apply(c, argument)
