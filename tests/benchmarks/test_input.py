"""The input benchmark runs, and its page says what its record does."""

import json

import pytest
from PIL import Image

from aaa_jax import data
from aaa_jax.data import crops
from benchmarks import measure
from benchmarks.input import __main__ as input_benchmark
from benchmarks.input.page import markdown
from tests.support.benchmark_records import PLACE
from tests.support.tfds_folders import write_pictures


def test_the_quick_run_writes_all_rows(tmp_path, capsys):
    write_pictures(tmp_path)
    input_benchmark.main(
        ["--quick", "--name=tiny", f"--data-dir={tmp_path}", f"--out={tmp_path}"]
    )
    (path,) = tmp_path.glob("input-*.json")
    record = json.loads(path.read_text())
    names = {row["name"] for row in record["candidates"]}
    assert names == {f"this loader, {resample}" for resample in crops.RESAMPLINGS}
    for row in record["candidates"]:
        assert row["images_per_s"] > 0 < row["images_per_cpu_s"]
    assert record["num_images"] == 11
    assert all(ms > 0 for ms in record["parts"].values())
    page = path.with_suffix(".md").read_text()
    assert page in capsys.readouterr().out
    assert "| decode |" in page


def test_without_data_jpegs_are_made_up(tmp_path):
    input_benchmark.make_up(tmp_path / "images", 3)
    paths = sorted((tmp_path / "images").rglob("*.jpg"))
    splits = [path.parent.parent.name for path in paths]
    assert splits == ["train"] * 3 + ["validation"] * 2
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (500, 375)
        assert 80_000 < path.stat().st_size < 150_000  # of ImageNet: 110 kB
    input_benchmark.main(["--quick", "--made-up=400", f"--out={tmp_path}"])
    (page,) = tmp_path.glob("input-*.md")
    assert "made-up JPEGs of 500 x 375 px, 8 images" in page.read_text()
    assert "ms for 32 rows, " in page.read_text()


def test_a_run_counts_distinct_images(tmp_path):
    write_pictures(tmp_path)
    stream = data.open_stream("tiny", "train", data_dir=tmp_path)
    options = input_benchmark._parse(["--quick"])
    assert input_benchmark._loader(stream, options, "area", 1)(0) == 2 * 4


@pytest.mark.parametrize(("speed", "word"), [(188, "reached"), (187, "not reached")])
def test_the_goal_is_judged_by_the_cpu_seconds_of_each_resampling(speed, word):
    row = {"name": "this loader, area", "threads": 2, "images_per_s": 1}
    row |= {"images_per_cpu_s": speed}
    alone = row | {"threads": 1, "images_per_cpu_s": 999}
    bilinear = row | {"name": "this loader, bilinear", "images_per_cpu_s": 500}
    record = {"name": "tiny train", "num_images": 5, "num_policies": 8, "size": 224}
    parts = {"decode": 1.0, "8 crops, area": 3.0, "8 crops, bilinear": 1.0}
    record |= {"candidates": [alone, row, bilinear], "parts": parts}
    page = markdown(PLACE | record)
    *_, area, of_bilinear = page.splitlines()
    assert area == f"- area (the default): {2 * speed}, {word}"
    assert of_bilinear == "- bilinear: 1000, reached"
    assert f"| this loader, area | 2 | 1 | 8 | {speed} | {8 * speed} |" in page
    assert "| decode | 1.00 | 25 % |" in page


def test_the_committed_page_is_that_of_its_record():
    for path in measure.RESULTS.glob("input-*.json"):
        page = path.with_suffix(".md").read_text()
        assert page == markdown(json.loads(path.read_text()))
