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
    network = models.create(family, num_classes=classes, **options)
    found = floors.work(network, side, "float32").test_operations
    assert found == pytest.approx(2e9 * billions, rel=0.005)


def test_operations_and_bytes_of_a_small_network_by_hand():
    """Wide-ResNet-10-1: stem, three blocks of two convolutions, two shortcuts."""
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    stem, first = 16 * 16 * 9 * 3 * 16, 2 * 16 * 16 * 9 * 16 * 16
    second = 8 * 8 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    third = 4 * 4 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    forward = 2 * (stem + first + second + third + 64 * 7)
    values = 16 * 16 * 16 * 3 + (8 * 8 * 32) * 3 + (4 * 4 * 64) * 3
    for dtype, width in (("bfloat16", 2), ("float32", 4)):
        of_image = floors.work(network, 16, dtype)
        assert of_image == (
            *(3 * forward - 2 * stem, 14 * width * values),
            *(forward, 4 * width * values),
        )
    rates = floors.Rates(operations=1e9, bytes=1e8)
    trained = of_image.train_operations / 1e9 + of_image.train_bytes / 1e8
    tested = of_image.test_operations / 1e9 + of_image.test_bytes / 1e8
    assert of_image.train_seconds(rates) == pytest.approx(trained)
    assert of_image.test_seconds(rates) == pytest.approx(tested)


def test_the_peak_is_of_the_longest_name_that_fits():
    assert floors.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4
    assert floors.peak("NVIDIA H100 PCIe", "bfloat16") == 756.0
    assert floors.peak("NVIDIA A100-SXM4-80GB", "float32") == 156.0
    assert floors.peak(jax.devices("cpu")[0].device_kind, "float32") is None


def test_a_device_is_known_by_its_data_sheet_or_measured():
    rates = floors.known_rates("NVIDIA H200", "bfloat16")
    assert rates == pytest.approx((989.4e12, 4.8e12))
    [device, *_] = jax.devices("cpu")
    assert floors.known_rates(device.device_kind, "float32") is None
    rates = floors.measured_rates(device, "float32")
    assert 1e8 < rates.operations < 1e15
    assert rates.bytes == math.inf
