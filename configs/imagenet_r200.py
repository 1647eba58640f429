"""ResNet-200 on ImageNet at 224 px (Table 3, Table 7).

    python launch.py --config=configs/imagenet_r200.py

Silent: which ResNet-200. Here v1.5, as the paper's ResNet-50; its authors' has
pre-activation (Identity Mappings): `--config.model.options.variant=pre_activation`.

The data: see `imagenet_r50.py`. Tested at 224 px; at 320, as the network's authors do
(the same paper, Table 5), with
`--config.evaluation.image_size=320 --config.evaluation.resize=320`. Meant for 8 GPUs of
80 GB; it runs on 1 to 64. Test error, top-1 / top-5, paper: 18.68 ± 0.18 /
4.70 ± 0.05 % (ours), 20.00 / 4.90 (autoaugment), 21.52 / 5.85 (baseline). Here: not
run.
"""

from ml_collections import ConfigDict

from aaa_jax.configs import imagenet_r50


def get_config(argument: str = "ours") -> ConfigDict:
    """The preset; `argument` is a key of `arguments.ARGUMENTS`."""
    c = imagenet_r50.get_config(argument)
    c.model.options = ConfigDict({"depth": 200})
    return c
