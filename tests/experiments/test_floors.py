"""Operations and bytes of networks, and the least time that a device needs for them."""

import math

import jax
import pytest

from aaa_jax import models
from aaa_jax.experiments import floors

# Multiply-adds of a forward pass, in units of 1e9, as the papers and timm state them.
PUBLISHED = {
    "WRN-28-10": ("wide_resnet", {"depth": 28, "width": 10}, 32, 5.25),
    "ResNet-50": ("resnet", {"depth": 50}, 224, 4.09),
    "ResNet-50-D": ("resnet", {"depth": 50, "variant": "d"}, 224, 4.33),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_operations_are_those_published(name):
    family, options, side, billions = PUBLISHED[name]
    classes = 1000 if side == 224 else 10
    layers = floors.forward_flops(
        models.create(family, num_classes=classes, **options), side
    )
    assert sum(layers) == pytest.approx(2e9 * billions, rel=0.005)


def test_operations_of_a_training_pass_by_hand():
    """The stem of a Wide-ResNet and its dense layer, in and out of the sum."""
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    layers = floors.forward_flops(network, 16)
    assert layers[0] == 2 * 16 * 16 * 9 * 3 * 16
    assert layers[-1] == 2 * 64 * 7
    expected = 2 * layers[0] + 3 * sum(layers[1:])
    assert floors.training_flops(network, 16) == expected


def test_the_activations_of_a_small_network_by_hand():
    """Wide-ResNet-10-1: stem, three blocks of two convolutions, two shortcuts."""
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    stages = [16 * 16 * 16 * 2, (8 * 8 * 32) * 3, (4 * 4 * 64) * 3]
    assert floors.activation_elements(network, 16) == 16 * 16 * 16 + sum(stages)


def test_the_floor_is_operations_and_bytes_over_what_a_device_does():
    network = models.create("wide_resnet", num_classes=10, depth=40, width=2)
    compute, memory = floors.floor(network, 32, 1024, "NVIDIA H200", "bfloat16")
    assert compute == pytest.approx(1024 * 1.9647e9 / 989.4e12, rel=1e-3)
    # The stem; in each stage 12 convolutions and the shortcut of its first block.
    values = 16 * 32**2 + 13 * (32 * 32**2 + 64 * 16**2 + 128 * 8**2)
    assert memory == pytest.approx(14 * 2 * 1024 * values / 4.8e12)
    assert floors.floor(network, 32, 1024, "cpu", "bfloat16") is None


def test_the_peak_is_of_the_longest_name_that_fits():
    assert floors.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4
    assert floors.peak("NVIDIA H100 PCIe", "bfloat16") == 756.0
    assert floors.peak("NVIDIA A100-SXM4-80GB", "float32") == 156.0
    assert floors.peak(jax.devices("cpu")[0].device_kind, "float32") is None


def test_a_step_takes_operations_and_bytes_one_after_the_other():
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    rates = floors.Rates(operations=1e9, bytes=1e8)
    of_image = floors.work(network, 16, "bfloat16")
    values = floors.activation_elements(network, 16)
    operations = floors.training_flops(network, 16)
    assert of_image.train_seconds(rates) == pytest.approx(
        operations / 1e9 + 14 * 2 * values / 1e8
    )
    forward = sum(floors.forward_flops(network, 16))
    tested = of_image.test_seconds(rates)
    assert tested == pytest.approx(forward / 1e9 + 4 * 2 * values / 1e8)


def test_a_device_that_no_table_has_is_measured():
    [device, *_] = jax.devices("cpu")
    assert floors.known_rates(device.device_kind, "float32") is None
    rates = floors.measured_rates(device, "float32")
    assert 1e8 < rates.operations < 1e15
    assert rates.bytes == math.inf
