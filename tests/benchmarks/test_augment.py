"""The benchmarks run and report all rows; what they compare with is right."""

import json

import numpy as np
import pytest
from PIL import Image

from aaa_jax.search.pillow_policy import apply_op
from benchmarks.augment import __main__ as augment
from benchmarks.augment import (
    candidates,
    engine,
    libraries,
    memory,
    parity,
    torch_libraries,
    work,
)
from tests.support.benchmark_records import PLACE

INSTALLED = ("Pillow", "OpenCV")


@pytest.fixture(scope="module")
def small():
    return engine.make_work(16, 32)


@pytest.mark.parametrize(
    ("cores", "only"),
    [
        ("one", ("this engine (map)", "Pillow")),
        # All compile; libraries have a process for each core.
        pytest.param("one,all", candidates.CANDIDATES, marks=pytest.mark.slow),
    ],
)
def test_the_quick_run_writes_a_row_for_every_candidate(cores, only, tmp_path, capsys):
    chosen = f"--cores={cores}", f"--only={','.join(only)}"
    augment.main(["--quick", *chosen, f"--out={tmp_path}"])
    (path,) = tmp_path.glob("augment-*.json")
    settings = json.loads(path.read_text())["settings"]
    assert ",".join(settings) == cores
    assert settings["one"]["cores"] == 1
    for setting in settings.values():
        assert setting["devices"] == 2 ** min(setting["cores"].bit_length() - 1, 3)
        assert setting["sizes"]["8"]["bandwidth"] > 0
        rows = {row["name"]: row for row in setting["sizes"]["8"]["candidates"]}
        assert set(rows) == {*only, *candidates.LACKING}
        for name in {*candidates.DRIVERS, candidates.NAIVE, *INSTALLED} & {*only}:
            assert 0 < rows[name]["slowest"] <= rows[name]["images_per_s"]
            assert rows[name]["equal"] == 1 or name == "OpenCV"
    table = path.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    for name in rows:
        assert f"\n| {name} | " in table


def test_ratios_are_to_pillow_in_the_same_setting():
    rows = [
        {"name": "fast", "images_per_s": 3000.0, "equal": 0.5},
        {"name": "Pillow", "images_per_s": 1500.0, "equal": 1.0},
        {"name": "gone", "why": "not installed"},
    ]
    size = {"rows": 8, "bandwidth": 1e9, "candidates": rows}
    setting = {"cores": 1, "devices": 1, "clock": "seconds", "torch": "CPU"}
    setting["sizes"] = {"32": size}
    lines = augment.markdown(PLACE | {"settings": {"one": setting}}).splitlines()
    assert "| fast | 3,000 | 2.00 | 50.0 % |" in lines
    assert "| Pillow | 1,500 | 1.00 | 100.0 % |" in lines
    assert "| gone | not installed | – | – |" in lines


def test_draws_are_in_range_and_no_image_is_its_own_partner(small):
    draws = work.draw(3, small)
    num_images = len(small.images)
    assert set(np.unique(draws.sign)) == {-1, 1}
    assert set(np.unique(draws.sub_policy)) <= set(range(engine.NUM_SUB_POLICIES))
    assert draws.center.min() >= 0
    assert draws.center.max() < 16
    assert set(np.unique(draws.partner)) <= set(range(num_images))
    assert (draws.partner != np.arange(32)[:, None] % num_images).all()


def test_pillow_and_opencv_normalise_as_the_formula_says(small):
    rows, draws = range(5), work.draw(0, small)
    for maker in (libraries.pillow, libraries.opencv):
        library = maker(small)
        batch = library.augment(draws, rows)
        expected = (batch / 255 - np.array(small.mean)) / np.array(small.std)
        np.testing.assert_allclose(library.finish(batch), expected, atol=2e-6)


def test_opencv_is_close_to_pillow_where_it_claims_to_do_the_same():
    """Equalize is another formula there, Sharpness has no frame; the rest rounds."""
    random = np.random.default_rng(0)
    ramp = np.linspace(20, 230, 24 * 24 * 3).reshape(24, 24, 3)
    image, partner = (
        np.clip(ramp[::step] + random.integers(-9, 9, ramp.shape), 0, 255).astype("u1")
        for step in (1, -1)
    )
    values = {"Solarize": 100, "Posterize": 5, "Cutout": 8, "SamplePairing": 0.3}
    values |= {"TranslateX": 4, "TranslateY": -3, "Rotate": 20}
    opencv = libraries.opencv_ops()
    for name in set(opencv) - {"Equalize"}:
        value = values.get(name, 0.23 if name.startswith("Shear") else 1.4)
        inputs = work.Inputs((5, 7), partner)
        ours = opencv[name](image, value, inputs).astype(int)
        pictures = Image.fromarray(image), Image.fromarray(partner)
        theirs = apply_op(pictures[0], name, value, (5, 7), pictures[1])
        assert (np.abs(ours - np.asarray(theirs)) > 3).mean() < 0.02, name


def test_torchvision_in_batches_is_torchvision(small):
    pytest.importorskip("torchvision")
    makers = torch_libraries.torchvision, torch_libraries.torchvision_batches
    one_by_one, batches = (maker(small) for maker in makers)
    draws, rows = work.draw(2, small), range(small.num_rows)
    expected = one_by_one.pixels(one_by_one.augment(draws, rows))
    np.testing.assert_array_equal(
        batches.pixels(batches.augment(draws, rows)), expected
    )


def test_a_library_that_fails_has_a_row_that_says_why(small, monkeypatch):
    def fails(task):
        raise ValueError("no such kernel")

    monkeypatch.setitem(candidates.host.MAKERS, "OpenCV", fails)
    names = ["Pillow", "OpenCV"]
    found, absent = candidates._candidates(small, names, is_spread=False)
    assert list(found) == ["Pillow"]
    assert absent["OpenCV"] == "ValueError: no such kernel"


def test_parity_holds_here_and_a_wrong_value_is_noticed(tmp_path, monkeypatch):
    command = ["--quick", f"--out={tmp_path}"]
    assert parity.main(command) == 0
    (path,) = tmp_path.glob("parity-*.md")
    # 17 ops, 10 magnitudes, 2 signs; 16 chains; 3 paths.
    total = f"{3 * (340 + 16):,}"
    verdict = "**{0} of {0} comparisons: equal in every value**"
    assert verdict.format(total) in path.read_text()

    # What was found before a stop stays.
    def stopped(*, is_quick):
        yield parity.Result("first", 2, {"map": 2, "vmap": 2, "ops.py": 2})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(parity, "compare", stopped)
        parity.main(command)
    assert f"{verdict.format(6)} (stopped before" in path.read_text()

    right = parity.by_pillow

    def wrong(case, ranges):
        images = right(case, ranges)
        images[7, 3, 2, 1] ^= 1
        return images

    monkeypatch.setattr(parity, "by_pillow", wrong)
    assert parity.main(command) == 1
    assert "| monotone, 32 x 32 | 340 | 339 | 339 | 339 |" in path.read_text()


def test_the_plan_of_the_augmentations_memory():
    plan = memory.plan(8, 16)
    assert plan.output == 16 * 8 * 8 * 3
    assert plan.temporary > 0
    made = [plan._replace(temporary=times * plan.output) for times in (3, 4)]
    page = memory.markdown(PLACE | {"plans": made})
    assert "| 3.00 | reached |" in page
    assert "| 4.00 | missed |" in page
