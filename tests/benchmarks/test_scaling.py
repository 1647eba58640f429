"""Costs on paper: counted by hand for one preset, and the page shows what they say."""

import json

import jax
import numpy as np
import pytest

from aaa_jax.experiments import floors
from benchmarks.scaling import __main__ as scaling
from benchmarks.train_step import presets

SITE = scaling.Site()
TASK = scaling.Work(
    name="by hand",
    num_images=2048,
    num_policies=8,
    group_size=256,
    row_flops=24e9,
    reduced_bytes=100_000_000,
    row_bytes=224 * 224 * 3,
    leaves=400,
)


def test_the_cost_of_a_step_is_the_formula():
    found = scaling.cost(TASK, 64, SITE)
    assert (found.hosts, found.group_size, found.device_rows) == (8, 256, 256)
    whole = 2048 * 8 * 24e9 / 64 / 989.4e12
    np.testing.assert_allclose(found.compute, (whole / 0.3, whole / 0.5))
    np.testing.assert_allclose(found.all_reduce, 2 * 63 / 64 * 1e8 / 50e9)
    np.testing.assert_allclose(found.decode, 2048 / 8 * SITE.decode_ms / 1e3)
    assert found.sent_bytes == 256 * 150_528
    one = scaling.cost(TASK, 8, SITE)
    np.testing.assert_allclose(one.all_reduce, 2 * 7 / 8 * 1e8 / 450e9)
    assert one.decoded == 2048


def test_groups_shrink_until_every_device_has_one():
    # 2048 * 8 / 256 = 64 groups; 512 devices need b = 2048 * 8 / 512
    sizes = [scaling.largest_group(TASK, devices) for devices in (8, 64, 128, 512)]
    assert sizes == [256, 256, 128, 32]
    with pytest.raises(ValueError, match="too few for 100000"):
        scaling.largest_group(TASK, 100_000)


def test_processes_with_fewer_than_m_groups_decode_images_of_their_neighbours():
    # 64 devices with one group of 256 rows each, M = 8
    for hosts in (8, 16, 64):
        assert scaling.images_of_host(TASK, 256, 64, hosts) == 256


def test_work_is_counted_from_the_networks_parameters():
    """Wide-ResNet-28-10: 36,479,194 parameters; its statistics are 2 per channel."""
    task = scaling.work("cifar10_wrn28x10")
    made = presets.full_step(presets.get_config("cifar10_wrn28x10"))
    stats = jax.tree.leaves(made.shapes()[0].batch_stats)
    channels = sum(leaf.size for leaf in stats)
    assert task.reduced_bytes == 4 * (36_479_194 + channels + 2 * 8)
    work = floors.work(made.experiment.model, 32, "bfloat16")
    assert task.row_flops == work.train_operations
    assert (task.num_rows, task.row_bytes) == (1024, 0)


def test_what_the_page_says_of_decoding_is_what_was_measured():
    """The record of the input benchmark, and the cores that follow from it."""
    record = json.loads(scaling.INPUT.read_text())
    cores = int(record["machine"]["cores"])
    cost = {
        row["name"].split()[-1]: 1000 / row["images_per_cpu_s"]
        for row in record["candidates"]
        if row["threads"] == cores and row["name"].startswith("this loader")
    }
    assert SITE.decode_ms == pytest.approx(cost["area"], abs=0.05)
    task = scaling.work("imagenet_r50")

    def needed(resample, devices=8):
        site = SITE._replace(decode_ms=scaling.decode_ms(resample))
        return scaling.cost(task, devices, site)

    area = needed("area")
    slow = area.decode / (area.compute[0] + area.all_reduce)
    page = " ".join(scaling.PAGE.read_text().split())
    for said in (
        f"{cost['area']:.1f} ms of one core for an image with its 8 rows",
        f"rows × {cost['area']:.1f} ms: N/H",
        f"ask for {area.cores:.0f} cores (at 30 %: {slow:.0f}); "
        f"a host with 64 holds them at {100 * 64 / area.cores:.0f} %",
        f"`data.resample=supersample` ({cost['supersample']:.1f} ms an image) it is "
        f"{needed('supersample').cores:.0f} cores, with `bilinear` "
        f"({cost['bilinear']:.1f} ms, which aliases) {needed('bilinear').cores:.0f}",
        f"8 × {needed('area', 64).cores:.0f} cores a host",
    ):
        assert said in page


def test_the_page_shows_the_tables():
    page = scaling.PAGE.read_text()
    shown = page.partition(scaling.BEGIN)[2].partition(scaling.END)[0]
    assert shown.strip() == scaling.page_tables(SITE).strip(), (
        "run python -m benchmarks.scaling --write"
    )
