"""The benchmark of the training step runs, reports all rows, and counts rightly."""

import importlib.util
import json

import pytest

from benchmarks.train_step import __main__ as train_step
from benchmarks.train_step import presets, profile, roofline
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
    others = on_cifar100 | {"digits", "digits_few"}
    assert timed == set(presets.PRESETS) - others


def test_the_page_gives_ratios_shares_and_reasons():
    table = {"network": "net", "dtype": "bfloat16", "options": {"depth": 10}}
    table |= {"num_rows": 16, "side": 32, "group_size": 2, "peak_tflops": 200.0}
    table |= {"floor_s": (0.002, 0.006), "jax_peak_bytes": 3 * 2**30}
    table["rows"] = [
        {"name": AAA, "images_per_s": 900.0, "tflops": 90.0},
        {"name": ALONE, "images_per_s": 1000.0, "tflops": 100.0},
        {"name": TORCH, "images_per_s": 500.0, "tflops": 50.0},
        {"name": ACCUMULATED, "why": "out of memory"},
    ]
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
    program = {"name": "f", "operations": 989.4e9, "compile_s": 2.0}
    program["totals"] = roofline.totals(made)
    assert program["totals"]["copy"] == [5, 10 * values, 10 * values, 5 * 2e-6]
    page = roofline.markdown(PLACE | {"programs": [program]})
    assert "| f | 7 | 0.000 | 0.000 | 0.014 | 1.0 | 2 |" in page
