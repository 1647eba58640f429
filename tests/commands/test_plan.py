"""Plans: what a command would do, from its config and tables alone."""

import math
import re

import PIL.Image
import pytest

from aaa_jax import models
from aaa_jax.commands import train
from aaa_jax.data import host_speed
from aaa_jax.experiments import floors

RATES = floors.Rates(operations=1e12, bytes=math.inf)
H100 = floors.Rates(operations=989.4e12, bytes=3.35e12)


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch, tmp_path):
    """Of fixed speed, and without any data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(floors, "measured_rates", lambda *_: RATES)
    monkeypatch.setattr(host_speed, "images_per_second", lambda *_: 100.0)


def _plan(capsys, *given):
    assert train.main([*given, "--plan"]) == 0
    return capsys.readouterr().out


def test_the_plan_of_imagenet_needs_no_data(capsys, tmp_path):
    text = _plan(capsys, "--config=imagenet_r50")
    steps = 1_281_167 // 2048 * 120
    assert f"\nsteps       {steps:,}, 625 an epoch; each 16,384 rows" in text
    assert "4 x cpu (pmap); 64 groups of 256 rows: 16 passes of 1 on each" in text
    assert "120 controller updates, one every 625 steps" in text
    assert "after about 100, at step 62,500, in epoch 100" in text
    parameters = 25_557_032  # twice, with momentum; 53,120 statistics; the controller
    [size] = re.findall(r"checkpoint  (\d+) MiB", text)
    assert float(size) == pytest.approx(4 * (2 * parameters + 53_120) / 2**20, rel=0.01)
    network = models.create("resnet", num_classes=1000, depth=50)
    of_image = floors.work(network, 224, "bfloat16")
    tests = 120 * 50_000
    seconds = [
        steps * 16_384 * of_image.train_seconds(rates)
        + tests * of_image.test_seconds(rates)
        for rates in (RATES, H100)
    ]
    assert f"about {seconds[0] / 3600:,.0f} h here, at least " in text
    assert f"{seconds[1] / 3600:.3g} h on one H100, by estimate" in text
    images = steps * 2048 + tests
    assert f"decodes {images / seconds[0]:.3g} images/s to keep up here" in text
    assert f"{images / seconds[1]:,.0f} with one H100" in text
    assert "this machine can about 100 " in text
    assert not list(tmp_path.iterdir())


def test_a_host_that_cannot_keep_up_says_how_long_it_takes(capsys, monkeypatch):
    monkeypatch.setattr(floors, "measured_rates", lambda *_: H100)
    network = "--config.model.name=tests.support.tiny:factory"
    words = ["--config=imagenet_r50:baseline", "--config.max_steps=1250", network]
    text = _plan(capsys, *words)
    assert "fixed; nothing is learned" in text
    hours = (1250 * 2048 + 2 * 50_000) / 100 / 3600
    assert f"about {hours:.3g} h here" in text


def test_a_controller_that_cannot_move_is_said_to_stay_uniform(capsys):
    words = ["--config=digits", "--config.max_steps=270"]
    text = _plan(capsys, *words)
    assert "90 controller updates, one every 3 steps; it can have moved after" in text
    assert "about 100, never: they stay uniform" in text
    assert "runs/digits: not run" in text


def test_the_plan_of_a_table_has_a_line_for_each_row_and_column(capsys):
    text = _plan(capsys, "--config=table4_digits", "--config.seeds=3")
    head, names, *lines = text.splitlines()
    assert head.endswith("; 15 cells in runs/table4_digits")
    assert names.split()[:3] == ["cell", "runs", "steps"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[:6]}
    assert {name.split("/")[0] for name in rows} == {"digits", "all"}
    columns = {"baseline", "fixed", "random", "ours", "guarded"}
    assert {name.split("/")[1] for name in rows if "/" in name} == columns
    assert [count for count, *_ in rows.values()] == ["3"] * 5 + ["15"]
    hours = [float(numbers[-2]) for numbers in rows.values()]
    assert sum(hours[:-1]) == pytest.approx(hours[-1], rel=0.01)
    # M = 8 costs eight times M = 1, but the tests.
    assert 6 < float(rows["digits/ours"][-1]) / float(rows["digits/baseline"][-1]) < 8


def test_ones_own_images_are_prepared_and_their_sizes_filled_in(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "datasets"))
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            picture = PIL.Image.new("RGB", (40, 30), (number, 0, 0))
            picture.save(tmp_path / "images" / name / f"{number}.png")
    words = ["--config=folder", f"--config.data.name=folder:{tmp_path}/images"]
    text = _plan(capsys, *words, "--config.model.name=tests.support.tiny:factory")
    assert ": 16 training and 4 test images, 2 classes" in text
    assert "\nsteps       600, 2 an epoch; each 64 rows: N = 8 images" in text
    assert not (tmp_path / "runs").exists()


def test_a_plan_of_what_cannot_work_is_refused(capsys):
    assert train.main(["--config=digits", "--config.batch_size=301", "--plan"]) == 2
    assert "larger than the 300 training images" in capsys.readouterr().err
