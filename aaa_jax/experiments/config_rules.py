"""What each value of a config may be, in one table: the first thing a run checks.

Types and choices stand here, and the limits of numbers that nothing else checks. Other
limits stand in the functions that take the numbers; `build.check_config` calls these.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aaa_jax import models, objective
from aaa_jax.augment import batch_layout, magnitudes, policy_json
from aaa_jax.experiments import key_names, optimizer
from aaa_jax.runtime import devices
from aaa_jax.search import policy_source, published, replay, sources

FILLS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "alpha": (125, 122, 113),  # of the Cutout patch in AutoAugment's CIFAR code
}

# These keys, and all below them, change no number beyond rounding: a run may go on with
# other values, and a report averages runs that differ in nothing else but their seeds.
WITHOUT_EFFECT = (
    *("data.dir", "data.num_threads", "data.prefetch", "devices", "num_passes"),
    *("evaluation.batch_size", "checkpoint", "log"),
    *("compilation_cache", "on_nonfinite_loss"),
)

_MOST = 2**31 - 1  # int32, as counted on the devices
_MOST_PIXELS = 4096  # of a side, and of what is put round it
_MOST_THREADS = 4096
_MOST_IMAGES = 2**20  # of a batch: a thousand times what anybody trains with
_MOST_SECONDS = 1e6  # eleven days; what a timer of the system takes
_LARGEST, _SMALLEST = 1e37, 1e-37  # that float32 holds with room to multiply


class ConfigError(ValueError):
    """Values that cannot work; each argument names a key, its value and a remedy."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class Rule(NamedTuple):
    """What one value may be."""

    allows: Callable[[Any], bool]  # whether a value will do; never raises
    text: str  # what it must be, after "it must be"


def wrong_values(config: Any, keys: Iterable[str]) -> dict[str, str]:
    """What is wrong with the values of some keys of nested mappings, by key."""
    problems = {}
    for key in keys:
        rule, value = RULES[key], config
        for part in key.split("."):
            if not hasattr(value, "keys") or part not in value:
                problems[key] = (
                    f"{key} is missing: configs/default.py has it; start from that"
                )
                break
            value = value[part]
        else:
            if not rule.allows(value):
                problems[key] = f"{key} is {_short(value)}; it must be {rule.text}"
    return problems


def unknown_keys(config: Any) -> list[str]:
    """What is wrong with keys that nobody reads."""
    return [
        f"{_short(key)} is no key of configs/default.py"
        + key_names.did_you_mean(key, RULES)
        for key in key_names.dotted_keys(config)
        if key not in RULES
    ]


def changes_numbers(key: str) -> bool:
    """Whether the numbers of a run depend on a dotted key, beyond rounding."""
    return not f"{key}.".startswith(tuple(f"{name}." for name in WITHOUT_EFFECT))


def _whole(low: int, high: int = _MOST) -> Rule:
    span = f"at least {low}" if high == _MOST else f"between {low} and {high}"
    return Rule(
        lambda value: _is_whole(value) and low <= value <= high,
        f"{span}, a whole number",
    )


def _number(low: float, high: float = math.inf, *, note: str = "") -> Rule:
    """Finite, from low to below high."""
    span = f"at least {low:g} and below {min(high, _LARGEST):g}"
    return Rule(
        lambda value: _is_number(value) and low <= value < high,
        f"{span}{note}, a finite number",
    )


def _one_of(names: Iterable[str]) -> Rule:
    allowed = tuple(names)
    return Rule(
        lambda value: isinstance(value, str) and value in allowed,
        f"one of {', '.join(allowed)}",
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) <= _MOST
    return value == 0 or _SMALLEST <= abs(value) <= _LARGEST


