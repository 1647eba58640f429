"""Several processes of one run, on one machine: they agree, save, stop, end together.

Two processes of four virtual devices stand for two hosts, one of eight for a machine.
"""

import re
import signal
import time

import numpy as np
import pytest

from aaa_jax.workdir import checkpoints, run_directory
from tests.support import pods
from tests.support.small_runs import copy_until

pytestmark = pytest.mark.usefixtures("light_compiler")

LONG = ("--config.epochs=1000", "--config.max_steps=0", "--config.checkpoint.keep=3")
QUICK = "--heartbeat_seconds=6"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Prepared data and compiled programs, for all runs of the module."""
    root = tmp_path_factory.mktemp("shared")
    return {"data_dir": root / "data", "cache": root / "cache"}


@pytest.fixture(scope="module")
def two_and_one(tmp_path_factory, shared):
    """The same ten steps in 2 processes of 4 devices, and in 1 of 8; what 2 said."""
    root = tmp_path_factory.mktemp("equal")
    said = {}
    for name, shape in {"two": (2, 4), "one": (1, 8)}.items():
        said[name] = run_to_the_end(root / name, *shape, **shared)
    return root / "two", root / "one", said["two"]


def run_to_the_end(workdir, num_processes, num_devices, *more, **shared):
    with pods.Pod(workdir, num_processes, num_devices, *more, **shared) as pod:
        codes, printed = pod.wait(400)
    assert codes == [0] * num_processes, "\n".join(printed)
    return printed


def go_on_and_stop(workdir, *command, **shared):
    """Goes on from the newest checkpoint, and stops both by a signal to the first."""
    found = steps(workdir)[-1]
    with pods.Pod(workdir, 2, 4, *command, **shared) as pod:
        pod.wait_for(workdir / "checkpoints" / str(found + 2))
        pod.processes[0].send_signal(signal.SIGTERM)
        codes, printed = pod.wait(90)
    assert codes == [128 + signal.SIGTERM] * 2, "\n".join(printed)
    assert f"going on from the checkpoint at step {found}" in printed[0]


def saved(workdir, step):
    return checkpoints.read(workdir / "checkpoints" / str(step))


def seen(workdir, step):
    """The fingerprints of the rows of the step before a checkpoint, int [64, 2]."""
    # The statistics are the mean over the devices.
    return 8 * saved(workdir, step)["train.batch_stats.seen"]


def assert_close(ours, theirs, *, controller, shares=8):
    """Leaves within 1e-4.

    Those of the controller are allowed twice the learning rate an update: Adam divides
    by the gradient's own size, so that rounding may turn the step of a tiny one.
    """
    assert ours.keys() == theirs.keys()
    for name, leaf in theirs.items():
        scale = 8 / shares if name.endswith(".seen") else 1
        step = 2 * 3.5e-4 * controller if name.startswith("source.") else 0
        np.testing.assert_allclose(
            ours[name] / scale, leaf, rtol=1e-4, atol=1e-4 + step, err_msg=name
        )


def steps(workdir):
    return run_directory.steps_in(workdir / "checkpoints")


def assert_told_that_a_peer_died(code, printed):
    """By a connection that broke, or by JAX or Gloo, which end the process."""
    assert code in (1, -signal.SIGABRT), printed
    told = "another (process|task)( of the run)? died|distributed collective mismatch"
    assert re.search(told, printed), printed


def test_two_processes_train_on_the_rows_of_one(two_and_one):
    """Data, draws and the first round's policies bit for bit: the rows are equal."""
    two, one, _ = two_and_one
    rows = seen(two, 2)
    np.testing.assert_array_equal(rows, seen(one, 2))
    assert len(np.unique(rows, axis=0)) == len(rows)  # 64 rows, none like another
    assert not np.array_equal(rows, seen(two, 4))


def test_two_processes_write_the_policies_of_one(two_and_one):
    two, one, _ = two_and_one
    lines = [run_directory.read_lines(workdir, "policies") for workdir in (two, one)]
    assert [line["step"] for line in lines[0]] == [3, 6, 9]
    assert lines[0][0]["policies"] == lines[1][0]["policies"]
    for ours, theirs in zip(*lines, strict=True):
        np.testing.assert_allclose(ours["losses"], theirs["losses"], atol=1e-4)


