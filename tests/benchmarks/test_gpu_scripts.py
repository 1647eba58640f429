"""The script for a GPU machine: its commands parse, its parts stop, the table goes on.

What it starts is tested elsewhere or here at tiny size; the logic of the script runs
with a stand-in for Python, in a second or two.
"""

import importlib
import os
import shlex
import stat
import subprocess
import sys

import pytest

from aaa_jax.experiments import build, sizes, table_cells
from benchmarks import gpu_setup, measure
from configs import table

SCRIPT = measure.ROOT / "benchmarks" / "gpu_quarter.sh"


def _run(*words, **environment):
    return subprocess.run(
        [SCRIPT, *words],
        env=os.environ | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


def _listed(*words):
    """Part -> the words of its command after `python -m`; none of `table`."""
    commands = {}
    for line in _run("--list", *words).stdout.splitlines():
        part, *limits = shlex.split(line)
        assert limits[0:1] + limits[2:5] == ["about", "s,", "at", "most"]
        command = limits[7:]
        if part != "table":
            assert command[:2] == [sys.executable, "-m"]
        commands[part] = command[2:]
    return commands


@pytest.mark.parametrize("words", [(), ("--tiny",)])
def test_every_part_names_a_module_that_takes_its_flags(words, monkeypatch):
    """Each is called as listed, and stopped where it would begin to work."""

    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    monkeypatch.setattr(measure, "started", begin)
    commands = _listed(*words)
    assert {"parity", "memory", "augment", "epoch", "input"} < commands.keys()
    assert commands.pop("table") == []
    assert "--made-up=400" in commands["input"]
    for module, *flags in commands.values():
        assert "--out=runs/gpu_quarter/results" in flags
        is_folder = (measure.ROOT / module.replace(".", "/")).is_dir()
        entry = importlib.import_module(module + ".__main__" * is_folder)
        assert ("--quick" in flags) == bool(words)
        with pytest.raises(Begun):
            entry.main(flags)
    flags = {flag for command in commands.values() for flag in command}
    for network in ("wrn28x10", "shake26_2x96d", "pyramidnet", "r50"):
        assert f"--networks={network}" in flags
    assert "--candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2" in flags


def test_without_a_part_of_that_name_or_a_gpu_nothing_is_measured(tmp_path):
    done = _run("parities")
    assert done.returncode == 2
    assert "no part 'parities'\nparts: first (parity " in done.stderr
    work = tmp_path / "work"
    done = _run("parity", WORK=str(work), JAX_PLATFORMS="cpu")
    assert done.returncode == 2
    assert "no GPU" in done.stderr
    assert "pip install -e '.[cuda13]'" in done.stderr
    assert not work.exists()
    done = _run("unpack", str(tmp_path))
    assert done.returncode == 2
    assert "unpack FOLDER, in which results.tar.gz is" in done.stderr


# A column of the table runs until a signal; parity hangs, epoch fails.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *augment.parity*) exec sleep 60 ;;
  *benchmarks.epoch*) exit 3 ;;
  *launch.py*)
    column=${2##*/} runs=${3#--workdir=}/wrn16x4/${2##*/}/seed0
    mkdir -p $runs/checkpoints $WORK/compiled
    echo '{"epoch": 3, "train_loss": 1.25}' > $runs/metrics.jsonl
    echo "$*" > $runs/command
    touch $runs/checkpoints/9 $WORK/compiled/program
    [ "$column" = bad ] && exit 1
    trap 'echo TERM >> $runs/signals; exit 143' TERM
    sleep 60 > /dev/null 2>&1 &
    wait ;;
esac
echo "ran $*"
"""


@pytest.fixture
def fake(tmp_path):
    """Runs the script with a stand-in for Python; its folder is `work`."""
    path = tmp_path / "python"
    path.write_text(FAKE_PYTHON)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    work = {"PYTHON": str(path), "WORK": str(tmp_path / "work")}
    return lambda *words, **more: _run(*words, **work | more)


def test_the_end_says_what_ran_what_was_stopped_and_what_was_skipped(fake, tmp_path):
    done = fake("parity", "epoch", BUDGET="3", NEEDED="1")
    assert done.returncode == 1
    *_, stopped, skipped = done.stdout.splitlines()
    assert stopped.startswith("parity: stopped after its ")
    assert skipped.startswith("epoch: skipped (needs about 1 s, ")
    assert skipped.endswith("run: benchmarks/gpu_quarter.sh epoch")
    # A part that fails does not keep the next from running.
    done = fake("epoch", "memory")
    assert done.returncode == 1
    *_, failed, ok = done.stdout.splitlines()
    assert failed.startswith("epoch: failed with exit code 3")
    assert ok.startswith("memory: ok")
    parts = (tmp_path / "work/results").glob("parts-*.txt")
    assert f"{failed}\n{ok}\n" in [path.read_text() for path in parts]


def test_the_columns_run_side_by_side_until_their_time_is_over(fake, tmp_path):
    """Each is told once, saves itself, and what it wrote is shown and packed."""
    pack, there = tmp_path / "pack", tmp_path / "there"
    limits = {"BUDGET": "10", "NEEDED": "4", "PACK": str(pack)}
    done = fake(
        "table", "memory", ARMS="random new", EXTRA="--config.cell.a=1", **limits
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "table: ok, " in done.stdout  # and left the seconds that memory needs
    assert "memory: ok, " in done.stdout
    for column in ("random", "new"):
        run = tmp_path / f"work/table4_cifar10/wrn16x4/{column}/seed0"
        assert (run / "signals").read_text() == "TERM\n"
        line = f"wrn16x4/{column}/seed0:  epoch : 3  train_loss : 1.25"
        assert line in (tmp_path / "work/results/table.txt").read_text()
        command = (run / "command").read_text()
        assert "--config.seeds=20 " in command
        assert command.endswith(" --config.cell.a=1\n")
    assert fake("unpack", str(pack), WORK=str(there)).returncode == 0
    found = {str(path.relative_to(there)) for path in there.rglob("*")}
    runs = "table4_cifar10/wrn16x4/new/seed0"
    expected = {f"{runs}/metrics.jsonl", "results/table.txt", "compiled/program"}
    assert expected <= found
    assert f"{runs}/checkpoints/9" not in found
    # A column that fails does not stop the other, and fails the part.
    done = fake("table", ARMS="bad random", BUDGET="3", NEEDED="1")
    assert done.returncode == 1
    assert "table: failed with exit code 1 after " in done.stdout


def test_the_setup_names_what_is_missing_and_what_that_costs(monkeypatch, capsys):
    missing = {"orbax", "torch"}
    monkeypatch.setattr(
        gpu_setup.util, "find_spec", lambda name: None if name in missing else name
    )
    assert gpu_setup.main([]) == 0
    printed = capsys.readouterr().out
    assert "\ntorch missing: PyTorch's rows are left out\n" in printed
    assert "\norbax missing: no run can be trained: the parts table, " in printed
    assert "ml_collections, PIL, tqdm, safetensors, scipy, " in printed
    missing.add("jax")
    assert gpu_setup.main([]) == 2
    assert "jax is missing: nothing can be measured;" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("call", ["first", "second"])
def test_a_call_runs_at_tiny_size(call, tmp_path):
    folder = {"WORK": str(tmp_path), "TFDS_DATA_DIR": str(tmp_path)}
    done = _run("--tiny", call, JAX_PLATFORMS="cpu", **folder)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name.split("-")[0] for path in (tmp_path / "results").glob("*.md")}
    pages = {"first": {"parity", "train_step_wrn28x10"}}
    assert made == pages.get(call, {"augment", "train_step_r50"})
    assert len(list(tmp_path.rglob("seed0/metrics.jsonl"))) == 2


def test_m_epochs_and_images_are_as_the_table_says():
    config = table.get_config("table4_cifar10", "*/*/seed0")
    cells = {
        cell.column: table_cells.cell_config(config, cell)
        for cell in table_cells.select_cells(config)
    }
    assert len(cells) == 10
    seen = set()
    for column, cell in cells.items():
        build.check_config(cell)
        num_policies = cell.policies.num_policies
        assert num_policies == (1 if column in ("baseline", "cutout") else 8)
        assert cell.data.num_train_images == 5000
        assert cell.optimizer.schedule == "cosine"
        seen.add(cell.epochs * cell.batch_size * num_policies)
    assert len(seen) == 1
    steps = 5000 // 128 * cells["ours"].epochs
    assert steps == 3900
    assert steps // sizes.round_steps(cells["ours"], 5000 // 128) == 205
