"""What a preset's argument means: `--config=configs/NAME.py:ARGUMENT`.

The network's N, learning rate, weight decay and epochs stay those of its row of
Table 7; the argument says where the policies come from.
"""

from typing import Any

from ml_collections import ConfigDict

_OURS = {"policies.source": "adversarial"}
# Departure: the controller restrained against collapse (docs/collapse.md).
_GUARDED = _OURS | {
    # Departure: range table `monotone10`, whose strongest magnitudes do less.
    "policies.ranges": "monotone10",
    # Departure: logits are bounded, 1.5 tanh(logits): no decision's odds exceed e^3.
    "controller.tanh_constant": 1.5,
    # Departure: a dual variable moves the entropy weight to hold 0.75 of the maximum.
    "controller.entropy_target": 0.75,
    # Departure: an update whose KL exceeds 0.05 nats a policy is halved until it does
    # not. In the bandit the paper's controller reaches 0.067 and this one 0.031 without
    # the cap, which is there for what a bandit does not show.
    "controller.kl_cap": 0.05,
}
# Departure: a controller that learns in the updates it has.
_FAST = {
    # Departure: each sub-policy's four decisions are rewarded by its own rows' losses,
    # less the mean over the rows of each image.
    "controller.credit": "sub_policy_less_image_mean",
    # Departure: two steps of Adam a round.
    "controller.steps_per_round": 2,
}
_CUTOUT = {"policies.source": "fixed", "policies.num_policies": 1}

# Argument -> dotted config key -> value.
ARGUMENTS: dict[str, dict[str, Any]] = {
    # Adversarial AutoAugment as in the paper.
    "ours": _OURS,
    "guarded": _GUARDED,
    "fast": _GUARDED | _FAST,
    # Departure: what a round takes off the loss of new images is the reward, instead of
    # the loss: an op that destroys labels gains nothing. Where nothing is gained, the
    # reward is noise, and the policies stay as they are. There is no restraint.
    "gain": _OURS | _FAST | {"controller.reward": "gain"},
    # Table 4's Random: uniform policies.
    "random": {"policies.source": "random"},
    # Table 4's Fixed: M instances under standard augmentation alone.
    "fixed": {"policies.source": "fixed"},
    # The Cutout column: standard augmentation and Cutout, M = 1.
    "cutout": _CUTOUT,
    # The Baseline column: standard augmentation, M = 1.
    "baseline": _CUTOUT | {"augment.cutout_size": 0},
    # The AutoAugment column: the dataset's published policy, M = 1.
    # Departure: AutoAugment's own runs had other epochs and learning rates.
    "autoaugment": {"policies.source": "published", "policies.num_policies": 1},
    # The PBA column: its published CIFAR schedule, M = 1.
    # Departure: PBA's own runs had other epochs and learning rates.
    "pba": {"policies.source": "schedule", "policies.num_policies": 1},
    # Both at the same M, beyond the paper; TrivialAugment is the wide one.
    "randaugment": {"policies.source": "randaugment"},
    "trivialaugment": {"policies.source": "trivialaugment"},
    # Table 6: policies that another run recorded, M = 1; needs
    # `--config.policies.replay_run=RUN`.
    "transfer": {"policies.source": "replay", "policies.num_policies": 1},
}


def apply(config: ConfigDict, argument: str) -> ConfigDict:
    """The config with the argument's policy source, M, Cutout, order and ranges.

    Args:
        config: a preset, changed in place.
        argument: a key of `ARGUMENTS`.

    Raises:
        ValueError: on an unknown argument.
    """
    if argument not in ARGUMENTS:
        raise ValueError(
            f"unknown argument {argument!r}; allowed: {', '.join(ARGUMENTS)}"
        )
    config.update_from_flattened_dict(ARGUMENTS[argument])
    return config
