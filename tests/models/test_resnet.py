"""ResNets: the forward pass against NumPy."""

import itertools

import jax
import pytest

from aaa_jax import models
from aaa_jax.models import resnet
from aaa_jax.models.resnet import Bottleneck
from tests.oracles.models_numpy import (
    average_pool,
    check_forward_pass,
    count,
    max_pool,
    relu,
)

pytestmark = pytest.mark.usefixtures("light_compiler")


@pytest.mark.parametrize("depth", [50, 200])
def test_pre_activation_only_lacks_the_norms_of_the_shortcuts(depth):
    """Its other norms have as many channels in all; timm says 25.55 M of depth 50."""
    counts = [
        count(models.create("resnet", num_classes=1000, depth=depth, variant=variant))
        for variant in ("v1.5", "pre_activation")
    ]
    assert counts[0] - counts[1] == 2 * (256 + 512 + 1024 + 2048)


def numpy_pre_activation(layers, x):
    """A pre-activation ResNet of one block in each stage."""
    x = max_pool(layers.conv("stem_conv1", x, 2))
    for stage in (1, 2, 3, 4):
        block = layers.inside(f"stage{stage}_block1")
        stride = 2 if stage > 1 else 1
        y = block.norm_relu("norm1", x)
        x = block.conv("shortcut_conv", y, stride)
        y = block.norm_relu("norm2", block.conv("conv1", y))
        y = block.norm_relu("norm3", block.conv("conv2", y, stride))
        x = x + block.conv("conv3", y)
    return layers.classifier(layers.norm_relu("last_norm", x))


def numpy_resnet(layers, x, variant, blocks=1):
    """A ResNet of so many blocks in each stage: bottlenecks, or two basic blocks."""
    if variant == "pre_activation":
        return numpy_pre_activation(layers, x)
    for number in range(1, 4 if variant == "d" else 2):
        y = layers.conv(f"stem_conv{number}", x, 2 if number == 1 else 1)
        x = layers.norm_relu(f"stem_norm{number}", y)
    x = max_pool(x)
    for stage, number in itertools.product((1, 2, 3, 4), range(1, blocks + 1)):
        block = layers.inside(f"stage{stage}_block{number}")
        stride = 2 if stage > 1 and number == 1 else 1
        if blocks == 1:
            y = block.norm_relu("norm1", block.conv("conv1", x))
            y = block.norm_relu("norm2", block.conv("conv2", y, stride))
            y = block.norm("norm3", block.conv("conv3", y))
        else:
            y = block.norm_relu("norm1", block.conv("conv1", x, stride))
            y = block.norm("norm2", block.conv("conv2", y))
        if variant == "d" and stride == 2:
            x, stride = average_pool(x), 1
        if number == 1 and (blocks == 1 or stage > 1):
            x = block.norm("shortcut_norm", block.conv("shortcut_conv", x, stride))
        x = relu(x + y)
    return layers.classifier(x)


def test_a_resnet_18_is_the_one_written_in_numpy():
    network = models.create("resnet", num_classes=5, bn_group_size=2, depth=18, width=4)
    check_forward_pass(
        network, (75, 64), lambda layers, x: numpy_resnet(layers, x, "v1.5", 2), True
    )


def test_pre_activation_of_basic_blocks_is_refused():
    with pytest.raises(ValueError, match=r"pre_activation.* depth is one of"):
        models.create("resnet", num_classes=5, depth=18, variant="pre_activation")


@pytest.mark.parametrize("variant", resnet.VARIANTS)
@pytest.mark.parametrize("train", [False, True])
def test_the_forward_pass_is_the_one_written_in_numpy(variant, train):
    network = models.create(
        "resnet", num_classes=5, bn_group_size=2, depth=14, variant=variant, width=4
    )
    check_forward_pass(
        network, (75, 64), lambda layers, x: numpy_resnet(layers, x, variant), train
    )


@pytest.mark.parametrize("zero", [True, False])
def test_a_block_starts_as_the_identity_if_asked(zero):
    block = Bottleneck(channels=2, stride=1, variant="v1.5", zero_last_scale=zero)
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    y, variables = block.init_with_output(jax.random.key(1), x, False)
    assert (variables["params"]["norm3"]["scale"] == (0 if zero else 1)).all()
    assert bool((y == jax.nn.relu(x)).all()) is zero
