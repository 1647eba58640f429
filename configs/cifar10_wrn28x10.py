"""Wide-ResNet-28-10 on CIFAR-10 (Table 1, Table 7).

    python launch.py --config=configs/cifar10_wrn28x10.py

Meant for one GPU of 40 GB or more, or several. Test error, paper: 1.90 ± 0.15 %
(ours), 3.08 (cutout), 3.87 (baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.options = ConfigDict({"depth": 28, "width": 10})
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 5
    return arguments.apply(c, argument)
