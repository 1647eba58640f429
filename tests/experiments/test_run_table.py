"""Tables: their cells, how far each is, running those that are not finished."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

import launch
from aaa_jax import data
from aaa_jax.augment import batch_layout
from aaa_jax.commands import list_table, train
from aaa_jax.experiments import build, run_table, sizes, table_cells
from aaa_jax.experiments.paper_tables import TABLES
from aaa_jax.train import loop
from aaa_jax.workdir import run_directory, run_facts
from configs import cifar10_wrn28x10, imagenet_r50, table
from tests.support.small_runs import ROOT

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")

# A cell for a few steps: digits, a tiny network, N = 8; M and source stay the cell's.
# All else is equal: cells of the same method are the same program, compiled once.
TINY = {
    "data.name": "digits",
    "data.num_train_images": 16,
    "model.name": "tests.support.tiny:factory",
    "model.options": "{}",
    "batch_size": 8,
    "batch_norm.group_size": 8,
    "policies.round_steps": 1,
    "max_steps": 2,
    "evaluation.batch_size": 600,
    "devices.num_devices": 1,
    "compilation_cache": False,
    "augment.padding": 4,
    "augment.cutout_size": 0,
    "model.dtype": "float32",
    "epochs": 1,
    "optimizer.schedule": "cosine",
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 0.0005,
    "optimizer.clip_norm": 5.0,
    "optimizer.warmup_epochs": 0.0,
}
OVERRIDES = [f"--config.cell.{key}={value}" for key, value in TINY.items()]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def _launch(*given):
    return launch.main(["launch.py", *given])


def _table(name, argument="*", **changes):
    config = table.get_config(name, argument)
    config.update_from_flattened_dict(changes)
    return config


def _cell_config(name, cell, seed=0, **changes):
    cell = table_cells.Cell(*cell.split("/"), seed)
    return table_cells.cell_config(_table(name, **changes), cell)


# Which cells there are.


@pytest.mark.parametrize("name", TABLES)
def test_every_table_lists_its_rows_and_the_commands_of_its_cells(
    name, capsys, tmp_path
):
    given = [f"--config=configs/{name}.py", f"--workdir={tmp_path}"]
    known = TABLES[name]
    seeds = {"table5": 1, "compare_digits": 10}.get(name, 5)
    pairs = [f"{row}/{column}" for row in known.rows for column in known.arguments]
    assert _launch(*given, "--list") == 0
    heading, names, *lines = capsys.readouterr().out.splitlines()
    assert heading == f"{known.title}; {seeds * len(pairs)} cells in {tmp_path}"
    assert names.split()[:2] == ["cell", "seeds"]
    assert [line.split()[0] for line in lines] == pairs
    assert all(f" 0 of {seeds} " in line for line in lines)
    assert all(line.endswith(f" {seeds} not run") for line in lines)
    assert _launch(*given, "--list=commands") == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [f"{pair}/seed{seed}" for seed in range(seeds) for pair in pairs]
    for cell, line in zip(expected, lines, strict=True):
        assert line.split()[:3] == [cell, "not", "run"]
        command = shlex.split(line[line.index("python launch.py") :])
        assert command[2:] == [
            f"--config=configs/{name}.py:{cell}",
            f"--workdir={tmp_path}",
        ]
    assert list(tmp_path.iterdir()) == []


def test_a_line_has_the_papers_number_and_a_command_the_overrides(capsys):
    assert _launch("--config=configs/table5.py", "--list") == 0
    [_, _, autoaugment, ours] = capsys.readouterr().out.splitlines()
    assert "  15000 + 160 device h  " in autoaugment
    assert "  0 + 1280 device h  " in ours
    given = ["--config=configs/table3.py:resnet50/ours", "--config.seeds=1"]
    assert _launch(*given, "--list") == 0
    assert "  20.60 ± 0.15 / 5.53 ± 0.05  " in capsys.readouterr().out
    given += ["--list=commands", "--config.cell.data.dir=/x y"]
    assert _launch(*given) == 0
    line = capsys.readouterr().out
    command = shlex.split(line[line.index("python") :])
    assert command[3] == "--workdir=runs/table3"
    assert command[4:] == ["--config.seeds=1", "--config.cell.data.dir=/x y"]


def test_a_list_that_nobody_reads_to_its_end_is_no_error():
    """As of `| head`: the reader is gone before the list is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "launch.py", "--config=configs/table1.py", "--list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("wrn28x10/ours/seed3", ["wrn28x10/ours/seed3"]),
        ("pyramidnet/pba", [f"pyramidnet/pba/seed{seed}" for seed in range(5)]),
        ("*/cutout/seed1", [f"{row}/cutout/seed1" for row in TABLES["table1"].rows]),
    ],
)
def test_parts_of_a_table_are_chosen_by_name_and_star(argument, expected):
    chosen = table_cells.select_cells(_table("table1", argument))
    assert [cell.name for cell in chosen] == expected
    assert table_cells.is_one_cell(_table("table1", argument)) == (len(expected) == 1)


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (
            "table1.py:wrn28x1",
            "",
            "no row 'wrn28x1'; there are wrn28x10, shake26_2x32d",
        ),
        ("table1.py:*/our", "", "no column 'our'; there are baseline, cutout"),
        ("table1.py:*/ours/seed5", "", "no seed 'seed5'; .* --config.seeds=6 has more"),
        ("table1.py:*/ours/5", "", "no seed '5'"),
        ("table1.py:*//seed0", "", "write ROW, ROW/COLUMN or ROW/COLUMN/seedS"),
        ("table1.py:a/b/c/d", "", "write ROW"),
        ("table1.py", "--config.seeds=0", "seeds is 0; it must be at least 1"),
        (
            "table1.py",
            "--config.scale=2",
            "scale is 2.0; it must be above 0 and at most",
        ),
        ("table1.py", "--config.cell.epoch=2", "you mean --config.cell.epochs"),
        ("table1.py", "--config.cell.seed=2", "no such key as in --config.cell.seed"),
        ("table1.py", "--config.cell.batch_size=-1", "batch_size is -1"),
        ("table1.py", "--config.cell.batch_norm.group_size=7", "does not divide"),
        ("table6.py", "--config.seeds=1", "give --config.transfer_from=RUN"),
        ("digits.py", "--list", "--list is for tables"),
    ],
)
def test_a_wrong_cell_or_value_gets_one_line_before_anything_runs(
    config, given, message, capsys, tmp_path
):
    workdir = tmp_path / "runs"
    words = [f"--config=configs/{config}", f"--workdir={workdir}", *given.split()]
    assert _launch(*words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("launch.py: ")
    assert printed.count("\n") == 1
    assert re.search(message, printed)
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("given", "argument", "overrides"),
    [("", "ours", []), (":random", "random", ["epochs", "policies.num_policies"])],
)
def test_a_run_is_told_where_its_config_is_from(given, argument, overrides):
    words = ["launch.py", f"--config=configs/digits.py{given}", "--workdir=a b"]
    words += [f"--config.{key}=2" for key in overrides]
    program = train.Program("launch.py", ("launch.py",))
    origin = train.parse(words[1:], program).origin
    assert origin.pop("command") == shlex.join(["python", *words])
    assert origin == {"preset": "digits", "argument": argument, "overrides": overrides}


