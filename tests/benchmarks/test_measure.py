"""What all benchmarks share, and what an incomplete machine lacks."""

import importlib
import os
import subprocess
import sys

import pytest

from benchmarks import gpu_setup, measure

PLAN = "train_step.memory_plan"


def test_a_process_of_its_own_keeps_the_environment_and_the_import_path(
    tmp_path, monkeypatch
):
    (tmp_path / "found_there.py").write_text("def answer(question): return question")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "kept")
    there = importlib.import_module("found_there")
    assert measure.in_own_process(there.answer, {}, question=42) == 42
    for name, value in (("PYTHONPATH", "kept"), ("SET", "set")):
        assert measure.in_own_process(os.getenv, {"SET": "set"}, key=name) == value
    assert "SET" not in os.environ
    with pytest.raises(TypeError):
        measure.in_own_process(there.answer, {})


@pytest.mark.parametrize(
    ("module", "word", "message"),
    [
        ("augment", "--only=Gimp", "Gimp: use this engine (map)"),
        ("train_step", "--networks=vgg", "vgg: use wrn16x4, wrn40x2"),
        ("train_step", "--dtypes=float16", "float16: use bfloat16, float32"),
        ("train_step", "--rows=24", "a multiple of 16"),
        ("epoch", "--networks=r50", "r50: use wrn16x4"),
        ("epoch", "--candidates=jit", "such as jit:2"),
        ("epoch", "--candidates=vmap:2", "such as jit:2"),
        (PLAN, "imagenet_r51", "'imagenet_r51' is no preset: cifar100_"),
        (PLAN, "imagenet_r50:many", "PRESET:PASSES or PRESET:PASSES:remat"),
        (PLAN, "imagenet_r50:2:remats", "PRESET:PASSES or PRESET:PASSES:remat"),
        (PLAN, "imagenet_r200:128", "64 groups of rows do not divide into 128"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(module, word, message, capsys):
    is_folder = "." not in module
    name = f"benchmarks.{module}{'.__main__' * is_folder}"
    with pytest.raises(SystemExit):
        importlib.import_module(name).main([word])
    assert message in " ".join(capsys.readouterr().err.split())


# Imports all benchmarks that can do without the packages that are named.
WITHOUT = """
import importlib, pathlib, sys

class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing)
for path in sorted(pathlib.Path("benchmarks").glob("**/*.py")):
    if not path.name.startswith("torch_"):
        importlib.import_module(".".join(path.with_suffix("").parts))
"""


def test_no_benchmark_needs_an_optional_package_to_start():
    command = [sys.executable, "-c", WITHOUT, *gpu_setup.OPTIONAL]
    subprocess.run(command, cwd=measure.ROOT, check=True)
