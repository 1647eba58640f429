"""The benchmark of an epoch: what it is asked, its page, PyTorch's way of an epoch."""

import numpy as np
import pytest

from aaa_jax.search.pillow_policy import FILL
from benchmarks.epoch import __main__ as epoch
from benchmarks.epoch import our_loop
from tests.support.benchmark_records import PLACE


def test_the_page_of_an_epoch_compares_medians():
    rows = [
        {"name": "jit:2", "devices": 1, "seconds": [0.01, 0.02, 0.01], "first_s": 30.0}
        | {"controller_s": 0.005},
        {"name": "pmap:2", "devices": 3, "why": "groups do not divide"},
        {"name": "torch", "seconds": [0.04, 0.04, 0.05], "first_s": 60.0}
        | {"workers": 16, "device": "gpu", "step_s": 0.03, "batch_s": 0.02},
    ]
    table = {"network": "wrn", "num_rows": 1000, "dtype": "bfloat16", "rows": rows}
    page = epoch.markdown(PLACE | {"networks": [table | {"images": "noise"}]})
    assert (
        "| ours, jit, 1 device(s), 2 steps ahead | 100,000 | 10.0 (10.0–20.0) | 3.9 | "
        "4.00 | 30.0 |" in page
    )
    assert "| PyTorch, Pillow, 16 workers | 25,000 | 40.0 (40.0–50.0) |" in page
    assert "3 device(s), 2 steps ahead | groups do not divide |" in page
    assert "(50,000 images/s)" in page
    assert "controller update take 5.0 ms" in page


@pytest.fixture
def torch_loop():
    pytest.importorskip(
        "torch",
        reason="PyTorch is not installed: pip install -r requirements-oracles.txt",
    )
    from benchmarks.epoch import torch_loop

    return torch_loop


def test_pytorchs_instances_are_standard_augmentation_of_pillow(torch_loop):
    """Under Identity an instance is a crop of the padded image, except for Cutout."""
    splits = our_loop.make_splits(6, "")
    work, labels = our_loop.torch_work(splits), splits.train.labels
    identity = work.names.index("Identity")
    work = work._replace(ops=np.full_like(work.ops, identity))
    instances, label = torch_loop.Instances(work, labels)[4]
    assert label == labels[4]
    assert instances.shape == (8, 32, 32, 3)
    pads = ((4, 4), (4, 4), (0, 0))
    padded = np.pad(splits.train.images[4], pads).astype(int)
    for instance in instances:
        covered = (instance == FILL).all(-1).mean()
        assert 0.05 < covered < 0.27  # 16 x 16 of 32 x 32, or less at an edge
        agreements = [
            (cut == instance).all(-1).mean()
            for y in range(9)
            for x in range(9)
            for crop in [padded[y : y + 32, x : x + 32]]
            for cut in (crop, crop[:, ::-1])
        ]
        assert max(agreements) == pytest.approx(1 - covered, abs=0.01)


def test_pytorchs_rows_are_normalised_and_lie_channels_last(torch_loop):
    import torch

    work = our_loop.torch_work(our_loop.make_splits(3, ""))
    instances = np.random.default_rng(0).integers(0, 256, (3, 8, 5, 5, 3), np.uint8)
    moments = torch_loop._moments(work)
    batch = torch.from_numpy(instances), torch.tensor([7, 2, 5])
    images, labels = torch_loop._prepare(moments, batch)
    assert labels.tolist() == [7] * 8 + [2] * 8 + [5] * 8
    assert images.is_contiguous(memory_format=torch.channels_last)
    rows = instances.reshape(24, 5, 5, 3) / 255
    expected = (rows - np.array(work.mean)) / np.array(work.std)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.slow  # a minute of compilation
def test_an_epoch_is_measured_from_end_to_end(tmp_path, torch_loop):
    words = ("--quick", "--networks=wrn40x2", "--candidates=jit:1,pmap:2,torch")
    epoch.main([*words, f"--out={tmp_path}"])
    [page] = tmp_path.glob("epoch-*.md")
    text = page.read_text()
    assert "| ours, jit, 1 device(s), 1 steps ahead |" in text
    assert "failed" not in text
