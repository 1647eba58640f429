"""Weights to begin with: what fits is taken, the head by its classes, no more."""

import json

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from aaa_jax import models
from aaa_jax.experiments import initial_weights
from aaa_jax.experiments.config_rules import ConfigError
from aaa_jax.models import timm_layout, weight_files
from benchmarks.train_step import presets
from tests.support.small_runs import small_config

CLASSES = ("ant", "bee", "cat")
SHAPE = (32, 32, 3)
HEAD = {"params.Dense_0.kernel", "params.Dense_0.bias"}


def leaves_of(config, num_classes=3, seed=0) -> dict[str, np.ndarray]:
    """Random values for every leaf of a config's network."""
    shapes = initial_weights._shapes(config, num_classes, SHAPE)
    random = np.random.default_rng(seed)
    return {k: random.normal(size=v).astype(np.float32) for k, v in shapes.items()}


def save(path, leaves, class_names=()):
    metadata = {"class_names": json.dumps(class_names)} if class_names else {}
    path.write_bytes(weight_files.to_bytes(leaves, metadata))
    return str(path)


def read(config, place, class_names=CLASSES):
    config.model.init_from = str(place)
    return initial_weights.read(config, class_names, SHAPE)


@pytest.fixture
def config():
    return small_config()


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_file_with_our_names_is_taken_whole(kind, separator, config, tmp_path):
    leaves = leaves_of(config)
    named = {name.replace(".", separator): leaf for name, leaf in leaves.items()}
    path = tmp_path / f"x.{kind}"
    np.savez(path, **named) if kind == "npz" else save(path, named, CLASSES)
    weights = read(config, path)
    assert weights.leaves.keys() == leaves.keys()
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(weights.leaves[name], leaf)
    assert weights.said == (
        f"weights from {path}: 7 leaves came (GroupBatchNorm_0, Conv_0, Dense_0)"
    )


@pytest.mark.parametrize(
    ("count", "names", "why"),
    [
        (5, (), "5 classes there, 3 here"),
        (3, ("ant", "cat", "bee"), "are not the 3 here"),
        (2, ("x", "y"), "its 2 classes, 'x' and so on"),
    ],
)
def test_the_head_begins_anew_for_other_classes(count, names, why, config, tmp_path):
    place = save(tmp_path / "x.safetensors", leaves_of(config, count), names)
    weights = read(config, place)
    assert weights.leaves.keys() == leaves_of(config).keys() - HEAD
    assert "2 begin anew (params.Dense_0.bias, params.Dense_0.kernel)" in weights.said
    assert why in weights.said


def test_a_file_without_a_head_will_do(config, tmp_path):
    leaves = {k: v for k, v in leaves_of(config).items() if k not in HEAD}
    weights = read(config, save(tmp_path / "x.safetensors", leaves))
    assert weights.leaves.keys() == leaves.keys()
    assert "begin anew" in weights.said


KERNEL = "params.Conv_0.kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({KERNEL: None}, f"{KERNEL} is not there"),
        ({"params.Dense_0.bias": None}, "params.Dense_0.bias is not there"),
        ({"params.other": np.ones(2, np.float32)}, "params.other is no leaf of the"),
        ({KERNEL: np.ones((4, 4, 3, 9), np.float32)}, "[4, 4, 3, 9], not [4, 4, 3, 8]"),
        ({KERNEL: np.ones((4, 4, 3, 8), np.int32)}, f"{KERNEL} holds int32"),
        ({KERNEL: np.full((4, 4, 3, 8), np.nan, np.float32)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message, config, tmp_path):
    leaves = leaves_of(config) | change
    kept = {name: leaf for name, leaf in leaves.items() if leaf is not None}
    place = save(tmp_path / "x.safetensors", kept)
    with pytest.raises(ConfigError) as caught:
        read(config, place)
    assert message in str(caught.value)
    assert "Set model.name and model.options" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "there is no nowhere; give a run directory, or"),
        ("x.pth", "others may run code"),
        ("x.npz", "x.npz cannot be read: "),
        (".", "no run directory"),
    ],
)
def test_a_place_without_weights_is_named(
    place, message, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("x.pth", "x.npz"):
        (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"^model\.init_from: ") as caught:
        read(config, place)
    assert message in str(caught.value)


def test_timms_names_are_recognised(config, tmp_path):
    with config.unlocked():
        config.model.name = "resnet"
        config.model.options = {"depth": 14}
    leaves = leaves_of(config)
    theirs = timm_layout.to_timm(leaves, "v1.5")
    theirs["bn1.num_batches_tracked"] = np.array(7)
    place = save(tmp_path / "x.safetensors", theirs)
    weights = read(config, place)
    assert "timm's names" in weights.said
    for name, leaf in leaves.items():
        np.testing.assert_array_equal(weights.leaves[name], leaf)
    assert len(read(config, place, ("a", "b")).leaves) == len(leaves) - 2
    theirs["maxpool.x"] = np.ones(2, np.float32)
    with pytest.raises(ConfigError, match=r"maxpool\.x is no leaf"):
        read(config, save(tmp_path / "y.safetensors", theirs))
    with pytest.raises(ConfigError, match="set it to resnet"):
        read(small_config(), place)


def test_only_what_came_replaces_fresh_values(config):
    leaves = leaves_of(config)
    fresh = unflatten_dict(leaves_of(config, seed=1), sep=".")
    came = {name: leaf for name, leaf in leaves.items() if name not in HEAD}
    weights = initial_weights.InitialWeights(came, "")
    chosen = flatten_dict(initial_weights.put_into(weights, fresh), sep=".")
    for name, leaf in flatten_dict(fresh, sep=".").items():
        np.testing.assert_array_equal(chosen[name], came.get(name, leaf))


def test_every_listed_network_has_a_head():
    """Whatever changes with the number of classes is what a fine-tuning makes anew."""
    assert presets.TINY.keys() == models.MODELS.keys()
    for name, options in presets.TINY.items():
        config = small_config()
        with config.unlocked():
            config.model.name, config.model.options = name, options
        shapes = [initial_weights._shapes(config, count, SHAPE) for count in (3, 4)]
        head = {key for key in shapes[0] if shapes[0][key] != shapes[1][key]}
        layer = "params.classifier.dense"
        assert head == {f"{layer}.kernel", f"{layer}.bias"}