# A cell's config.


def test_a_cell_is_its_preset_with_its_seed():
    expected = cifar10_wrn28x10.get_config("cutout")
    expected.seed = 3
    assert _cell_config("table1", "wrn28x10/cutout", 3) == expected


def test_overrides_reach_every_cell_and_passes_as_far_as_groups_divide():
    changes = {"cell.num_passes": 8, "cell.data.dir": "/d", "cell.epochs": 200}
    for column, passes in (("ours", 8), ("baseline", 1)):
        config = _cell_config("table1", f"pyramidnet/{column}", **changes)
        found = (config.epochs, config.data.dir, config.num_passes)
        assert found == (200, "/d", passes)
    # ImageNet: 8 blocks of 256 in 2048 images, under one policy.
    for column, passes in (("ours", 64), ("autoaugment", 8)):
        changes = {"cell.num_passes": 64}
        config = _cell_config("table3", f"resnet50/{column}", **changes)
        assert config.num_passes == passes


def test_figure_5_varies_m():
    rows = []
    for column in TABLES["figure5"].columns:
        config = _cell_config("figure5", f"wrn28x10/{column}")
        assert column == f"m{config.policies.num_policies}"
        rows.append(config.batch_size * config.policies.num_policies)
        build.check_config(config)
    assert rows == [256, 512, 1024, 2048, 4096]


def test_cells_of_table_5_are_those_of_table_3():
    for cell in table_cells.select_cells(_table("table5")):
        there = table_cells.cell_config(_table("table3"), cell)
        assert table_cells.cell_config(_table("table5"), cell) == there