def test_two_processes_save_the_checkpoints_of_one(two_and_one):
    """All leaves; the rounding of sums in another order is all that differs."""
    two, one, _ = two_and_one
    assert steps(two) == steps(one) == [2, 4, 6, 8, 10]
    assert_close(saved(two, 2), saved(one, 2), controller=0)
    assert_close(saved(two, 10), saved(one, 10), controller=3)


def test_pmap_in_two_processes_gives_the_bytes_of_shard_map(
    two_and_one, tmp_path, shared
):
    short = ("--config.devices.mapping=pmap", "--config.max_steps=4")
    printed = run_to_the_end(tmp_path, 2, 4, *short, **shared)
    assert "8 x cpu (pmap, 2 processes)" in printed[0]
    ours, theirs = saved(tmp_path, 4), saved(two_and_one[0], 4)
    assert ours.keys() == theirs.keys()
    for name, leaf in theirs.items():
        np.testing.assert_array_equal(ours[name], leaf, err_msg=name)


def test_only_the_first_process_writes_and_speaks(two_and_one):
    two, one, printed = two_and_one
    lines = [run_directory.read_lines(workdir, "metrics") for workdir in (two, one)]
    assert [line["step"] for line in lines[0]] == [10]
    for name in ("train_loss", "test_loss"):
        assert abs(lines[0][0][name] - lines[1][0][name]) < 1e-4
    assert lines[0][0]["test_images"] == 599
    assert "8 x cpu (shard_map, 2 processes)" in printed[0]
    assert "finished: test error" in printed[0]
    assert "test error" not in printed[1]
    assert len(list((two / "tensorboard").iterdir())) == 1


def test_a_signal_to_one_stops_both_at_one_step_and_a_killed_peer_ends_the_other(
    tmp_path, shared
):
    with pods.Pod(tmp_path, 2, 4, *LONG, **shared) as pod:
        pod.wait_for(tmp_path / "checkpoints" / "2")
        pod.processes[1].send_signal(signal.SIGTERM)
        codes, printed = pod.wait(400)
    assert codes == [128 + signal.SIGTERM] * 2, "\n".join(printed)
    newest = steps(tmp_path)[-1]
    for text in printed:
        assert f"stopped by SIGTERM; saved at step {newest} of 10000" in text
    # The same command goes on, and the one that is left does not wait for ever.
    with pods.Pod(tmp_path, 2, 4, *LONG, QUICK, **shared) as pod:
        later = newest - newest % 2 + 4
        pod.wait_for(tmp_path / "checkpoints" / str(later))
        pod.processes[1].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        codes, printed = pod.wait(90)
    assert time.monotonic() - killed < 45
    assert_told_that_a_peer_died(codes[0], printed[0])
    assert f"going on from the checkpoint at step {newest}" in printed[0]
    # The same command, after the kill; what the killed one wrote last is gone.
    assert steps(tmp_path)[-1] >= later
    go_on_and_stop(tmp_path, *LONG, QUICK, **shared)


@pytest.mark.parametrize(
    ("processes", "devices"),
    [
        (1, 8),
        pytest.param(2, 4, marks=pytest.mark.slow),
        pytest.param(1, 1, marks=pytest.mark.slow),
    ],
)
def test_a_run_of_two_processes_goes_on_in_one_of_eight_and_one_of_one(
    processes, devices, tmp_path, shared, two_and_one
):
    """From the middle of an epoch and of a round, as if it had died after step 4."""
    two, one, _ = two_and_one
    copy_until(4, two, tmp_path)
    printed = run_to_the_end(tmp_path, processes, devices, **shared)
    assert "going on from the checkpoint at step 4" in printed[0]
    shares = processes * devices
    assert_close(saved(tmp_path, 10), saved(one, 10), controller=3, shares=shares)


