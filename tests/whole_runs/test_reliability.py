"""What docs/reliability.md promises, shown on whole runs and real processes."""

import contextlib
import errno
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest

import launch
from aaa_jax import data
from aaa_jax.runtime import progress
from aaa_jax.train import errors, loop
from aaa_jax.workdir import atomic_files, checkpoints, run_directory, run_facts
from aaa_jax.workdir.snapshots import snapshot_steps
from tests.support import small_runs
from tests.support.damage import files_at_most
from tests.support.small_runs import (
    ROOT,
    assert_equal_runs,
    copy_until,
    finish,
    newest,
    start,
    wait_until_saved,
)

pytestmark = pytest.mark.usefixtures("digits_here", "light_compiler")

TINY = small_runs.TINY | {"checkpoint.every_steps": 1, "evaluation.batch_size": 100}
LINES = ("metrics.jsonl", "policies.jsonl")
QUICKLY_COMPILED = (
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)


def _config(**changes):
    return small_runs.small_config(**(TINY | changes))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The directory of a run that nothing happened to, with all its checkpoints."""
    workdir = tmp_path_factory.mktemp("alone")
    loop.train_and_evaluate(_config(**{"checkpoint.keep": 30}), workdir)
    return workdir


def _at_step(monkeypatch, step, act) -> None:
    """Does something in the loop of this process, once, after a step."""
    shown = progress.Progress.update
    todo = [act]

    def update(self, done, **values):
        if done == step and todo:
            todo.pop()()
        shown(self, done, **values)

    monkeypatch.setattr(progress.Progress, "update", update)


def test_two_equal_runs_write_equal_bytes(alone, tmp_path):
    loop.train_and_evaluate(_config(), tmp_path)
    assert_equal_runs(alone, tmp_path)


@pytest.mark.slow
def test_two_equal_deterministic_commands_write_equal_bytes(tmp_path):
    for name in ("one", "other"):
        printed, code = finish(_start(tmp_path / name, "--deterministic"))
        assert code == 0, printed
        assert "equals one never stopped bit for bit" in printed
    assert_equal_runs(tmp_path / "one", tmp_path / "other")


def test_all_that_is_saved_of_a_bfloat16_network_is_float32(tmp_path):
    config = _config(max_steps=3, **{"model.dtype": "bfloat16"})
    loop.train_and_evaluate(config, tmp_path)
    leaves = checkpoints.read(tmp_path / "checkpoints" / "3")
    dtypes = {name: leaf.dtype.name for name, leaf in leaves.items()}
    assert set(dtypes.values()) <= {"float32", "int32"}
    for part in ("params", "batch_stats", "opt_state", "epoch_loss", "source"):
        of_part = [dtype for name, dtype in dtypes.items() if part in name.split(".")]
        assert "float32" in of_part, (part, sorted(dtypes))


def test_a_signal_during_an_evaluation_ends_it_and_the_same_command_makes_it_again(
    alone, tmp_path, monkeypatch
):
    make = loop.make_feed
    evaluations = []

    def make_feed(*args):
        feed = make(*args)

        def test(state):
            evaluations.append(0)
            for batch in feed.test(state):
                evaluations[-1] += 1
                if len(evaluations) in (1, 3) and evaluations[-1] == 3:
                    signal.raise_signal(signal.SIGTERM)
                yield batch

        return feed._replace(test=test)

    monkeypatch.setattr(loop, "make_feed", make_feed)
    for stopped_at in (10, 20):
        with pytest.raises(loop.RunInterrupted, match=f"saved at step {stopped_at} "):
            loop.train_and_evaluate(_config(), tmp_path)
        steps = [line["step"] for line in run_directory.read_lines(tmp_path, "metrics")]
        assert steps == list(range(5, stopped_at, 5))
    loop.train_and_evaluate(_config(), tmp_path)
    assert evaluations == [3, 6, 3, 6]  # 599 images in batches of 100
    assert_equal_runs(alone, tmp_path)


def test_ctrl_c_saves_and_max_steps_within_an_epoch_leaves_nothing(
    alone, tmp_path, monkeypatch, capsys
):
    """A run stopped by each in turn, and then told to go on, is the one left alone."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [])
    with monkeypatch.context() as patch:
        _at_step(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        command = small_runs.command(tmp_path, TINY, "--config.max_steps=7")
        assert launch.main(command[1:]) == 128 + signal.SIGINT
    assert capsys.readouterr().err.endswith(
        "launch.py: stopped by SIGINT; saved at step 3 of 7. The same command goes on "
        "from there.\n"
    )
    assert newest(tmp_path) == 3
    line = loop.train_and_evaluate(_config(max_steps=7), tmp_path)
    assert (line["step"], line["epoch"], "test_error" in line) == (7, 2, True)
    loop.train_and_evaluate(_config(), tmp_path)
    assert_equal_runs(alone, tmp_path)
    assert snapshot_steps(alone) == snapshot_steps(tmp_path)


SLOW = """
import time
def factory(**_):
    print("waiting", flush=True)
    time.sleep(600)
get_config = factory
"""


@pytest.mark.parametrize(
    ("number", "given"),
    [
        (signal.SIGINT, ["--config=SLOW"]),
        (signal.SIGTERM, ["--config=configs/digits.py", "--config.model.name=SLOW"]),
    ],
)
def test_a_signal_before_the_loop_ends_the_command_in_one_line(number, given, tmp_path):
    """While the config is read; while the network is made, with all else imported."""
    path = tmp_path / "slow_one.py"
    path.write_text(SLOW)
    given = [text.replace("config=SLOW", f"config={path}") for text in given]
    given = [text.replace("SLOW", "slow_one:factory") for text in given]
    with subprocess.Popen(
        [sys.executable, "launch.py", *given, f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env=os.environ | _environment() | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(number)
            _, printed = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    name = signal.Signals(number).name
    assert printed.endswith(f"launch.py: ended by {name}; nothing was lost\n")
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def _no_room(faults, workdir):
    full = OSError(errno.ENOSPC, "No space left on device")
    faults.enter_context(mock.patch.object(atomic_files, "flush", side_effect=full))


def _read_only(faults, workdir):
    before = open

    def refuse(path, mode="r", *args, **kwargs):
        if set(mode) & set("wa") and isinstance(path, str | os.PathLike):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return before(path, mode, *args, **kwargs)

    faults.enter_context(mock.patch("builtins.open", refuse))


def _small_files(faults, workdir):
    """Only what is larger than any line fails: the checkpoints."""
    faults.enter_context(files_at_most(32 * 1024))


def _no_directory(faults, workdir):
    shutil.rmtree(workdir, ignore_errors=True)


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (_no_room, "No space left"),
        pytest.param(_small_files, "File too large", marks=pytest.mark.slow),
        pytest.param(_no_directory, "is gone|No such file", marks=pytest.mark.slow),
        pytest.param(_read_only, "Read-only file system", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fails_in_mid_run_costs_nothing_that_was_saved(
    fail, message, alone, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"

    def fail_now():
        while not (workdir / "checkpoints" / "7").exists():
            time.sleep(0.01)  # its save is over, so that each run fails alike
        fail(faults, workdir)

    with monkeypatch.context() as patch, contextlib.ExitStack() as faults:
        _at_step(patch, 8, fail_now)
        with pytest.raises(loop.RunFailed, match=message) as caught:
            loop.train_and_evaluate(_config(), workdir)
    assert str(workdir) in str(caught.value)
    if fail is not _no_directory:
        assert newest(workdir) in (7, 8)
    loop.train_and_evaluate(_config(), workdir)
    assert_equal_runs(alone, workdir)


@pytest.mark.parametrize(
    "error",
    [
        checkpoints.CheckpointError("cannot save"),
        run_directory.RunDirectoryError("cannot write"),
        data.BadRecord("record 7 cannot be decoded"),
        OSError(errno.EIO, "Input/output error", "a/file"),
    ],
)
def test_what_fails_outside_the_run_is_a_named_failure_of_it(error):
    with pytest.raises(loop.RunFailed) as caught, errors.failing_in_mid_run():
        raise error
    assert str(error) in str(caught.value)


def test_a_failure_in_mid_run_is_exit_code_1_and_one_at_the_start_2(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [])
    command = small_runs.command(tmp_path, TINY)[1:]
    with monkeypatch.context() as patch, contextlib.ExitStack() as faults:
        _at_step(patch, 3, lambda: _no_room(faults, tmp_path))
        assert launch.main(command) == 1
    error = capsys.readouterr().err
    assert error.count("launch.py: ") == 1
    assert "No space left on device" in error
    for step in (tmp_path / "checkpoints").iterdir():
        shutil.rmtree(step)
        step.mkdir()
    with pytest.warns(UserWarning, match="damaged"):
        assert launch.main(command) == 2
    assert "no sound checkpoint is left" in capsys.readouterr().err


FULL_DISK = """
set -e
mount -t tmpfs -o size={size} none {disk}
{command} && exit 3
test $? = 1 || exit 4
ls {disk}/run/checkpoints
mount -o remount,ro {disk}
{command} && exit 5
test $? = 2 || exit 6
mount -o remount,rw,size=100m {disk}
{command} || exit 7
cp -r {disk}/run {result}
{undisturbed} || exit 8
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full_and_then_read_only(alone, tmp_path):
    """The test with injected faults, above, runs where nobody may mount."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here, in which to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    saved = alone / "checkpoints" / "20"
    size = sum(path.stat().st_size for path in saved.rglob("*"))
    script = FULL_DISK.format(
        disk=disk,
        size=round(2.6 * size) + 100_000,
        result=tmp_path / "result",
        command=shlex.join(small_runs.command(disk / "run", TINY)),
        undisturbed=shlex.join(small_runs.command(tmp_path / "undisturbed", TINY)),
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=ROOT,
        env=os.environ | _environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert_equal_runs(tmp_path / "undisturbed", tmp_path / "result")


def test_lost_lines_lost_checkpoints_and_other_data_are_noticed(
    alone, tmp_path, capsys
):
    workdir = copy_until(7, alone, tmp_path / "run")
    before = (workdir / "policies.jsonl").read_bytes()
    (workdir / "policies.jsonl").write_bytes(b"")
    message = (
        r"policies\.jsonl has lines of 0 of the 2 rounds .* the checkpoint of step 7"
    )
    with pytest.raises(run_directory.RunDirectoryError, match=message):
        loop.train_and_evaluate(_config(), workdir)
    (workdir / "policies.jsonl").write_bytes(before)
    facts = run_facts.load_facts(workdir)
    assert all(
        f"the images of the {s} split" in facts["data"] for s in ("train", "test")
    )
    others = facts["data"] | {"the images of the test split": 5}
    run_facts.save_facts(workdir, facts | {"data": others})
    message = r"other data .*the images of the test split \(5 then, [0-9]+ now\) differ"
    with pytest.raises(run_directory.RunDirectoryError, match=message):
        loop.train_and_evaluate(_config(), workdir)
    # Without any checkpoint it begins anew, on whatever data.
    shutil.rmtree(workdir / "checkpoints")
    lines = [(workdir / name).read_bytes() for name in LINES]
    loop.train_and_evaluate(_config(), workdir)
    assert_equal_runs(alone, workdir)
    assert lines == [(workdir / f"{name}.before-1").read_bytes() for name in LINES]
    assert (workdir / "controller.before-1" / "20.npz").exists()
    assert "no checkpoint (4 of metrics.jsonl, 4 of timing.jsonl, 6 of policies" in (
        capsys.readouterr().out
    )
    assert run_facts.load_facts(workdir) == facts


def test_on_other_devices_a_run_goes_on_with_the_same_data_and_policies(
    alone, tmp_path
):
    """From the middle of a round; docs/reliability.md states the bound."""
    workdir = copy_until(13, alone, tmp_path / "run")
    loop.train_and_evaluate(_config(**{"devices.num_devices": 4}), workdir)
    for name in ("metrics", "policies"):
        theirs, ours = (run_directory.read_lines(d, name) for d in (alone, workdir))
        assert [line["step"] for line in theirs] == [line["step"] for line in ours]
        before = [line for line in theirs if line["step"] <= 13]
        assert ours[: len(before)] == before
        one, other = theirs[len(before)], ours[len(before)]  # of step 15
        key = "train_loss" if name == "metrics" else "losses"
        np.testing.assert_allclose(one[key], other[key], rtol=1e-5)
        assert one.get("policies") == other.get("policies")


def _environment(num_devices=1, **more):
    flags = f"--xla_force_host_platform_device_count={num_devices}{QUICKLY_COMPILED}"
    return {
        "XLA_FLAGS": flags,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **more,
    }


def _start(workdir, *more, num_devices=1, **environment):
    environment = _environment(num_devices, **environment)
    return start(workdir, TINY, *more, environment=environment)


@pytest.mark.slow
def test_a_run_that_hangs_is_ended_and_one_told_twice_to_stop_leaves(tmp_path):
    hanging = ("--config.model.name=tests.support.hanging:factory",)
    after = "--config.devices.hang_seconds=10"
    printed, code = finish(_start(tmp_path, *hanging, after, HANG_AT="4"))
    assert code == 1, printed
    assert "hang: nothing has moved for 10 s, since" in printed
    assert "tests/support/hanging.py" in printed  # the stacks
    saved = newest(tmp_path)
    assert saved >= 2
    never = "--config.devices.hang_seconds=0"
    process = _start(tmp_path, *hanging, never, HANG_AT="4")
    wait_until_saved(process, tmp_path, saved + 3)
    process.send_signal(signal.SIGINT)  # while it waits in C++ for the device
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    printed, code = finish(process, seconds=60)
    assert code == 128 + signal.SIGINT, printed
    assert "a second signal ends the process" in printed


KILLS = 20
EPOCHS = 80
SELDOM = ("--config.checkpoint.every_steps=50",)  # changes no number
STREAM = ("--config.data.loader=stream", "--config.data.image_size=32")


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["resident", "stream"])
@pytest.mark.parametrize("num_devices", [1, 4])
def test_killed_at_random_moments_equals_never_killed(num_devices, loader, tmp_path):
    """SIGKILL, twenty times: while it starts, compiles, steps, writes and saves."""
    more = (f"--config.epochs={EPOCHS}", "--config.evaluation.every_epochs=40")
    more += (f"--config.devices.num_devices={num_devices}",)
    more += STREAM if loader == "stream" else ()
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    process = _start(alone, *more, *SELDOM, num_devices=num_devices)
    printed, code = finish(process, 1800)
    assert code == 0, printed
    draw = random.Random(num_devices)
    for number in range(KILLS):
        process = _start(killed, *more, num_devices=num_devices)
        if number % 5 == 4:  # while it starts: imports, restores, compiles
            time.sleep(draw.uniform(0, 4))
        else:
            wait_until_saved(process, killed, newest(killed) + draw.randrange(1, 5))
            time.sleep(draw.uniform(0, 0.1))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.communicate()
    assert newest(killed) >= KILLS // 2
    process = _start(killed, *more, *SELDOM, num_devices=num_devices)
    printed, code = finish(process, 1800)
    assert code == 0, printed
    assert "going on from the checkpoint" in printed
    assert_equal_runs(alone, killed)
    steps = [line["step"] for line in run_directory.read_lines(killed, "metrics")]
    assert steps == list(range(5, 5 * EPOCHS + 1, 5))
    rounds = [line["step"] for line in run_directory.read_lines(killed, "policies")]
    assert rounds == list(range(3, 5 * EPOCHS + 1, 3))


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`([\w/]+)::(test_\w+)`", page))
    assert len(named) > 20
    for module, function in named:
        source = (ROOT / "tests" / f"{module}.py").read_text()
        assert f"\ndef {function}(" in source, f"{module}::{function}"
