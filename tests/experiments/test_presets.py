"""Every preset's training step has the right shapes at full size.

The step is traced, forward and backward, on all N·M rows: what does not fit together
shows here, without the memory and the hours. The smallest run too, in the slow suite.
"""

import chex
import jax
import numpy as np
import pytest

from benchmarks.train_step import presets

# Tracing 90 different blocks takes 12 s and more; a shallower one stands for them.
SLOW = {"cifar10_pyramidnet", "cifar100_pyramidnet", "imagenet_r200"}
MARKED = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in presets.PRESETS
    if not name.startswith("digits")  # other tests train them
]


@pytest.mark.parametrize("name", MARKED)
def test_a_step_of_the_preset_has_its_shapes_at_full_size(name):
    check_shapes(presets.get_config(name))


@pytest.mark.slow  # minutes and 10 GiB each
@pytest.mark.parametrize("name", ["cifar10_wrn40x2", "cifar10_shake26_2x32d"])
def test_a_step_of_the_small_presets_really_runs_at_full_size(name):
    made = presets.full_step(presets.get_config(name))
    state, *rest = made.make_arguments()
    before = jax.device_get(state.params)
    after, info = jax.jit(made.call)(state, *rest)
    assert made.experiment.recipe.layout.num_rows == 1024
    assert int(after.step) == 1
    losses = np.asarray(info["losses"])
    assert losses.shape == (8,)
    assert (np.abs(losses - np.log(10)) < 1).all()  # before the first update
    moved = jax.tree.map(lambda old, new: (old != new).mean(), before, after.params)
    assert min(jax.tree.leaves(jax.device_get(moved))) > 0.5


def test_the_preset_of_pyramidnet_has_its_shapes_at_a_fifth_of_its_depth():
    config = presets.get_config("cifar10_pyramidnet")
    config.model.options.depth = 56
    check_shapes(config)


# With the fill of the dataset, runs of the digits in `tests/train` have every argument.
@pytest.mark.parametrize(
    ("argument", "order"),
    [
        ("ours", "standard_first"),
        ("ours", "policy_first"),
        ("autoaugment", "policy_first"),
        ("pba", "policy_first"),
    ],
)
def test_a_step_with_the_alpha_channel_has_its_shapes(argument, order):
    config = presets.get_config("cifar10_wrn40x2", argument)
    config.model.name = "tests.support.tiny:factory"
    config.model.options = {}
    config.policies.fill = "alpha"
    config.policies.order = order
    traced = presets.full_step(config)
    state, *rest = traced.shapes()
    after, info = jax.eval_shape(traced.call, state, *rest)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert info["losses"].shape == (config.policies.num_policies,)


def check_shapes(config):
    traced = presets.full_step(config)
    arguments = traced.shapes()
    state, data, policies, _ = arguments
    recipe, num_policies = traced.experiment.recipe, config.policies.num_policies
    side = 224 if config.data.name == "imagenet2012" else 32
    assert data.images.shape[1:] == (side, side, 3)
    assert recipe.layout.num_rows == config.batch_size * num_policies
    assert policies.ops.shape == (num_policies, 5, 2)

    after, info = jax.eval_shape(traced.call, *arguments)

    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(after.params)} == {"float32"}
    assert info["loss"].shape == ()
    assert info["losses"].shape == (num_policies,)
