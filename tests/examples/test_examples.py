"""The examples run and learn."""

import subprocess
import sys

import jax
import pytest

import aaa_jax
from aaa_jax.search import export
from examples import nnx_loop, own_loop
from tests.oracles.timm_here import INSTALL
from tests.support.small_runs import ROOT

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")


def check_it_learns(loop, num_epochs, num_steps, capsys):
    loop.main([f"--epochs={num_epochs}", f"--steps={num_steps}"])
    *epochs, last = capsys.readouterr().out.splitlines()
    for number, line in enumerate(epochs[-num_epochs:]):
        assert line.startswith(f"epoch {number}: ")
    error = float(last.removeprefix("test error ").removesuffix(" %"))
    wrong = error / 100 * 599  # test images
    assert abs(wrong - round(wrong)) < 0.005 * 599 / 100
    assert error < 60  # guessing: 90


@pytest.mark.parametrize("loop", [own_loop, nnx_loop])
def test_a_loop_learns_the_digits(loop, capsys):
    check_it_learns(loop, 2, 15, capsys)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_torch_loop_learns_the_digits(capsys):
    pytest.importorskip("torch", reason=f"PyTorch is not installed: {INSTALL}")
    from examples import torch_loop

    check_it_learns(torch_loop, 3, 30, capsys)


@pytest.mark.slow
def test_written_policies_serve_in_the_workers_of_a_data_loader(tmp_path):
    """In a process of its own: PyTorch's workers are forked."""
    pytest.importorskip("torch", reason=f"PyTorch is not installed: {INSTALL}")
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
