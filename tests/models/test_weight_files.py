"""Arrays come back from a file as they were, and nothing in it is run."""

import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file

from aaa_jax.models import weight_files

LEAVES = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "c": np.float16([1.5])}


def test_a_safetensors_file_is_what_others_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(weight_files.to_bytes(LEAVES, {"who": "me"}))
    found, metadata = weight_files.read(path)
    assert metadata == {"who": "me"}
    for leaves in (found, load_file(path)):
        assert leaves.keys() == LEAVES.keys()
        for name, leaf in LEAVES.items():
            np.testing.assert_array_equal(leaves[name], leaf)
            assert leaves[name].dtype == leaf.dtype


def test_npz_is_read_too(tmp_path):
    np.savez(tmp_path / "x.npz", **LEAVES)
    found, metadata = weight_files.read(tmp_path / "x.npz")
    assert metadata == {}
    np.testing.assert_array_equal(found["a.b"], LEAVES["a.b"])


class Harmful:
    def __reduce__(self):
        return (open, ("harm", "w"))


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", a=np.array([Harmful()], dtype=object))
    with open("x.pt", "wb") as file:
        pickle.dump(Harmful(), file)
    with pytest.raises(weight_files.WeightFileError, match=r"x\.npz .*allow_pickle"):
        weight_files.read("x.npz")
    with pytest.raises(
        weight_files.WeightFileError, match=r"x\.pt is no \.safetensors"
    ):
        weight_files.read("x.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.npz"])
@pytest.mark.parametrize("content", [None, b"", b"no weights at all"])
def test_what_cannot_be_read_is_named_in_one_line(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(weight_files.WeightFileError, match=f"{name} cannot") as caught:
        weight_files.read(tmp_path / name)
    assert "\n" not in str(caught.value)
