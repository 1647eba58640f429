"""Adversarial AutoAugment (Zhang et al., ICLR 2020) in JAX.

The names below serve in a training loop of your own. `train.loop.train_and_evaluate` is
the whole of Algorithm 1, and `launch.py` its command line.
"""

from aaa_jax.augment.large_batch import apply_ops, apply_policies, draw, large_batch
from aaa_jax.augment.magnitudes import RANGES
from aaa_jax.augment.ops import OPS
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.standard import normalize, standard_augment
from aaa_jax.objective import normalize_losses, per_policy_losses
from aaa_jax.search.sources import (
    PolicySource,
    RoundOutcome,
    adversarial_source,
    file_source,
    fixed_source,
    published_source,
    randaugment_source,
    random_source,
    replay_source,
    schedule_source,
    trivialaugment_source,
)

__version__ = "0.1.0"

__all__ = [
    "OPS",
    "RANGES",
    "Policies",
    "PolicySource",
    "RoundOutcome",
    "adversarial_source",
    "apply_ops",
    "apply_policies",
    "draw",
    "file_source",
    "fixed_source",
    "large_batch",
    "normalize",
    "normalize_losses",
    "per_policy_losses",
    "published_source",
    "randaugment_source",
    "random_source",
    "replay_source",
    "schedule_source",
    "standard_augment",
    "trivialaugment_source",
]
