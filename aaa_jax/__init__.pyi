from .augment.large_batch import apply_ops, apply_policies, draw, large_batch
from .augment.magnitudes import RANGES
from .augment.ops import OPS
from .augment.policies import Policies
from .augment.policy_json import from_json, load_policies, save_policies, to_json
from .augment.standard import normalize, standard_augment
from .objective import normalize_losses, per_policy_losses
from .search.sources import (
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
from .trained.run import load_run

__version__: str

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
    "from_json",
    "large_batch",
    "load_policies",
    "load_run",
    "normalize",
    "normalize_losses",
    "per_policy_losses",
    "published_source",
    "randaugment_source",
    "random_source",
    "replay_source",
    "save_policies",
    "schedule_source",
    "standard_augment",
    "to_json",
    "trivialaugment_source",
]
