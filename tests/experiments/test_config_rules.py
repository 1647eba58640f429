"""Every preset is complete, and says what Table 7 says."""

import ast
import importlib
import re

import pytest
from ml_collections import ConfigDict

from aaa_jax import data
from aaa_jax.experiments import build, config_rules, key_names, sizes
from aaa_jax.experiments.paper_tables import TABLES
from configs import arguments, default, digits
from tests.support.small_runs import ROOT

NO_PRESETS = {"__init__", "arguments", "default", "table"} | set(TABLES)
NAMES = {path.stem for path in (ROOT / "configs").glob("*.py")} - NO_PRESETS
PRESETS = {name: importlib.import_module(f"configs.{name}") for name in sorted(NAMES)}
WRN28, WRN40 = {"depth": 28, "width": 10}, {"depth": 40, "width": 2}
SHAKE32, SHAKE96, SHAKE112 = ({"depth": 26, "width": w} for w in (32, 96, 112))
PYRAMID = {"depth": 272, "widening": 200}
IMAGENET = (2048, 8, 0.8, 1e-4, 120, "cosine")
# Table 7: dataset, network, N, M, learning rate, weight decay, epochs, schedule.
TABLE_7 = {
    "cifar10_wrn28x10": ("cifar10", WRN28, 128, 8, 0.1, 5e-4, 200, "step"),
    "cifar10_wrn40x2": ("cifar10", WRN40, 128, 8, 0.1, 5e-4, 200, "step"),
    "cifar10_shake26_2x32d": ("cifar10", SHAKE32, 128, 8, 0.2, 1e-4, 600, "cosine"),
    "cifar10_shake26_2x96d": ("cifar10", SHAKE96, 128, 8, 0.2, 1e-4, 600, "cosine"),
    "cifar10_shake26_2x112d": ("cifar10", SHAKE112, 128, 8, 0.2, 1e-4, 600, "cosine"),
    "cifar10_pyramidnet": ("cifar10", PYRAMID, 128, 8, 0.1, 1e-4, 600, "cosine"),
    "cifar100_wrn28x10": ("cifar100", WRN28, 128, 8, 0.1, 5e-4, 200, "step"),
    "cifar100_shake26_2x96d": ("cifar100", SHAKE96, 128, 8, 0.1, 5e-4, 1200, "cosine"),
    "cifar100_pyramidnet": ("cifar100", PYRAMID, 128, 8, 0.5, 1e-4, 1200, "cosine"),
    "imagenet_r50": ("imagenet2012", {"depth": 50}, *IMAGENET),
    "imagenet_r50d": ("imagenet2012", {"depth": 50, "variant": "d"}, *IMAGENET),
    "imagenet_r200": ("imagenet2012", {"depth": 200}, *IMAGENET),
}
# The published settings of RandAugment (N, M) for the networks of Table 7.
RANDAUGMENT = {
    "cifar10_wrn28x10": (3, 5),
    "cifar10_shake26_2x96d": (3, 9),
    "cifar10_pyramidnet": (3, 9),
    "cifar100_wrn28x10": (2, 10),  # 14 in the paper, beyond its own scale
    "imagenet_r50": (2, 9),
}
KEYS = set(key_names.dotted_keys(default.get_config()))


# `transfer` needs a run to replay: test_replay.py.
@pytest.mark.parametrize("argument", sorted(set(arguments.ARGUMENTS) - {"transfer"}))
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_and_argument_passes_the_check(name, argument):
    config = PRESETS[name].get_config(argument)
    build.check_config(config)
    assert set(key_names.dotted_keys(config)) == KEYS


@pytest.mark.parametrize("name", TABLE_7)
def test_presets_have_the_numbers_of_table_7(name):
    c = PRESETS[name].get_config()
    data, network, *numbers = TABLE_7[name]
    assert c.data.name == data
    options = c.model.options.to_dict()
    assert {key: options[key] for key in network} == network
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


@pytest.mark.parametrize("name", RANDAUGMENT)
def test_randaugment_has_its_published_setting(name):
    p = PRESETS[name].get_config("randaugment").policies
    assert (p.randaugment_num_ops, p.randaugment_magnitude) == RANDAUGMENT[name]
    assert p.randaugment_scale == 10


@pytest.mark.parametrize("name", [n for n in TABLE_7 if n.startswith("imagenet")])
def test_imagenet_has_the_choices_of_section_4(name):
    c = PRESETS[name].get_config()
    assert sizes.layout(c).group_size == 256
    assert c.optimizer.warmup_epochs == 5
    assert c.optimizer.clip_norm == 0
    assert c.augment.cutout_size == 0
    assert c.policies.published == "imagenet"
    assert c.model.dtype == "bfloat16"
    optimizers = {a: PRESETS[name].get_config(a).optimizer for a in arguments.ARGUMENTS}
    assert [a for a, o in optimizers.items() if o.schedule == "step"] == ["baseline"]
    o = optimizers["baseline"]
    assert (o.milestones, o.factor) == ((30, 60, 90), 0.1)


