"""Joining, agreeing, leaving, as far as one process shows it; two: `test_pods.py`."""

import signal

import jax
import pytest

import launch
from aaa_jax.runtime import processes
from aaa_jax.train import resume

VARIABLES = (
    *("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    *("SLURM_STEP_NODELIST", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"),
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def joined(monkeypatch):
    """What JAX would have been asked to join."""
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **k: asked.append(k))
    return asked


def test_a_process_alone_joins_nothing(joined, monkeypatch):
    assert not processes.initialize()
    assert not processes.initialize("off", coordinator="node:1", num_processes=2)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node0")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert not processes.initialize()
    assert joined == []


def test_flags_and_variables_say_what_to_join(joined, monkeypatch):
    assert processes.initialize(
        coordinator="node0:81", num_processes=4, process_id=0, heartbeat_seconds=9
    )
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "node0:82")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    assert processes.initialize()
    assert processes.initialize(process_id=1)
    names = ("coordinator_address", "num_processes", "process_id")
    assert [tuple(told[name] for name in names) for told in joined] == [
        ("node0:81", 4, 0),
        ("node0:82", 3, 2),
        ("node0:82", 3, 1),
    ]
    assert joined[0]["heartbeat_timeout_seconds"] == 9


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_STEP_NODELIST": "node[0-3]", "SLURM_NTASKS": "4"},
        {"OMPI_COMM_WORLD_SIZE": "4"},
    ],
)
def test_what_jax_detects_is_left_to_jax(joined, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert processes.initialize()
    assert "coordinator_address" not in joined[0]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--distributed=perhaps", "'perhaps'; allowed: auto, on, off"),
        ("--coordinator=node0", "'node0'; it must be host:port"),
        ("--coordinator=node0:99999", "'node0:99999'; it must be host:port"),
    ],
)
def test_a_wrong_flag_ends_with_exit_code_2(flag, message, capsys, tmp_path):
    flags = {"--coordinator": "node0:80", "--num_processes": "2", "--process_id": "0"}
    name, value = flag.split("=")
    given = [f"{key}={entry}" for key, entry in (flags | {name: value}).items()]
    config = ["--config=configs/digits.py", f"--workdir={tmp_path / 'run'}"]
    assert launch.main(["launch.py", *config, *given]) == 2
    assert message in capsys.readouterr().err


def test_where_jax_finds_no_processes_a_message_says_what_to_give():
    with pytest.raises(processes.ProcessError, match="give --coordinator=host:port"):
        processes.initialize("on")


def test_a_directory_that_some_processes_do_not_see_is_refused(monkeypatch, tmp_path):
    resume.require_shared_directory(tmp_path, seconds=0)  # alone, whatever is there
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "anywhere", lambda flag: flag)
    with pytest.raises(processes.ProcessError, match="process 0 does not see it"):
        resume.require_shared_directory(tmp_path, seconds=0.2)
    (tmp_path / "config.json").write_text("{}")
    resume.require_shared_directory(tmp_path, seconds=0)
    monkeypatch.setattr(processes, "anywhere", lambda flag: True)
    with pytest.raises(processes.ProcessError, match="another does not"):
        resume.require_shared_directory(tmp_path, seconds=0)


def test_in_several_processes_jax_says_when_to_stop_and_is_told_of_ctrl_c(monkeypatch):
    asked, sent = [], []
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(
        processes.multihost_utils,
        "reached_preemption_sync_point",
        lambda number: asked.append(number) or number == 4,
    )
    monkeypatch.setattr("os.kill", lambda process, number: sent.append(number))
    signals = []
    stop = processes.Stop(signals)
    assert not stop.is_due()
    signals.append(signal.SIGINT)
    assert [stop.is_due() for _ in range(4)] == [False, False, True, True]
    assert stop.signal() == signal.SIGTERM
    assert (asked, sent) == ([1, 2, 3, 4, 5], [signal.SIGTERM])