@pytest.mark.parametrize("num_devices", [1, 6, 8])
@pytest.mark.parametrize("name", ["table1", "table3", "table4", "figure5"])
def test_every_cell_fits_the_devices_of_the_machine(name, num_devices):
    """One command runs all: nothing is refused, and no device idles that could work."""
    for cell in table_cells.select_cells(_table(name, seeds=1)):
        given = _table(name, **{"cell.num_passes": 8})
        config = table_cells.cell_config(given, cell)
        num_groups = sizes.layout(config).num_groups
        said = table_cells.fit_devices(config, num_devices)
        used, passes = config.devices.num_devices, config.num_passes
        build.check_config(config)
        batch_layout.check_shares(sizes.layout(config), used, passes)
        for more in range(used + 1, num_devices + 1):
            assert num_groups % more, f"{cell.name} could use {more}"
        assert (used < num_devices) == bool(said)
        if said:
            assert f"uses {used} of {num_devices} devices" in said
        automatic = table_cells.cell_config(_table(name), cell)
        table_cells.fit_devices(automatic, num_devices)
        assert automatic.num_passes == 0


# 9 are refused when devices are picked; several processes use all devices.
@pytest.mark.parametrize(("asked", "here"), [(4, (8, 1)), (9, (8, 1)), (0, (16, 2))])
def test_devices_that_were_asked_for_are_used_as_far_as_groups_divide(asked, here):
    config = _cell_config("table1", "wrn28x10/ours")
    config.devices.num_devices = asked
    assert table_cells.fit_devices(config, *here) == ""
    assert config.devices.num_devices == asked


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scale", [0.5, 0.1, 0.01, 0.001])
def test_scaled_cells_are_smaller_and_still_work(name, scale):
    for row in TABLES[name].rows:
        column = next(iter(TABLES[name].arguments))
        if TABLES[name].arguments[column] == "transfer":
            continue  # which needs a run
        full = _cell_config(name, f"{row}/{column}")
        small = _cell_config(name, f"{row}/{column}", scale=scale)
        build.check_config(small)
        assert small.scale == scale
        assert small.epochs == max(1, round(full.epochs * scale))
        for key in ("depth", "width", "widening"):
            if key in full.model.options:
                assert 1 <= small.model.options[key] <= full.model.options[key]


def test_the_size_of_a_scaled_network_goes_with_the_root():
    """At a hundredth: a tenth of width and depth, a hundredth of the epochs."""
    config = _cell_config("table1", "wrn28x10/ours", scale=0.01)
    assert config.model.options.to_dict() == {"depth": 10, "width": 1}
    assert config.epochs == 2
    assert config.optimizer.milestones == pytest.approx((0.6, 1.2, 1.6))
    config = _cell_config("table3", "resnet200/ours", scale=0.25)
    assert config.model.options.to_dict() == {"depth": 50, "width": 32}
    assert config.optimizer.warmup_epochs == pytest.approx(5 / 4)


# How far a cell is. A run is written here by hand.


def _write_run(path, *, step, total, with_line=True, **changes):
    """A run of the digits' `random`, and its config."""
    config = _cell_config("table4_digits", "digits/random", **changes)
    with run_directory.RunDirectory(path, config.to_dict()) as directory:
        if with_line:
            directory.write_metrics(step, {"epoch": 1, "test_error": 50.0})
    run_facts.save_facts(path, {"total_steps": total})
    (path / "checkpoints" / str(step)).mkdir(parents=True)
    (path / "checkpoints" / "99.orbax-checkpoint-tmp-1").mkdir(exist_ok=True)
    return config


def test_a_state_is_read_from_the_directory_alone(tmp_path):
    def text(name, config=None):
        return table_cells.read_state(tmp_path / name, config).text

    assert text("none") == "not run"
    config = _write_run(tmp_path / "a", step=7, total=20)
    assert text("a", config) == "stopped at step 7 of 20"
    _write_run(tmp_path / "b", step=20, total=20)
    assert text("b", config) == text("b") == "finished at step 20 of 20"
    # Stopped after the last step, before its test.
    _write_run(tmp_path / "c", step=20, total=20, with_line=False)
    assert text("c", config) == "stopped at step 20 of 20"
    (tmp_path / "a" / "run.json").unlink()
    assert text("a", config) == "stopped at step 7"
    (tmp_path / "a" / "run.json").write_text('{"total_steps": 0}')
    assert text("a", config).startswith("unreadable")
    assert "run.json has total_steps '0'" in text("a", config)


def test_another_config_is_told_but_not_another_place_of_the_data(tmp_path):
    config = _write_run(tmp_path, step=20, total=20)
    config.data.dir = "/elsewhere"
    assert table_cells.read_state(tmp_path, config).kind == "finished"
    config.epochs = 99
    state = table_cells.read_state(tmp_path, config)
    assert state.text == "another config (epochs is 34, not 99)"


