"""The benchmarks run and report all rows; what they compare with is right."""

import json
import zlib

import numpy as np
import pytest
from PIL import Image

from aaa_jax.augment.ops import OPS, coefficients
from benchmarks.augment import __main__ as augment
from benchmarks.augment import engine, libraries, parity, work
from benchmarks.augment import page as report

INSTALLED = ("Pillow", "OpenCV")


@pytest.fixture(scope="module")
def small():
    return augment.make_work(16, 32)


@pytest.mark.parametrize(
    "only",
    [
        pytest.param(augment.CANDIDATES, marks=pytest.mark.slow, id="all"),
        pytest.param(("this engine (map)", "Pillow"), id="two"),
    ],
)
def test_the_quick_run_writes_a_row_for_every_candidate(only, tmp_path, capsys):
    named = f"--only={','.join(only)}"
    augment.main(["--quick", "--cores=one", named, f"--out={tmp_path}"])
    (path,) = tmp_path.glob("augment-*.json")
    record = json.loads(path.read_text())
    setting = record["settings"]["one"]
    assert setting["cores"] == 1
    rows = {row["name"]: row for row in setting["sizes"]["8"]["candidates"]}
    assert set(rows) == {*only, *augment.LACKING}
    for name in {*augment.ENGINE, augment.NAIVE, *INSTALLED} & {*only}:
        assert 0 < rows[name]["slowest"] <= rows[name]["images_per_s"]
    for name in {*augment.ENGINE, augment.NAIVE, "Pillow"} & {*only}:
        assert rows[name]["equal"] == 1
    table = path.with_suffix(".md").read_text()
    assert table in capsys.readouterr().out
    for name in rows:
        assert f"\n| {name} | " in table


@pytest.mark.slow  # a process and its compilation for each core
def test_a_process_per_core_does_the_same_work(tmp_path):
    only = f"{augment.PER_CORE},Pillow"
    augment.main(["--quick", "--cores=all", f"--only={only}", f"--out={tmp_path}"])
    (path,) = tmp_path.glob("augment-*.json")
    size = json.loads(path.read_text())["settings"]["all"]["sizes"]["8"]
    rows = {row["name"]: row for row in size["candidates"]}
    assert rows[augment.PER_CORE]["equal"] == 1
    assert rows[augment.PER_CORE]["images_per_s"] > 0


def test_an_unknown_candidate_is_refused(capsys):
    with pytest.raises(SystemExit):
        augment.main(["--only=Gimp"])
    assert "Gimp" in capsys.readouterr().err


def test_ratios_are_to_pillow_in_the_same_setting():
    size = {
        "rows": 8,
        "candidates": [
            {"name": "fast", "images_per_s": 3000.0, "equal": 0.5},
            {"name": "Pillow", "images_per_s": 1500.0, "equal": 1.0},
            {"name": "gone", "why": "not installed"},
        ],
    }
    setting = {"cores": 1, "devices": 1, "clock": "seconds", "sizes": {"32": size}}
    here = {"device": "d", "cpu": "c", "cores": "1", "os": "o", "commit": "abc"}
    record = {"machine": here, "versions": {"jax": "9"}, "load_average": 0.0}
    lines = report.markdown(record | {"settings": {"one": setting}}).splitlines()
    assert "| fast | 3,000 | 2.00 | 50.0 % |" in lines
    assert "| Pillow | 1,500 | 1.00 | 100.0 % |" in lines
    assert "| gone | not installed | – | – |" in lines


def test_draws_are_in_range_and_no_image_is_its_own_partner(small):
    draws = work.draw(3, small)
    num_images = len(small.images)
    assert set(np.unique(draws.sign)) == {-1, 1}
    assert set(np.unique(draws.sub_policy)) <= set(range(augment.NUM_SUB_POLICIES))
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
    pillow, opencv = libraries.pillow_ops(), libraries.opencv_ops()
    for name in set(pillow) - {"Equalize"}:
        value = values.get(name, 0.23 if name.startswith("Shear") else 1.4)
        rest = ((5, 7), partner, (1, 2, 3))
        ours = opencv[name](image, value, *rest).astype(int)
        rest = ((5, 7), Image.fromarray(partner), (1, 2, 3))
        theirs = np.asarray(pillow[name](Image.fromarray(image), value, *rest))
        assert (np.abs(ours - theirs) > 3).mean() < 0.02, name


def test_affine_matrices_are_those_of_the_engine():
    for name in libraries.GEOMETRIC:
        value = 5.0 if name.startswith("T") else 0.25
        a, b, c, d, e, f = work.affine_matrix(name, value, 20, 30)
        middle = (a, b, c + (a + b) / 2, d, e, f + (d + e) / 2)
        fixed_point = coefficients(name, value, 20, 30).matrix
        np.testing.assert_allclose(np.array(middle) * 65536, fixed_point, atol=0.51)
        moved = work.middle_coordinates((a, b, c, d, e, f)) @ [4, 9, 1] + 0.5
        expected = [a * 4.5 + b * 9.5 + c, d * 4.5 + e * 9.5 + f]
        np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_parity_holds_here_and_a_wrong_value_is_noticed(tmp_path, monkeypatch):
    assert parity.main(["--quick", f"--out={tmp_path}"]) == 0
    (path,) = tmp_path.glob("parity-*.md")
    # 17 ops, 10 magnitudes, 2 signs, by check sum and by Pillow; 16 chains; 3 paths.
    total = f"{3 * (2 * 340 + 16):,}"
    assert (
        f"**{total} of {total} comparisons: equal in every value**" in path.read_text()
    )

    # What was found before a stop stays.
    results = [parity.Result("first", 2, {"map": 2, "vmap": 2, "ops.py": 2})]

    def stopped(*, is_quick):
        yield from results
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(parity, "compare", stopped)
        parity.main([f"--out={tmp_path}"])
    assert "**6 of 6 comparisons: equal in every value** (stopped" in path.read_text()

    made = parity.golden_image()[None].repeat(340, 0)
    monkeypatch.setattr(parity, "apply", lambda case, path: made)
    (result,) = parity.golden_results(["monotone"])
    assert all(equal < result.num_rows for equal in result.equal.values())


def test_every_op_has_check_sums_or_is_the_identity():
    text = (augment.ROOT / "benchmarks/augment/goldens.json").read_text()
    for table, lines in json.loads(text)["tables"].items():
        names = {line.split()[0] for line in lines}
        assert names == {op.name for op in OPS} - {"Identity"}, table
    image = parity.golden_image()
    assert json.loads(text)["input"] == f"{zlib.crc32(image.tobytes()):08x}"
    # The formula by hand, at one place.
    assert image[2, 3, 1] == 20 + (27 + 20 + 7 * 2 * 6 + 22 + 40) % 200


def test_a_training_step_is_timed_and_a_bandwidth_measured():
    options = {"depth": 10, "width": 1}
    assert engine.step_seconds("wide_resnet", options, 4, 8, repeats=1) > 0
    assert engine.copy_bandwidth(2**20) > 0
