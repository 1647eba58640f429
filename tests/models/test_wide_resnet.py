"""Wide-ResNet: the forward pass against NumPy, the initial weights."""

import jax
import numpy as np
import pytest

from aaa_jax.models.layers import conv_init, dense_init
from tests.oracles.models_numpy import check_forward_pass

pytestmark = pytest.mark.usefixtures("light_compiler")


def numpy_wide_resnet(layers, x, depth, stem_stride):
    x = layers.conv("stem", x, stem_stride)
    for stage in (1, 2, 3):
        for index in range(1, (depth - 4) // 6 + 1):
            block = layers.inside(f"stage{stage}_block{index}")
            stride = 2 if stage > 1 and index == 1 else 1
            y = block.norm_relu("norm1", x)
            if "shortcut" in block.params:
                x = block.conv("shortcut", y, stride)
            y = block.norm_relu("norm2", block.conv("conv1", y, stride))
            x = x + block.conv("conv2", y)
    return layers.classifier(layers.norm_relu("norm", x))


@pytest.mark.parametrize(("depth", "width", "stem"), [(10, 1, 2), (16, 2, 1)])
@pytest.mark.parametrize("train", [False, True])
def test_the_forward_pass_is_the_one_written_in_numpy(depth, width, stem, train):
    options = {"depth": depth, "width": width, "stem_stride": stem}

    def expected(layers, x):
        return numpy_wide_resnet(layers, x, depth, stem)

    check_forward_pass("wide_resnet", options, (11, 8), expected, train)


def test_the_initial_weights_are_he_normal_over_fan_out_and_uniform_over_fan_in():
    key = jax.random.key(0)
    kernel = np.asarray(conv_init(key, (3, 3, 64, 256)))
    expected = np.sqrt(2 / (9 * 256))
    # 147,456 normal values: the standard error of their spread is 0.2 %
    np.testing.assert_allclose(kernel.std(), expected, rtol=0.01)
    assert np.abs(kernel).max() > 4 * expected
    dense = np.asarray(dense_init(key, (256, 10)))
    assert np.abs(dense).max() <= 1 / np.sqrt(256)
    # 2,560 uniform values: the standard error of their spread is 0.9 %
    np.testing.assert_allclose(dense.std(), 1 / np.sqrt(3 * 256), rtol=0.04)