def _short(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."


_WHOLE = Rule(lambda v: _is_whole(v) and abs(v) <= _MOST, "a whole number below 2**31")
_NUMBER = Rule(
    _is_number, f"a finite number, 0 or from {_SMALLEST:g} to {_LARGEST:g} in size"
)
_FLAG = Rule(lambda value: isinstance(value, bool), "True or False")
_TEXT = Rule(lambda value: isinstance(value, str), "text in quotes")
_NAME = Rule(lambda value: isinstance(value, str) and value != "", "a name, not empty")
_EVEN = Rule(
    lambda value: _is_whole(value) and 0 <= value <= _MOST_PIXELS and value % 2 == 0,
    f"an even number of pixels up to {_MOST_PIXELS}, 0 for none",
)
_MILESTONES = Rule(
    lambda value: isinstance(value, list | tuple) and all(map(_is_number, value)),
    "a tuple of epochs, such as (60, 120, 160)",
)
_OPTIONS = Rule(
    lambda value: hasattr(value, "keys") and all(isinstance(k, str) for k in value),
    "options by name, such as {'depth': 28, 'width': 10}",
)

RULES: dict[str, Rule] = {
    "seed": _whole(0, 2**32 - 1),
    "batch_size": _WHOLE,
    "epochs": _whole(0),
    "max_steps": _whole(0),
    "num_passes": _WHOLE,
    "on_nonfinite_loss": _one_of(("stop", "skip")),
    "deterministic": _FLAG,
    "compilation_cache": _FLAG,
    "scale": Rule(lambda v: _is_number(v) and 0 < v <= 1, "above 0 and at most 1"),
    "data.name": _NAME,
    "data.dir": _TEXT,
    "data.num_train_images": _whole(0),
    "data.loader": _one_of(("auto", "resident", "stream")),
    "data.validation_fraction": _number(0, 1),
    "data.image_size": _whole(-1, _MOST_PIXELS),
    "data.resample": _one_of(("area", "supersample", "bilinear")),
    "data.on_bad_image": _one_of(("stop", "skip")),
    "data.num_threads": _whole(0, _MOST_THREADS),
    "data.prefetch": _whole(1, _MOST_THREADS),
    "model.name": _NAME,
    "model.options": _OPTIONS,
    "model.dtype": _one_of(models.DTYPES),
    "model.init_from": _TEXT,
    "batch_norm.group_size": _WHOLE,
    "batch_norm.grouping": _one_of(batch_layout.GROUPINGS),
    "augment.padding": _whole(0, _MOST_PIXELS),
    "augment.flip": _one_of(("dataset", "yes", "no")),
    "augment.crops": _one_of(("independent", "shared")),
    "augment.cutout_size": _EVEN,
    "policies.source": _one_of(sources.SOURCES),
    "policies.num_policies": _WHOLE,
    "policies.num_sub_policies": _WHOLE,
    "policies.round_steps": _whole(-1),
    "policies.ranges": _one_of(magnitudes.RANGES),
    "policies.fill": _one_of(("dataset", *FILLS)),
    "policies.order": _one_of(policy_json.ORDERS),
    "policies.published": _one_of(published.AUTOAUGMENT),
    "policies.randaugment_num_ops": _WHOLE,
    "policies.randaugment_magnitude": _WHOLE,
    "policies.randaugment_scale": _WHOLE,
    "policies.replay_run": _TEXT,
    "policies.replay_selection": _one_of(replay.SELECTIONS),
    "policies.file": _TEXT,
    "controller.hidden_size": _WHOLE,
    "controller.embedding_size": _WHOLE,
    "controller.learning_rate": _NUMBER,
    "controller.entropy_weight": _NUMBER,
    "controller.reset_per_sub_policy": _FLAG,
    "controller.average_decay": _number(0, 1),
    "controller.normalization": _one_of(objective.NORMALIZATIONS),
    "controller.tanh_constant": _NUMBER,
    "controller.temperature": _NUMBER,
    "controller.entropy_target": _NUMBER,
    "controller.kl_cap": _NUMBER,
    "controller.reward": _one_of(policy_source.REWARDS),
    "controller.credit": _one_of(policy_source.CREDITS),
    "controller.steps_per_round": _WHOLE,
    "optimizer.learning_rate": _NUMBER,
    "optimizer.momentum": _NUMBER,
    "optimizer.nesterov": _FLAG,
    "optimizer.weight_decay": _NUMBER,
    "optimizer.decay_norm_and_bias": _FLAG,
    "optimizer.clip_norm": _NUMBER,
    "optimizer.schedule": _one_of(optimizer.SCHEDULES),
    "optimizer.milestones": _MILESTONES,
    "optimizer.factor": _NUMBER,
    "optimizer.warmup_epochs": _NUMBER,
    "devices.num_devices": _WHOLE,
    "devices.mapping": _one_of(devices.MAPPINGS),
    "devices.steps_in_flight": _whole(1, _MOST_THREADS),
    "devices.hang_seconds": _number(0, _MOST_SECONDS, note=", 0 for never"),
    "evaluation.batch_size": _whole(1, _MOST_IMAGES),
    "evaluation.every_epochs": _whole(1),
    "evaluation.max_images": _whole(0),
    "evaluation.resize": _whole(0, _MOST_PIXELS),
    "evaluation.image_size": _whole(0, _MOST_PIXELS),
    "checkpoint.every_steps": _whole(0),
    "checkpoint.keep": _whole(1),
    "log.every_seconds": _number(0, _MOST_SECONDS),
    "log.pictures": _FLAG,
}
