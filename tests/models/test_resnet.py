"""ResNets: the forward pass against NumPy."""

import itertools

import jax
import pytest

from aaa_jax.models import resnet
from aaa_jax.models.resnet import Bottleneck
from tests.oracles.models_numpy import average_pool, check_forward_pass, max_pool, relu

pytestmark = pytest.mark.usefixtures("light_compiler")


def numpy_pre_activation(layers, x):
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


@pytest.mark.parametrize(
    ("depth", "variant", "train"),
    [*itertools.product([14], resnet.VARIANTS, [False, True]), (18, "v1.5", True)],
)
def test_the_forward_pass_is_the_one_written_in_numpy(depth, variant, train):
    options = {"depth": depth, "variant": variant, "width": 4}

    def expected(layers, x):
        return numpy_resnet(layers, x, variant, blocks=2 if depth == 18 else 1)

    check_forward_pass("resnet", options, (75, 64), expected, train)


@pytest.mark.parametrize("zero", [True, False])
def test_a_block_starts_as_the_identity_if_asked(zero):
    block = Bottleneck(channels=2, stride=1, variant="v1.5", zero_last_scale=zero)
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    y, variables = block.init_with_output(jax.random.key(1), x, False)
    assert (variables["params"]["norm3"]["scale"] == (0 if zero else 1)).all()
    assert bool((y == jax.nn.relu(x)).all()) is zero