def test_processes_that_were_started_otherwise_are_named(tmp_path, shared):
    other = ["--config.seed=7", "--config.optimizer.momentum=0.8"]
    other += [f"--workdir={tmp_path}"]
    with pods.Pod(tmp_path / "run", 2, 4, each={1: other}, **shared) as pod:
        codes, printed = pod.wait(400)
    assert codes == [2, 2], "\n".join(printed)
    for text in printed:
        assert "optimizer.momentum is 0.8 in process 1, 0.9 in 0; seed is 7 in" in text
        assert f'--workdir is "{tmp_path}" in process 1, ' in text
    assert not (tmp_path / "run").exists()


def test_a_process_that_waits_in_vain_says_for_whom(tmp_path, shared):
    with pods.Pod(
        tmp_path / "run", 2, 1, "--connect_seconds=1", only=1, **shared
    ) as pod:
        codes, printed = pod.wait(60)
    assert codes == [2]
    assert "process 1 of 2" in printed[0]
    assert "has waited 1 s for the others (coordinator 127.0.0.1:" in printed[0]


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(2, 4), (8, 1)])
def test_streamed_rows_are_those_of_one_process(processes, devices, tmp_path, shared):
    """Each process makes the rows of its own devices; one process for each of eight."""
    streamed = (
        "--config.data.loader=stream",
        "--config.data.image_size=32",
        "--config.evaluation.resize=32",
        "--config.data.num_threads=1",
        "--config.max_steps=4",
    )
    runs = {"many": (processes, devices), "one": (1, 8)}
    for name, shape in runs.items():
        run_to_the_end(tmp_path / name, *shape, *streamed, **shared)
    many, one = (tmp_path / name for name in runs)
    np.testing.assert_array_equal(seen(many, 2), seen(one, 2))
    assert_close(saved(many, 4), saved(one, 4), controller=1)
    ours, theirs = (run_directory.read_lines(d, "metrics")[-1] for d in (many, one))
    assert ours["test_images"] == theirs["test_images"] == 599
    assert abs(ours["test_loss"] - theirs["test_loss"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("number", "lost"), [(signal.SIGKILL, 0), (signal.SIGSTOP, 1)])
def test_a_killed_coordinator_and_a_peer_that_stands_still_end_the_other(
    number, lost, tmp_path, shared
):
    with pods.Pod(tmp_path, 2, 4, *LONG, QUICK, **shared) as pod:
        pod.wait_for(tmp_path / "checkpoints" / "4")
        pod.processes[lost].send_signal(number)
        stopped = time.monotonic()
        pod.processes[1 - lost].wait(60)
        assert time.monotonic() - stopped < 45
        pod.kill()
        codes, printed = pod.wait(10)
    assert_told_that_a_peer_died(codes[1 - lost], printed[1 - lost])


@pytest.mark.slow
def test_a_peer_that_hangs_while_its_heart_beats_ends_the_other(tmp_path, shared):
    """It is not dead: both end by their own watchdogs, and the same command goes on."""
    command = (*LONG, QUICK, "--config.model.name=tests.support.hanging:factory")
    command += ("--config.devices.hang_seconds=10",)
    # Each of its four devices calls the host in every step.
    hanging = {1: {"HANG_AT": "20"}}
    with pods.Pod(tmp_path, 2, 4, *command, variables=hanging, **shared) as pod:
        codes, printed = pod.wait(400)
    assert codes[1] == 1, printed[1]
    assert "hang: nothing has moved for 10 s, since" in printed[1]
    assert "tests/support/hanging.py" in printed[1]  # the stacks
    if "hang: nothing has moved" not in printed[0]:
        assert_told_that_a_peer_died(codes[0], printed[0])
    go_on_and_stop(tmp_path, *command, **shared)


@pytest.mark.slow
def test_a_failed_write_of_the_first_ends_the_other(tmp_path, shared):
    with pods.Pod(tmp_path, 2, 4, *LONG, **shared) as pod:
        pod.wait_for(tmp_path / "checkpoints" / "4")
        policies = tmp_path / "policies.jsonl"
        policies.rename(tmp_path / "gone")
        policies.mkdir()
        codes, printed = pod.wait(400)
    assert codes[0] == 1, printed[0]
    assert "policies.jsonl" in printed[0]
    assert_told_that_a_peer_died(codes[1], printed[1])
