"""Snapshots of a controller: what is written comes back, later ones can be dropped."""

import os

import numpy as np
import pytest

from aaa_jax.workdir import run_facts, snapshots

ARRAYS = {
    "params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "entropy_weight": np.float32(0.25),
}


def test_a_snapshot_comes_back_as_it_was_and_any_numpy_reads_it(tmp_path):
    path = snapshots.save_snapshot(tmp_path, 7, ARRAYS)
    with np.load(path, allow_pickle=False) as content:
        assert sorted(content.files) == ["entropy_weight", "params/kernel"]
    loaded = snapshots.load_snapshot(tmp_path, 7)
    np.testing.assert_array_equal(loaded["params"]["kernel"], [[0, 1, 2], [3, 4, 5]])
    assert loaded["params"]["kernel"].dtype == np.float32
    assert loaded["entropy_weight"] == 0.25


def test_steps_are_in_order_and_later_ones_are_dropped(tmp_path):
    assert snapshots.snapshot_steps(tmp_path) == []
    for step in (100, 0, 20):
        snapshots.save_snapshot(tmp_path, step, ARRAYS)
    (tmp_path / "controller" / "30.npz.new").write_bytes(b"cut off")
    assert snapshots.snapshot_steps(tmp_path) == [0, 20, 100]
    snapshots.truncate_after(tmp_path, 20)
    assert snapshots.snapshot_steps(tmp_path) == [0, 20]
    snapshots.truncate_after(tmp_path, None)  # of a run that begins anew
    assert snapshots.snapshot_steps(tmp_path) == []
    kept = sorted(path.name for path in (tmp_path / "controller.before-1").iterdir())
    assert kept == ["0.npz", "20.npz", "30.npz.new"]
    snapshots.save_snapshot(tmp_path, 0, ARRAYS)
    snapshots.truncate_after(tmp_path, None)  # nothing is lost with what comes first
    assert snapshots.snapshot_steps(tmp_path) == []
    assert not (tmp_path / "controller.before-2").exists()


def test_what_returned_is_on_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_size))
    path = snapshots.save_snapshot(tmp_path, 7, ARRAYS)
    run_facts.save_facts(tmp_path, {"total_steps": 20})
    sizes = [os.stat(p).st_size for p in (path, tmp_path / "run.json")]
    assert synced == sizes


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_or_missing_snapshot_is_named(damage, tmp_path):
    if damage is not None:
        path = snapshots.save_snapshot(tmp_path, 5, ARRAYS)
        path.write_bytes(damage)
    with pytest.raises(snapshots.SnapshotError, match=r"5\.npz cannot be read"):
        snapshots.load_snapshot(tmp_path, 5)
