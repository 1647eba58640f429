"""Adversarial AutoAugment (Zhang et al., ICLR 2020) in JAX.

The names of `__init__.pyi` serve in a training loop of your own; each is imported when
it is first used, so that a command line answers before JAX is there.
`train.loop.train_and_evaluate` is the whole of Algorithm 1, `aaa-jax train` and
`launch.py` its command lines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
