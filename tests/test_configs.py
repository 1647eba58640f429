"""Every preset is complete, and says what Table 7 says."""

import ast
import pathlib

import pytest
from ml_collections import ConfigDict

from aaa_jax import experiment
from configs import (
    arguments,
    cifar10_wrn28x10,
    cifar10_wrn40x2,
    cifar100_wrn28x10,
    default,
    digits,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRESETS = {
    "cifar10_wrn28x10": cifar10_wrn28x10,
    "cifar10_wrn40x2": cifar10_wrn40x2,
    "cifar100_wrn28x10": cifar100_wrn28x10,
    "digits": digits,
}
# Table 7: dataset, network, N, M, learning rate, weight decay, epochs, schedule.
TABLE_7 = {
    "cifar10_wrn28x10": ("cifar10", (28, 10), 128, 8, 0.1, 5e-4, 200, "step"),
    "cifar10_wrn40x2": ("cifar10", (40, 2), 128, 8, 0.1, 5e-4, 200, "step"),
    "cifar100_wrn28x10": ("cifar100", (28, 10), 128, 8, 0.1, 5e-4, 200, "step"),
}
NO_PRESETS = {"__init__", "arguments", "default"}


def _leaves(config: ConfigDict, prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict) and prefix + name != "model.options":
            leaves |= _leaves(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def test_every_file_in_configs_is_tested_here():
    files = {path.stem for path in (ROOT / "configs").glob("*.py")} - NO_PRESETS
    assert files == set(PRESETS)


@pytest.mark.parametrize("argument", arguments.ARGUMENTS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_and_argument_passes_the_check(name, argument):
    config = PRESETS[name].get_config(argument)
    experiment.check_config(config)
    assert _leaves(config).keys() == _leaves(default.get_config()).keys()


@pytest.mark.parametrize("name", TABLE_7)
def test_presets_have_the_numbers_of_table_7(name):
    c = PRESETS[name].get_config()
    data, network, *numbers = TABLE_7[name]
    assert c.data.name == data
    assert (c.model.options.depth, c.model.options.width) == network
    assert numbers == [
        c.batch_size,
        c.policies.num_policies,
        c.optimizer.learning_rate,
        c.optimizer.weight_decay,
        c.epochs,
        c.optimizer.schedule,
    ]


def test_the_defaults_are_those_of_the_paper():
    c = default.get_config()
    paper = {
        "hidden_size": 100,
        "embedding_size": 32,
        "learning_rate": 0.00035,
        "entropy_weight": 0.00001,
    }
    assert {key: c.controller[key] for key in paper} == paper
    assert (c.policies.num_policies, c.policies.num_sub_policies) == (8, 5)
    assert (c.augment.padding, c.augment.cutout_size) == (4, 16)
    restraints = ("tanh_constant", "entropy_target", "kl_cap")
    assert [c.controller[key] for key in restraints] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", PRESETS)
def test_arguments_change_what_section_6_says(name):
    def get(argument: str) -> ConfigDict:
        return PRESETS[name].get_config(argument)

    cutout = get("ours").augment.cutout_size
    expected = {  # source, M, Cutout
        "ours": ("adversarial", 8, cutout),
        "guarded": ("adversarial", 8, cutout),
        "random": ("random", 8, cutout),
        "fixed": ("fixed", 8, cutout),
        "cutout": ("fixed", 1, cutout),
        "baseline": ("fixed", 1, 0),
        "autoaugment": ("published", 1, cutout),
        "pba": ("schedule", 1, cutout),
        "randaugment": ("randaugment", 8, cutout),
        "trivialaugment": ("trivialaugment", 8, cutout),
    }
    assert expected.keys() == arguments.ARGUMENTS.keys()
    for argument, (source, num_policies, size) in expected.items():
        c = get(argument)
        assert c.policies.source == source
        assert c.policies.num_policies == num_policies
        assert c.augment.cutout_size == size
    assert get("guarded").policies.ranges == "monotone10"
    assert get("guarded").controller.tanh_constant == 1.5


def test_an_unknown_argument_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'our'; allowed: ours, guarded, random"):
        digits.get_config("our")


def test_every_key_is_read_somewhere():
    read = set()
    for path in [*ROOT.glob("aaa_jax/**/*.py"), ROOT / "launch.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
    unread = {
        key for key in _leaves(default.get_config()) if key.split(".")[-1] not in read
    }
    assert not unread


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, "batch_size is 0; it must be at least 1"),
        ("batch_norm.group_size", 100, "does not divide batch_size 128"),
        ("policies.source", "evil", "must be one of adversarial, random, fixed"),
        ("policies.ranges", "wide", "must be one of monotone"),
        ("policies.num_policies", 1, "num_policies is 1, must be at least 2"),
        ("model.dtype", "float16", "must be one of float32, bfloat16"),
        ("model.name", "lenet", "lenet"),
        ("model.options.depth", 29, "29"),
        ("optimizer.schedule", "linear", "linear"),
        ("controller.entropy_target", 1.5, "at least 0 and below 1"),
        ("augment.cutout_size", 7, "an even number of pixels"),
        ("devices.mapping", "xmap", "must be one of auto, jit, pmap, shard_map"),
        ("seed", -1, "seed is -1"),
        ("on_nonfinite_loss", "ignore", "one of stop, skip"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(key, value, message):
    config = default.get_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(experiment.ConfigError, match=message):
        experiment.check_config(config)
