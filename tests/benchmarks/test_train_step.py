"""The benchmark of the training step runs, reports all rows, and counts rightly."""

import importlib.util
import json

import jax
import pytest

from aaa_jax import models
from benchmarks.train_step import __main__ as train_step
from benchmarks.train_step import flops, presets, profile, roofline
from benchmarks.train_step.candidates import AAA, ACCUMULATED, ALONE, TORCH
from tests.support.benchmark_records import PLACE


@pytest.mark.slow
def test_the_quick_run_writes_a_row_for_every_candidate(tmp_path, capsys):
    train_step.main(["--quick", f"--out={tmp_path}"])
    (path,) = tmp_path.glob("train_step-*.json")
    record = json.loads(path.read_text())
    tables = record["networks"]
    assert [table["network"] for table in tables] == list(train_step.QUICK)
    for table in tables:
        rows = {row["name"]: row for row in table["rows"]}
        assert set(rows) == {AAA, ACCUMULATED, ALONE, TORCH}
        torch = rows.pop(TORCH)
        if importlib.util.find_spec("torch") is None:
            assert "torch" in torch["why"]
        else:
            assert torch["images_per_s"] > 0
        for row in rows.values():
            assert 0 < row["slowest"] <= row["images_per_s"] <= row["fastest"]
            assert 0 < row["compile_warm_s"] < row["compile_cold_s"]
            assert row["memory_bytes"] > 0
    page = path.with_suffix(".md").read_text()
    assert page in capsys.readouterr().out
    assert record["machine"]["device"] in page


def test_every_preset_of_the_benchmark_exists_and_all_of_table_7_are_there():
    timed = {preset for preset, _ in presets.NETWORKS.values()}
    on_cifar100 = {name for name in presets.PRESETS if name.startswith("cifar100")}
    others = on_cifar100 | {"digits"}
    assert timed == set(presets.PRESETS) - others


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
    layers = flops.forward_flops(
        models.create(family, num_classes=classes, **options), side
    )
    assert sum(layers) == pytest.approx(2e9 * billions, rel=0.005)


def test_operations_of_a_training_pass_by_hand():
    """The stem of a Wide-ResNet and its dense layer, in and out of the sum."""
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    layers = flops.forward_flops(network, 16)
    assert layers[0] == 2 * 16 * 16 * 9 * 3 * 16
    assert layers[-1] == 2 * 64 * 7
    expected = 2 * layers[0] + 3 * sum(layers[1:])
    assert flops.training_flops(network, 16) == expected


def test_the_activations_of_a_small_network_by_hand():
    """Wide-ResNet-10-1: stem, three blocks of two convolutions, two shortcuts."""
    network = models.create("wide_resnet", num_classes=7, depth=10, width=1)
    stages = [16 * 16 * 16 * 2, (8 * 8 * 32) * 3, (4 * 4 * 64) * 3]
    assert flops.activation_elements(network, 16) == 16 * 16 * 16 + sum(stages)


def test_the_floor_is_operations_and_bytes_over_what_a_device_does():
    network = models.create("wide_resnet", num_classes=10, depth=40, width=2)
    compute, memory = flops.floor(network, 32, 1024, "NVIDIA H200", "bfloat16")
    assert compute == pytest.approx(1024 * 1.9647e9 / 989.4e12, rel=1e-3)
    # The stem; in each stage 12 convolutions and the shortcut of its first block.
    values = 16 * 32**2 + 13 * (32 * 32**2 + 64 * 16**2 + 128 * 8**2)
    assert memory == pytest.approx(14 * 2 * 1024 * values / 4.8e12)
    assert flops.floor(network, 32, 1024, "cpu", "bfloat16") is None


def test_the_peak_is_of_the_longest_name_that_fits():
    assert flops.peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4
    assert flops.peak("NVIDIA H100 PCIe", "bfloat16") == 756.0
    assert flops.peak("NVIDIA A100-SXM4-80GB", "float32") == 156.0
    assert flops.peak(jax.devices("cpu")[0].device_kind, "float32") is None


