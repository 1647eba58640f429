"""The scripts for a GPU machine: their commands parse, and their parts stop and resume.

What they start is tested elsewhere or here at tiny size; the logic of the scripts runs
with a stand-in for Python, so that a whole table takes a second.
"""

import importlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import time

import pytest

from aaa_jax.experiments import build, table_cells
from benchmarks import gpu_setup, measure
from configs import table

FOLDER = measure.ROOT / "benchmarks"
SPEED, TABLE = (FOLDER / f"gpu_{name}.sh" for name in ("speed", "table4"))


def _run(script, *words, **environment):
    return subprocess.run(
        [script, *words],
        env=os.environ | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


def _listed(*words):
    """Part -> the words of its command after `python -m`."""
    lines = _run(SPEED, *words, "--list").stdout.splitlines()
    commands = {}
    for line in lines:
        part, _, _, python, dash_m, *command = shlex.split(line)
        assert (python, dash_m) == (sys.executable, "-m")
        commands[part] = command
    return commands


# gpu_speed.sh


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
    assert "--made_up=400" in commands["input"]
    for module, *flags in commands.values():
        assert "--out=benchmarks/results" in flags
        is_folder = (measure.ROOT / module.replace(".", "/")).is_dir()
        entry = importlib.import_module(module + ".__main__" * is_folder)
        if module == "benchmarks.gpu_setup":
            assert entry.main(flags) == 0
            continue
        assert ("--quick" in flags) == bool(words)
        with pytest.raises(Begun):
            entry.main(flags)
    flags = {flag for command in commands.values() for flag in command}
    for network in ("wrn28x10", "shake26_2x96d", "pyramidnet", "r50"):
        assert f"--networks={network}" in flags
    assert "--candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2" in flags


def test_without_a_part_of_that_name_or_a_gpu_nothing_is_measured(tmp_path):
    done = _run(SPEED, "parities")
    assert done.returncode == 2
    assert "no part 'parities'; parts: setup parity " in done.stderr
    done = _run(SPEED, "parity", OUT=str(tmp_path), JAX_PLATFORMS="cpu")
    assert done.returncode == 2
    assert "no GPU" in done.stderr
    assert "pip install -e '.[cuda13]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


FAKE_PART = """#!/bin/sh
case "$*" in
  *gpu_setup*) exec sleep 60 ;;
  *benchmarks.epoch*) exit 3 ;;
esac
echo "ran $*"
"""


def write_program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def first_in_path(program):
    """The environment in which this program is found before others of its name."""
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_end_says_what_ran_what_was_stopped_and_what_was_skipped(tmp_path):
    python = str(write_program(tmp_path / "python", FAKE_PART))
    done = _run(SPEED, "--tiny", "setup", "epoch", PYTHON=python, BUDGET="3")
    assert done.returncode == 1
    *_, stopped, skipped = done.stdout.splitlines()
    assert stopped.startswith("setup: stopped after its 3 s")
    assert skipped.startswith("epoch: skipped (needs about 120 s, ")
    assert skipped.endswith("run: benchmarks/gpu_speed.sh epoch")
    # A part that fails does not keep the next from running.
    done = _run(SPEED, "--tiny", "epoch", "memory", PYTHON=python)
    assert done.returncode == 1
    *_, failed, ok = done.stdout.splitlines()
    assert failed.startswith("epoch: failed with exit code 3")
    assert ok.startswith("memory: ok")


def test_the_setup_names_what_is_missing_and_what_that_costs(monkeypatch, capsys):
    missing = {"kornia", "torch"}
    monkeypatch.setattr(
        gpu_setup.util, "find_spec", lambda name: None if name in missing else name
    )
    assert gpu_setup.main([]) == 0
    printed = capsys.readouterr().out
    assert "\ntorch missing: PyTorch's rows are left out\n" in printed
    assert "\nscipy is here\n" in printed
    missing |= {"flax", "jax"}
    assert gpu_setup.main([]) == 2
    assert "missing packages: jax, flax;" in capsys.readouterr().err


@pytest.mark.slow
def test_parts_run_at_tiny_size(tmp_path):
    parts = ("setup", "memory", "profile", "input", "dispatch")
    done = _run(SPEED, "--tiny", *parts, OUT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name.split("-")[0] for path in tmp_path.glob("*.md")}
    assert made == {"augment_memory", "profile", "input", "dispatch"}


# gpu_table4.sh

CELLS = table_cells.select_cells(table.get_config("table4_cifar10", "*"))


def test_m_epochs_and_images_are_as_the_table_says():
    steps, seen = {}, {}
    for cell in CELLS[:8]:
        config = table_cells.cell_config(table.get_config("table4_cifar10", "*"), cell)
        build.check_config(config)
        num_policies = config.policies.num_policies
        steps[cell.column] = 390 * config.epochs
        seen[cell.column] = steps[cell.column] * config.batch_size * num_policies
        assert num_policies == (1 if cell.column in ("baseline", "cutout") else 8)
        assert config.optimizer.learning_rate == 0.1
        assert config.optimizer.schedule == "cosine"
        assert config.seed == 0
    assert len(set(seen.values())) == 1
    assert steps["ours"] == 11_700
    ours = table_cells.cell_config(
        table.get_config("table4_cifar10", "*"), table_cells.Cell("wrn40x2", "ours", 0)
    )
    assert steps["ours"] // ours.policies.round_steps == 201


# Lists cells, runs them (at once, or until a signal), tests them under corruption.
FAKE_TABLE = """#!/bin/sh
case "$*" in
  *--list*)
    for column in baseline cutout fixed autoaugment trivialaugment random ours guarded
    do for seed in 0 1 2 3 4; do
      cell=wrn40x2/$column/seed$seed
      state=$(cat $RUNS/$cell/state 2>/dev/null || echo 'not run')
      echo "$cell  paper -  $state  python launch.py --config=$cell"
    done; done ;;
  *launch.py*)
    cell=${2##*:}
    mkdir -p $RUNS/$cell/checkpoints
    head -c 100 /dev/urandom > $RUNS/$cell/checkpoints/1
    echo $cell >> $RUNS/begun
    if [ $(wc -l < $RUNS/begun) = "$HANGS_AT" ]; then
      trap 'echo TERM >> $RUNS/signals' TERM
      sleep 60 > /dev/null 2>&1 &
      wait
      sleep 1  # while a second signal would come
      kill $!
      echo "stopped at step 3 of 9" > $RUNS/$cell/state
      exit 143
    fi
    [ "$cell" = "$FAILS" ] && exit 1
    echo "finished at step 9 of 9" > $RUNS/$cell/state ;;
  *corruptions*)
    shift 4
    echo "$# runs after $(wc -l < $RUNS/begun) cells" >> $RUNS/tests
    [ -n "$TESTS" ] && exit $TESTS
    for run; do echo {} > $run/corruption.json; done ;;
esac
"""


@pytest.fixture
def table_run(tmp_path):
    """Runs the script with a stand-in for Python in a folder of its own."""
    runs = tmp_path / "runs"
    python = write_program(tmp_path / "python", FAKE_TABLE)

    def run(*words, **more):
        return _run(TABLE, *words, **{"PYTHON": str(python), "RUNS": str(runs)} | more)

    return run, runs


def test_the_cells_come_in_the_order_of_what_they_tell(table_run):
    run, runs = table_run
    done = run()
    assert done.returncode == 0, done.stderr
    begun = (runs / "begun").read_text().split()
    assert sorted(begun) == sorted(cell.name for cell in CELLS)
    pairs = [f"wrn40x2/{c}/seed{s}" for s in range(5) for c in ("random", "ours")]
    assert begun[:10] == pairs
    assert begun[10] == "wrn40x2/guarded/seed0"
    assert begun[-1] == "wrn40x2/autoaugment/seed4"
    assert "40 of 40 cells are finished" in done.stdout
    assert len(list(runs.rglob("corruption.json"))) == 40
    assert run().returncode == 0
    assert (runs / "begun").read_text().split() == begun  # nothing is run again


def test_a_part_ends_in_its_time_and_the_next_goes_on_with_the_same_cell(table_run):
    run, runs = table_run
    assert run(BUDGET="150").returncode == 0
    assert not (runs / "begun").exists()  # without the time to compile
    started = time.monotonic()
    done = run(HANGS_AT="1", BUDGET="6", NEEDED="1", SAVING="3")
    assert time.monotonic() - started < 30
    assert done.returncode == 0
    assert "0 of 40 cells are finished" in done.stdout
    state = runs / "wrn40x2/random/seed0/state"
    assert state.read_text() == "stopped at step 3 of 9\n"
    assert (runs / "signals").read_text() == "TERM\n"  # a second one would end it
    run()
    assert state.read_text() == "finished at step 9 of 9\n"


def test_a_signal_is_passed_on_and_the_same_command_resumes(table_run):
    run, runs = table_run
    environment = {"PYTHON": str(runs.parent / "python"), "RUNS": str(runs)}
    process = subprocess.Popen(
        [TABLE],
        env=os.environ | environment | {"HANGS_AT": "2"},
        stdout=subprocess.PIPE,
        text=True,
    )
    begun = runs / "begun"
    deadline = time.monotonic() + 60
    while not begun.exists() or len(begun.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # until the stand-in has set its trap
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert "1 of 40 cells are finished" in printed
    state = runs / "wrn40x2/ours/seed0/state"
    assert state.read_text() == "stopped at step 3 of 9\n"
    assert (runs / "signals").read_text() == "TERM\n"
    run()
    assert state.read_text() == "finished at step 9 of 9\n"
    assert begun.read_text().split()[2] == "wrn40x2/ours/seed0"


def test_a_cell_that_fails_is_told_and_the_others_run(table_run):
    run, runs = table_run
    done = run(FAILS="wrn40x2/random/seed1")
    assert done.returncode == 1
    assert "wrn40x2/random/seed1: exit code 1" in done.stdout
    assert "39 of 40 cells are finished" in done.stdout
    # Tests under corruption that end before their time do not fail a part.
    for path in runs.rglob("corruption.json"):
        path.unlink()
    done = run(TESTS="9")
    assert done.returncode == 0
    assert "corruptions: not done (exit code 9); the next call" in done.stdout


def _write_cell(run, *, step, mark, checkpoint=True):
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(f'{{"epoch": 1, "step": {step}}}\n')
    (run / "mark").write_text(mark)
    (run / "controller").mkdir()
    (run / "controller/9.npz").touch()
    if checkpoint:
        (run / "checkpoints" / str(step)).mkdir(parents=True)


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packed_runs_go_on_elsewhere_without_checkpoints_nobody_needs(table_run):
    run, runs = table_run
    for seed in (0, 1):
        _write_cell(runs / f"wrn40x2/ours/seed{seed}", step=9, mark="")
    (runs / "wrn40x2/ours/seed1/corruption.json").touch()  # tested
    pack, there = runs.parent / "packed", runs.parent / "there"
    assert run("pack", str(pack)).returncode == 0
    assert [path.name for path in pack.iterdir()] == ["table4.tar.gz.aa"]
    assert run("unpack", str(pack), RUNS=str(there)).returncode == 0
    again = {
        str(path.relative_to(there / "wrn40x2/ours")) for path in there.rglob("*/*/*")
    }
    assert {"seed0/checkpoints/9", "seed0/controller/9.npz"} < again
    assert {path for path in again if path.startswith("seed1")} == {
        *("seed1", "seed1/mark", "seed1/metrics.jsonl", "seed1/corruption.json"),
    }


def test_what_is_there_stays_until_a_whole_archive_replaces_it(table_run):
    run, runs = table_run
    _write_cell(runs / "wrn40x2/ours/seed0", step=9, mark="old")
    pack = runs.parent / "packed"
    assert run("pack", str(pack)).returncode == 0
    before = _contents(runs.parent)
    done = run("pack", str(pack), RUNS=str(runs.parent / "nowhere"))
    assert done.returncode == 2
    assert f"there are no runs in {runs.parent / 'nowhere'}" in done.stderr
    assert _contents(runs.parent) == before
    # As of a full disk: half an archive, and an exit code that only pipefail sees.
    broken = "#!/bin/sh\nhead -c 20 /dev/zero\nexit 2\n"
    tar = write_program(runs.parent / "programs" / "tar", broken)
    done = run("pack", str(pack), **first_in_path(tar))
    tar.unlink()
    assert done.returncode == 1
    assert "is as it was" in done.stderr
    assert _contents(runs.parent) == before
    (runs / "wrn40x2/ours/seed0/mark").write_text("new")
    assert run("pack", str(pack)).returncode == 0
    assert (
        _contents(pack)[pack / "table4.tar.gz.aa"] != before[pack / "table4.tar.gz.aa"]
    )
    # An archive that is cut short changes nothing either.
    (pack / "table4.tar.gz.aa").write_bytes(b"cut short")
    before = _contents(runs)
    done = run("unpack", str(pack))
    assert done.returncode == 1
    assert "has no whole archive" in done.stderr
    assert _contents(runs) == before


def test_unpacking_takes_of_each_run_the_one_that_is_further(table_run):
    run, runs = table_run
    there, pack = runs.parent / "there", str(runs.parent / "packed")
    cells_of = {  # seed -> what is packed, what is here
        0: ({"step": 9}, {"step": 20}),
        1: ({"step": 30}, {"step": 20}),
        2: ({"step": 40, "checkpoint": False}, {"step": 20}),  # finished and tested
        3: ({"step": 20}, {"step": 20}),
        4: ({"step": 9}, None),
    }
    for seed, (packed, here) in cells_of.items():
        _write_cell(runs / f"wrn40x2/ours/seed{seed}", mark="packed", **packed)
        if here is not None:
            _write_cell(there / f"wrn40x2/ours/seed{seed}", mark="here", **here)
    (runs / "wrn40x2/ours/seed3/corruption.json").write_text("{}")
    assert run("pack", pack).returncode == 0
    done = run("unpack", pack, RUNS=str(there))
    assert done.returncode == 0, done.stderr
    folder = there / "wrn40x2/ours"
    marks = {seed: (folder / f"seed{seed}/mark").read_text() for seed in cells_of}
    assert marks == {0: "here", 1: "packed", 2: "packed", 3: "here", 4: "packed"}
    assert os.listdir(folder / "seed1/checkpoints") == ["30"]
    assert (folder / "seed3/corruption.json").exists()  # the same run, tested there
    assert "wrn40x2/ours/seed0: kept as it is here, at step 20" in done.stdout
    assert "wrn40x2/ours/seed2: step 40 of" in done.stdout
    assert [path.name for path in there.iterdir()] == ["wrn40x2"]


def test_finished_runs_are_tested_before_the_next_cell_begins(table_run, tmp_path):
    """For half of what is left, and at the end for the rest."""
    run, runs = table_run
    noting = f'#!/bin/sh\necho $1 >> {tmp_path}/limits\nshift\nexec "$@"\n'
    path = first_in_path(write_program(tmp_path / "programs" / "timeout", noting))
    fails = {"FAILS": "wrn40x2/ours/seed0"}
    run(CORRUPTED="0", **fails, **path)
    assert not (runs / "tests").exists()
    assert run(**fails, **path).returncode == 1
    assert (runs / "tests").read_text() == "39 runs after 40 cells\n"
    assert (runs / "begun").read_text().split()[40:] == ["wrn40x2/ours/seed0"]
    assert len(list(runs.rglob("corruption.json"))) == 39
    done = run(BUDGET="149", NEEDED="1", SAVING="3", **path)
    assert "1 runs after 42 cells" in (runs / "tests").read_text()
    assert "40 of 40 cells are finished" in done.stdout
    limits = [int(line) for line in (tmp_path / "limits").read_text().split()]
    assert limits == [pytest.approx(265, abs=8), pytest.approx(149, abs=16)]


@pytest.mark.parametrize(
    ("waiting", "said"),
    [("5", "40 runs after 38"), ("2", "2 runs after 0 cells\n38 runs after 38")],
)
def test_few_finished_runs_wait_for_more_or_for_the_end(table_run, waiting, said):
    run, runs = table_run
    for seed in range(2):
        cell = runs / f"wrn40x2/random/seed{seed}"
        _write_cell(cell, step=9, mark="")
        (cell / "state").write_text("finished at step 9 of 9\n")
    (runs / "begun").touch()
    assert run(WAITING=waiting).returncode == 0
    assert (runs / "tests").read_text() == f"{said} cells\n"


@pytest.mark.slow  # four processes start, one corrupts images
def test_a_cell_of_each_kind_runs_at_tiny_size(tmp_path):
    done = _run(
        TABLE,
        "--tiny",
        TINY_RUNS=str(tmp_path / "table4_cifar10"),
        TFDS_DATA_DIR=str(tmp_path),
        JAX_PLATFORMS="cpu",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 40 cells are finished" in done.stdout
    assert len(list(tmp_path.rglob("corruption.json"))) == 2