@pytest.mark.parametrize("name", PRESETS)
def test_docstrings_name_their_own_command(name):
    text = PRESETS[name].__doc__
    more = " --config.data.name=folder:PATH" * (name == "folder")
    assert f"    python launch.py --config=configs/{name}.py{more}\n" in text
    if name in TABLE_7:
        assert "Meant for " in text
        assert "Here: not run" in " ".join(text.split())


@pytest.mark.parametrize("name", PRESETS)
def test_arguments_change_what_section_6_says(name):
    def get(argument: str) -> ConfigDict:
        return PRESETS[name].get_config(argument)

    cutout = get("ours").augment.cutout_size
    expected = {  # source, M, Cutout
        "ours": ("adversarial", 8, cutout),
        **dict.fromkeys(("guarded", "fast", "gain"), ("adversarial", 8, cutout)),
        "random": ("random", 8, cutout),
        "fixed": ("fixed", 8, cutout),
        "cutout": ("fixed", 1, cutout),
        "baseline": ("fixed", 1, 0),
        "autoaugment": ("published", 1, cutout),
        "pba": ("schedule", 1, cutout),
        "randaugment": ("randaugment", 8, cutout),
        "trivialaugment": ("trivialaugment", 8, cutout),
        "transfer": ("replay", 1, cutout),
    }
    assert expected.keys() == arguments.ARGUMENTS.keys()
    for argument, (source, num_policies, size) in expected.items():
        c = get(argument)
        assert c.policies.source == source
        assert c.policies.num_policies == num_policies
        assert c.augment.cutout_size == size
    for argument in ("guarded", "fast"):
        assert get(argument).policies.ranges == "monotone10"
        assert get(argument).controller.tanh_constant == 1.5
        assert get(argument).controller.entropy_target == 0.75
        assert get(argument).controller.kl_cap == 0.05
    for argument in ("fast", "gain"):
        assert get(argument).controller.credit == "sub_policy_less_image_mean"
        assert get(argument).controller.steps_per_round == 2
    assert {a for a in expected if get(a).controller.reward == "gain"} == {"gain"}


def test_an_unknown_argument_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="'our'; allowed: ours, guarded, fast, gain, random"
    ):
        digits.get_config("our")


