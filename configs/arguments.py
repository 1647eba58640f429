"""What a preset's argument means: `--config=configs/NAME.py:ARGUMENT`.

The network's N, learning rate, weight decay and epochs stay those of its row of
Table 7; the argument says where the policies come from.
"""

from collections.abc import Callable

from ml_collections import ConfigDict


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
    ARGUMENTS[argument](config)
    return config


def _ours(config: ConfigDict) -> None:
    """Adversarial AutoAugment as in the paper."""
    config.policies.source = "adversarial"


def _guarded(config: ConfigDict) -> None:
    """Departure: the controller restrained against collapse (docs/collapse.md).

    Departure: logits are bounded, 1.5 tanh(logits): no decision's odds exceed e^3.
    Departure: range table `monotone10`, whose strongest magnitudes do less.
    Departure: a dual variable moves the entropy weight to hold 0.75 of the maximum.
    Departure: an update whose KL exceeds 0.05 nats a policy is halved until it does
    not. In the bandit the paper's controller reaches 0.067 and this one 0.031 without
    the cap, which is there for what a bandit does not show.
    """
    config.policies.source = "adversarial"
    config.policies.ranges = "monotone10"
    config.controller.tanh_constant = 1.5
    config.controller.entropy_target = 0.75
    config.controller.kl_cap = 0.05


def _fast(config: ConfigDict) -> None:
    """Departure: a guarded controller that learns in the updates it has.

    Departure: each sub-policy's four decisions are rewarded by its own rows' losses,
    less the mean over the rows of each image.
    Departure: two steps of Adam a round. The restraints are those of `guarded`.
    """
    _guarded(config)
    config.controller.credit = "sub_policy_less_image_mean"
    config.controller.steps_per_round = 2


def _gain(config: ConfigDict) -> None:
    """Departure: the reward is what the network gains, which cannot be fooled.

    Departure: what a round takes off the loss of new images is the reward, instead of
    the loss: an op that destroys labels gains nothing. Where nothing is gained, the
    reward is noise, and the policies stay as they are.
    Departure: credit and steps of Adam as in `fast`, with no restraint.
    """
    config.policies.source = "adversarial"
    config.controller.reward = "gain"
    config.controller.credit = "sub_policy_less_image_mean"
    config.controller.steps_per_round = 2


def _random(config: ConfigDict) -> None:
    """Table 4's Random: uniform policies."""
    config.policies.source = "random"


def _fixed(config: ConfigDict) -> None:
    """Table 4's Fixed: M instances under standard augmentation alone."""
    config.policies.source = "fixed"


def _cutout(config: ConfigDict) -> None:
    """The Cutout column: standard augmentation and Cutout, M = 1."""
    config.policies.source = "fixed"
    config.policies.num_policies = 1


def _baseline(config: ConfigDict) -> None:
    """The Baseline column: standard augmentation, M = 1."""
    _cutout(config)
    config.augment.cutout_size = 0


def _autoaugment(config: ConfigDict) -> None:
    """The AutoAugment column: the dataset's published policy, M = 1.

    Departure: AutoAugment's own runs had other epochs and learning rates.
    """
    config.policies.source = "published"
    config.policies.num_policies = 1


def _pba(config: ConfigDict) -> None:
    """The PBA column: its published CIFAR schedule, M = 1.

    Departure: PBA's own runs had other epochs and learning rates.
    """
    config.policies.source = "schedule"
    config.policies.num_policies = 1


def _randaugment(config: ConfigDict) -> None:
    """RandAugment at the same M (beyond the paper)."""
    config.policies.source = "randaugment"


def _trivialaugment(config: ConfigDict) -> None:
    """TrivialAugment (wide) at the same M (beyond the paper)."""
    config.policies.source = "trivialaugment"


def _transfer(config: ConfigDict) -> None:
    """Table 6: policies that another run recorded, M = 1.

    Needs `--config.policies.replay_run=RUN`.
    """
    config.policies.source = "replay"
    config.policies.num_policies = 1


ARGUMENTS: dict[str, Callable[[ConfigDict], None]] = {
    "ours": _ours,
    "guarded": _guarded,
    "fast": _fast,
    "gain": _gain,
    "random": _random,
    "fixed": _fixed,
    "cutout": _cutout,
    "baseline": _baseline,
    "autoaugment": _autoaugment,
    "pba": _pba,
    "randaugment": _randaugment,
    "trivialaugment": _trivialaugment,
    "transfer": _transfer,
}
