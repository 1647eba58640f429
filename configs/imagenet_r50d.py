"""ResNet-50-D on ImageNet at 224 px (Table 3, Table 7).

    python launch.py --config=configs/imagenet_r50d.py

The data: see `imagenet_r50.py`. Meant for 8 GPUs of 80 GB; it runs on 1 to 64. Test
error, top-1 / top-5, paper: 20.00 ± 0.12 / 5.25 ± 0.03 % (ours), 22.84 / 6.48
(baseline). Here: not run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import imagenet_r50


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = imagenet_r50.get_config(argument)
    c.model.options = ConfigDict({"depth": 50, "variant": "d"})
    return c
