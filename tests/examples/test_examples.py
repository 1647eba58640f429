"""The examples run and learn."""

import pathlib
import subprocess
import sys

import jax
import pytest

import aaa_jax
from aaa_jax.search import export
from examples import nnx_loop, own_loop

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("light_compiler")


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


def test_the_own_loop_learns_the_digits(digits_folder, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_folder))
    own_loop.main(["--epochs=2", "--steps=15"])
    *epochs, last = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in epochs[-2:]] == [
        ["epoch", "0:"],
        ["epoch", "1:"],
    ]
    error = float(last.removeprefix("test error ").removesuffix(" %"))
    wrong = error / 100 * 599  # test images
    assert abs(wrong - round(wrong)) < 0.005 * 599 / 100
    assert error < 60  # guessing: 90


def test_the_nnx_loop_learns_the_digits(digits_folder, monkeypatch, capsys):
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_folder))
    nnx_loop.main(["--epochs=2", "--steps=15"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.removeprefix("test error ").removesuffix(" %")) < 60


def require_torch():
    install = "pip install -r requirements-oracles.txt"
    pytest.importorskip("torch", reason=f"PyTorch is not installed: {install}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_torch_loop_learns_the_digits(digits_folder, monkeypatch, capsys):
    require_torch()
    from examples import torch_loop

    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_folder))
    torch_loop.main(["--epochs=3", "--steps=30"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.removeprefix("test error ").removesuffix(" %")) < 60


@pytest.mark.slow
def test_written_policies_serve_in_the_workers_of_a_data_loader(tmp_path):
    """In a process of its own: PyTorch's workers are forked."""
    require_torch()
    policies = aaa_jax.random_source(2).sample(jax.random.key(0), (), 0.0)
    record = aaa_jax.to_json(policies, image_size=(32, 32))
    (tmp_path / "policy.py").write_text(export.to_pillow(record))
    command = [sys.executable, "-m", "examples.torch_policy", tmp_path / "policy.py"]
    done = subprocess.run(
        [*command, "--epochs=3"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    losses = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