def test_the_page_gives_ratios_shares_and_reasons():
    table = {
        "network": "net",
        "dtype": "bfloat16",
        "num_rows": 16,
        "side": 32,
        "group_size": 2,
        "options": {"depth": 10},
        "peak_tflops": 200.0,
        "floor_s": (0.002, 0.006),
        "jax_peak_bytes": 3 * 2**30,
        "rows": [
            {"name": AAA, "images_per_s": 900.0, "tflops": 90.0},
            {"name": ALONE, "images_per_s": 1000.0, "tflops": 100.0},
            {"name": TORCH, "images_per_s": 500.0, "tflops": 50.0},
            {"name": ACCUMULATED, "why": "out of memory"},
        ],
    }
    page = train_step.markdown(PLACE | {"networks": [table]})
    assert f"| {AAA} | 900 | 1.80 | 90 | 45.0 % | – | – | – |" in page
    assert f"| {ACCUMULATED} | out of memory | – | – | – | – | – | – |" in page
    assert "- augmentation and averages: 10.0 % of the AAA step" in page
    assert "one after the other, 2,000 images/s" in page
    assert "- JAX's peak on the device so far: 3.0 GiB" in page


def test_a_kernel_is_what_its_name_says():
    names = {
        "sm90_xmma_fprop_implicit_gemm_bf16": "convolutions and matrix products",
        "input_reduce_fusion_12": "fusions of XLA",
        "MemcpyD2D": "copies",
        "ncclDevKernel": "others",
    }
    assert {name: profile.kind(name) for name in names} == names
    kernels = {"loop_fusion": 0.003, "MemcpyD2D": 0.001}
    lines = list(profile.tables(kernels, steps=2))
    assert "| fusions of XLA | 1.500 | 75.0 % |" in lines
    assert "| MemcpyD2D | 0.500 | 25.0 % |" in lines


HLO = """HloModule jit_f, is_scheduled=true

%taking (param_0: u8[1000,4], param_1: s32[8]) -> f32[8,4] {
  %param_0 = u8[1000,4]{1,0} parameter(0)
  %param_1 = s32[8]{0} parameter(1)
  %gather = u8[8,4]{1,0} gather(%param_0, %param_1), slice_sizes={1,4}
  ROOT %convert = f32[8,4]{1,0} convert(%gather)
}

%body (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%state), index=1
  ROOT %copy.2 = f32[8,4]{1,0} copy(%x)
}

ENTRY %main (images: u8[1000,4], places: s32[8]) -> bf16[8] {
  %images = u8[1000,4]{1,0} parameter(0)
  %places = s32[8]{0} parameter(1)
  %fusion.1 = f32[8,4]{1,0} fusion(%images, %places), kind=kLoop, calls=%taking
  %loop = (s32[], f32[8,4]{1,0}) while(%fusion.1), condition=%c, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %conv = (bf16[8]{0}, u8[0]{0}) custom-call(%loop, %fusion.1), \
custom_call_target="__cudnn$convForward"
}
"""


def test_kernels_and_their_bytes_by_hand():
    """A gather moves what it takes; a loop's kernel counts at each turn."""
    taken, values, places = 8 * 4, 8 * 4 * 4, 8 * 4
    made = list(roofline.kernels(HLO))
    assert made == [
        ("fusions", 1, taken + places + values, values),
        ("copy", 5, 2 * values, 2 * values),
        ("convolutions", 1, 8 * 2 + (4 + values) + values, 2 * values),
    ]
    program = {"name": "f", "operations": 989.4e9, "compile_s": 2.0, "kernels": made}
    page = roofline.markdown(PLACE | {"programs": [program]})
    assert "| f | 7 | 0.000 | 0.000 | 0.014 | 1.0 | 2 |" in page