def test_every_key_is_read_somewhere():
    read = set()
    for path in [*ROOT.glob("aaa_jax/**/*.py"), ROOT / "launch.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
    assert not {key for key in KEYS if key.split(".")[-1] not in read}


def test_every_key_has_a_rule_and_every_rule_a_key():
    assert set(config_rules.RULES) == KEYS


def test_a_key_that_nobody_reads_is_refused_with_what_is_like_it():
    config = digits.get_config()  # a preset that misspells a key
    config.policies.num_policy = 4
    message = r"policies\.num_policy' is no key .*mean policies\.num_policies"
    with pytest.raises(build.ConfigError, match=message):
        build.check_config(config)


def test_groups_that_only_the_opened_data_tell_are_shared_or_refused():
    """Two of 192 rows before the data are opened, three of 128 after; under M = 8."""
    config = default.get_config()
    config.batch_size, config.data.name = 384, "outside"
    assert sizes.layout(config).num_groups == 16
    info = data.describe("cifar10")
    experiment = build.build(config, info, 3840)
    build.require_shares(experiment, 8)
    with pytest.raises(build.ConfigError, match=r"24 groups .* over 16 devices"):
        build.require_shares(experiment, 16)


def test_a_missing_key_is_named():
    config = default.get_config()
    with config.unlocked():
        del config.controller.kl_cap
    with pytest.raises(build.ConfigError, match=r"controller\.kl_cap is missing"):
        build.check_config(config)


def _build(name, argument="ours", **changes):
    """Builds a preset, which passes the check without its data, with them."""
    config = PRESETS[name].get_config(argument)
    config.update_from_flattened_dict(changes)
    build.check_config(config)
    info = data.describe(config.data.name, image_size=config.data.image_size)
    return build.build(config, info, 300 if name == "digits" else 4096)


def test_what_fits_the_data_is_built():
    assert _build("digits", "gain", **{"policies.round_steps": 2}).recipe.is_gain
    _build("digits", **{"data.image_size": 32, "evaluation.image_size": 32})
    wide = _build("imagenet_r50", **{"evaluation.image_size": 320})
    assert wide.evaluation_view.resize == 366


IN_MEMORY = "is 64, but the images of digits are kept .* 32 pixels"


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("digits", {"epochs": 2**31 - 1}, "set epochs below 119304647"),
        ("digits", {"data.image_size": 64}, f"data.image_size {IN_MEMORY}"),
        ("digits", {"evaluation.image_size": 64}, f"evaluation.image_size {IN_MEMORY}"),
        (
            *("digits", {"epochs": 1, "optimizer.warmup_epochs": 0.99}),
            "a warm-up of 18 steps .* shorter than the training of 18 steps",
        ),
        (
            *("digits gain", {"policies.round_steps": 1}),
            r"set policies\.round_steps to at least 2",
        ),
        ("imagenet_r50", {"data.image_size": 4096}, "4096 x 4096: at most 4194304"),
        (
            *("imagenet_r50", {"evaluation.image_size": 320, "evaluation.resize": 256}),
            "at least 320, such as 366",
        ),
        (
            *("imagenet_r50", {"policies.order": "policy_first"}),
            "use 'standard_first'",
        ),
        ("imagenet_r50 pba", {}, "'schedule' has the order .* of its"),
        (
            *("imagenet_r50 autoaugment", {"policies.published": "cifar10"}),
            r"policies\.published=imagenet",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused_by_name(preset, changes, message):
    with pytest.raises(build.ConfigError, match=message):
        _build(*preset.split(), **changes)


FREE_TEXT = (
    *("data.dir", "data.name", "model.init_from"),
    *("policies.replay_run", "policies.file"),
)


def test_a_value_of_another_type_is_refused():
    """A config file may hold anything; ConfigDict checks types only in overrides."""
    for key in config_rules.RULES:
        parent, _, name = key.rpartition(".")
        for value in (None, object(), b"1", [{}], float("nan"), "?" * 99):
            if key in FREE_TEXT and isinstance(value, str):
                continue
            config = default.get_config()
            with config.unlocked(), config.ignore_type():
                (config[parent] if parent else config)[name] = value
            with pytest.raises(build.ConfigError) as caught:
                build.check_config(config)
            assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", True, "batch_size is True; it must be a whole number"),
        ("epochs", 2.5, "epochs is 2.5; it must be at least 0, a whole number"),
        ("optimizer.nesterov", 1, "nesterov is 1; it must be True or False"),
        ("optimizer.learning_rate", float("inf"), "must be a finite number"),
        ("optimizer.milestones", ("a",), "a tuple of epochs"),
        ("devices.hang_seconds", -1.0, "hang_seconds is -1.0; it must be at least 0"),
        ("batch_size", -1, "batch_size is -1; it must be at least 1"),
        ("batch_size", 2**31, "batch_size is 2147483648; .* number below 2"),
        ("devices.hang_seconds", 1e10, r"at least 0 and below 1e\+06, 0 for never"),
        ("log.every_seconds", 1e300, r"log\.every_seconds is 1e\+300"),
        ("augment.padding", 2 * 10**9, "padding is 2000000000; .* between 0 and 4096"),
        ("augment.cutout_size", 2**20, "an even number of pixels up to 4096"),
        ("controller.hidden_size", 2**20, "controller: hidden_size .* 1 to 4096"),
        ("policies.num_policies", 4096, "from 1 to 1024"),
        ("evaluation.batch_size", 2**31 - 1, "between 1 and 1048576"),
        ("optimizer.learning_rate", 1e300, r"to 1e\+37 in size"),
        ("controller.temperature", 1e-300, "temperature is 1e-300; .* a finite"),
        ("policies.ranges", "trivial_wide", "31 magnitudes, .* one of monotone, mono"),
        ("policies.ranges", "randaugment", "'adversarial' draws 10, 0 to 9: use one"),
        ("policies.source", "evil", "must be one of adversarial, random, fixed"),
        ("model.name", "lenet", "lenet"),
        ("model.options.depth", 29, "29"),
        ("optimizer.clip_norm", -1.0, "optimizer: clip_norm is above 0, or None: -1"),
        ("augment.cutout_size", 7, "an even number of pixels"),
        ("data.prefetch", 0, "prefetch is 0; it must be between 1 and"),
        ("scale", 0.0, "scale is 0.0; it must be above 0 and at most 1"),
        ("policies.source", "replay", r"set policies\.replay_run to the directory"),
        ("policies.source", "file", r"set policies\.file to a JSON file"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(key, value, message):
    config = default.get_config()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(build.ConfigError, match=message):
        build.check_config(config)


def test_all_problems_of_a_config_are_named_at_once():
    config = digits.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(
            {"seed": -1, "batch_norm.group_size": 7, "optimizer.warmup_epochs": 99.0}
        )
        config.data.flip = "yes"
    with pytest.raises(build.ConfigError) as refused:
        build.check_config(config)
    words = ("seed is -1", "mean augment.flip", "does not divide batch_size")
    words += ("warmup_epochs is 99, not shorter",)
    assert len(refused.value.args) == len(words)
    for problem, word in zip(refused.value.args, words, strict=True):
        assert word in problem
    with pytest.raises(build.ConfigError) as refused:
        _build("digits", **{"data.image_size": 64, "batch_size": 320})
    assert [re.findall(r"\d+", p)[0] for p in refused.value.args] == ["320", "64"]