def test_a_run_of_max_steps_is_not_finished_when_more_are_asked_for(tmp_path):
    config = _write_run(tmp_path, step=4, total=4, **{"cell.max_steps": 4})
    assert table_cells.read_state(tmp_path, config).kind == "finished"
    for more, kind in ((0, "stopped"), (9, "stopped"), (3, "finished")):
        config.max_steps = more
        assert table_cells.read_state(tmp_path, config).kind == kind


def test_a_run_that_is_written_is_running(tmp_path):
    config = _write_run(tmp_path, step=7, total=20)
    hold = (
        "import fcntl, sys; lock = open(sys.argv[1], 'r+');"
        "fcntl.lockf(lock, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, tmp_path / "lock"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout.readline() == b"held\n"
        state = table_cells.read_state(tmp_path, config)
    assert state.text == "running at step 7 of 20"
    assert table_cells.read_state(tmp_path, config).kind == "stopped"


# Running cells, with processes that write a run directory and train nothing.

STAND_IN = """
import json, os, pathlib, signal, sys, time
path, config, fate = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("cell", path.name, flush=True)
if fate == "fail":
    sys.exit(1)
path.mkdir(parents=True, exist_ok=True)
(path / "config.json").write_text(config)
(path / "lock").write_text("")
(path / "run.json").write_text('{"total_steps": 20, "device": "cpu"}')
if fate == "wait":
    got = []
    signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    (path / "checkpoints" / "5").mkdir(parents=True)
    while not got:
        time.sleep(0.01)
    (path / "asked").write_text(str(len(got)))
    sys.exit(143)
(path / "checkpoints" / "20").mkdir(parents=True)
(path / "metrics.jsonl").write_text('{"step": 20, "epoch": 1}\\n')
"""


def _run(config, workdir, fates=()):
    """The exit code of a table whose cells are stand-ins, and which were started."""
    started = []

    def command(cell):
        started.append(cell.name)
        text = json.dumps(table_cells.cell_config(config, cell).to_dict())
        fate = dict(fates).get(cell.name, "finish")
        return [sys.executable, "-c", STAND_IN, str(workdir / cell.name), text, fate]

    return run_table.run_cells(config, str(workdir), command), started


def _draws(workdir):
    return f"python -m aaa_jax report {workdir} draws the table"


def test_a_failing_cell_is_reported_and_the_others_still_run(tmp_path, capsys):
    config = _table("table4_digits", "*", seeds=1)
    failing = "digits/fixed/seed0"
    columns = ("baseline", "fixed", "random", "ours", "guarded")
    every = [f"digits/{column}/seed0" for column in columns]
    assert _run(config, tmp_path, {failing: "fail"}) == (1, every)
    printed = capsys.readouterr().out
    assert f"4 finished; failed: {failing} (exit code 1)" in printed
    # The same command runs what failed, and nothing else.
    assert _run(config, tmp_path) == (0, [failing])
    assert f"5 finished; {_draws(tmp_path)}\n" in capsys.readouterr().out


def test_a_signal_reaches_the_running_cell_and_stops_the_table(tmp_path, capsys):
    config = _table("table4_digits", "digits/random", seeds=3)
    cells = [f"digits/random/seed{seed}" for seed in range(3)]
    running = tmp_path / cells[1]

    def interrupt():
        while not (running / "checkpoints" / "5").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    handler = signal.getsignal(signal.SIGTERM)
    found = _run(config, tmp_path, {cells[1]: "wait"})
    thread.join()
    assert found == (128 + signal.SIGTERM, cells[:2])
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (running / "asked").read_text() == "1"
    printed = capsys.readouterr().out
    assert f"stopped by SIGTERM in {cells[1]}; the same command" in printed
    assert table_cells.read_state(running).text == "stopped at step 5 of 20"
    assert _run(config, tmp_path) == (0, cells[1:])
    assert f"[2/3] {cells[1]}: stopped at step 5 of 20" in capsys.readouterr().out


def test_a_cell_that_runs_elsewhere_is_passed_over(tmp_path, capsys, monkeypatch):
    config = _table("table4_digits", "digits/random", seeds=2)
    assert _run(config, tmp_path)[0] == 0
    first = tmp_path / "digits/random/seed0"
    (first / "checkpoints/20").rename(tmp_path / "gone")
    monkeypatch.setattr(
        table_cells, "_is_locked", lambda path: str(path) == str(first / "lock")
    )
    assert _run(config, tmp_path) == (0, [])
    printed = capsys.readouterr().out
    assert "1 finished; running elsewhere: digits/random/seed0" in printed


def test_a_workdir_of_another_table_is_refused_before_anything_runs(tmp_path):
    config = _table("table4_digits", "digits/random", seeds=1)
    assert _run(config, tmp_path)[0] == 0
    config.scale = 0.1
    message = "another config: epochs is 34, not 3"
    with pytest.raises(table_cells.TableError, match=message):
        _run(config, tmp_path)


def test_a_scaled_table_says_so_everywhere(tmp_path, capsys):
    config = _table("table4_digits", "digits/random", seeds=1, scale=0.1)
    assert _run(config, tmp_path)[0] == 0
    for line in capsys.readouterr().out.splitlines():
        assert "SCALED to 0.1" in line or line.startswith(("[1/1]", "cell"))
    listed = list_table.list_rows(config, str(tmp_path))
    assert "SCALED to 0.1" in listed[0]
    recorded = run_directory.read_config(tmp_path / "digits/random/seed0")
    assert recorded["scale"] == 0.1


# One cell of each table, for two steps.


@pytest.fixture(scope="module")
def source_run(tmp_path_factory):
    """A recording of one round, for table 6."""
    path = tmp_path_factory.mktemp("source")
    config = imagenet_r50.get_config().to_dict()
    with run_directory.RunDirectory(path, config) as directory:
        record = {"round": 0, "losses": [1.0], "version": 1, "ranges": "monotone"}
        record |= {"order": "standard_first", "fill": data.describe("digits").fill}
        record["policies"] = [[[["Rotate", 9, 1.0], ["Invert", 0, 1.0]]]]
        directory.write_policies(1, record)
    return path


@pytest.mark.parametrize("name", TABLES)
def test_a_cell_of_every_table_runs_for_a_few_steps(name, source_run, tmp_path, capsys):
    row, preset = next(iter(TABLES[name].presets.items()))
    column, argument = next(iter(TABLES[name].arguments.items()))
    cell = f"{row}/{column}/seed0"
    given = [f"--config=configs/{name}.py:{cell}", f"--workdir={tmp_path}"]
    more = [f"--config.transfer_from={source_run}"] if name == "table6" else []
    assert _launch(*given, *OVERRIDES, *more) == 0, capsys.readouterr().err
    run = tmp_path / cell
    assert run_directory.read_lines(run, "metrics")[-1]["step"] == 2
    assert table_cells.read_state(run).text == "finished at step 2 of 2"
    origin = run_facts.load_facts(run)["origin"]
    assert "batch_size" in origin["overrides"]
    expected = {"table": name, "row": row, "column": column}
    expected |= {"preset": preset, "argument": argument}
    assert {key: origin[key] for key in expected} == expected
    if name == "table6":
        [policy] = run_directory.read_lines(run, "policies")[0]["policies"]
        assert policy == [[["Rotate", 9, 1.0], ["Invert", 0, 1.0]]]


def test_a_cell_of_one_group_uses_one_of_several_devices(tmp_path, monkeypatch, capsys):
    """A baseline has M = 1 and one group; here are four devices."""
    seen = []
    monkeypatch.setattr(
        loop, "train_and_evaluate", lambda config, *_: seen.append(config)
    )
    given = [f"--workdir={tmp_path}", *OVERRIDES, "--config.cell.devices.num_devices=0"]
    for column, used in (("baseline", 1), ("ours", 4)):
        cell = f"--config=configs/table4_digits.py:digits/{column}/seed0"
        assert _launch(cell, *given) == 0
        assert seen[-1].devices.num_devices == used
        build.pick_devices(seen[-1])
    [line] = capsys.readouterr().out.splitlines()
    assert "digits/baseline/seed0 uses 1 of 4 devices" in line
    assert list(tmp_path.iterdir()) == []


# The whole command, with real processes.


def test_the_command_runs_a_cell_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "launch.py", f"--workdir={tmp_path}"]
    command += ["--config=configs/table4_digits.py:digits/baseline"]
    done = subprocess.run(
        [*command, "--config.seeds=1", *OVERRIDES],
        env=os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    printed = done.stdout
    assert done.returncode == 0, printed
    assert "[1/1] digits/baseline/seed0: not run" in printed
    assert "test error" in printed
    assert printed.endswith(f"1 finished; {_draws(tmp_path)}\n")
    run = tmp_path / "digits/baseline/seed0"
    assert table_cells.read_state(run).text == "finished at step 2 of 2"
