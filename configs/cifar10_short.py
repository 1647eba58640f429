"""A short recipe on CIFAR-10: does the controller beat random policies at the same M?

    python launch.py --config=configs/cifar10_short.py

Not in the paper: Wide-ResNet-40-2 for 30 epochs with a cosine schedule, and a
controller update every 58 steps. 390 steps an epoch make 11,700, so that 201 updates
happen, as many as the paper's 200 epochs have; with one update an epoch there would be
30, the controller would still be uniform, and "ours" would be "random".
`table4_cifar10.py` is made of these runs. Meant for one GPU. Here: not run.
"""

from ml_collections import ConfigDict

from configs import arguments, default


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = default.get_config()
    c.data.name = "cifar10"
    c.model.options = ConfigDict({"depth": 40, "width": 2})
    c.epochs = 30
    c.optimizer.schedule = "cosine"
    c.policies.round_steps = 58
    c.policies.randaugment_num_ops = 3
    c.policies.randaugment_magnitude = 5
    c.checkpoint.keep = 1  # a run is carried from machine to machine
    return arguments.apply(c, argument)
