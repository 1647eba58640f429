"""The run directory: equal bytes after a kill, one run at a time, clear refusals."""

import contextlib
import inspect
import json
import os
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from aaa_jax.runtime import processes
from aaa_jax.workdir.run_directory import (
    RunDirectory,
    RunDirectoryError,
    config_differences,
    read_config,
    read_lines,
    resolve,
    steps_in,
)
from tests.support.damage import files_at_most
from tests.support.events import read_events

CONFIG = {"seed": 0, "train": {"lr": 0.1, "epochs": 200}, "betas": (0.9, 0.999)}


def test_lines_hold_the_step_and_plain_numbers(tmp_path):
    with RunDirectory(tmp_path / "runs" / "one", CONFIG) as run:
        run.write_metrics(
            jnp.int32(10),
            {
                "loss": jnp.float32(0.1),
                "error": np.float64(0.1),
                "losses": jnp.asarray([1.5, 2.5], jnp.bfloat16),
                "counts": np.arange(2),
                "nested": {"good": np.True_, "name": "a", "none": None},
            },
        )
        run.write_metrics(11, {"loss": float("nan"), "x": [np.inf, -0.0]})
        run.write_timing(11, {"seconds": 2})
        run.write_policies(11, {"policies": [[["Invert", 3]]]})
    text = (tmp_path / "runs" / "one" / "metrics.jsonl").read_text()
    assert text == (
        '{"step": 10, "loss": ' + repr(float(np.float32(0.1))) + ', "error": 0.1,'
        ' "losses": [1.5, 2.5], "counts": [0, 1],'
        ' "nested": {"good": true, "name": "a", "none": null}}\n'
        '{"step": 11, "loss": null, "x": [null, -0.0]}\n'
    )
    one = tmp_path / "runs" / "one"
    assert read_lines(one, "timing") == [{"step": 11, "seconds": 2}]
    assert read_lines(one, "policies")[0]["policies"] == [[["Invert", 3]]]
    assert read_lines(tmp_path, "metrics") == []
    assert read_config(one) == json.loads(json.dumps(CONFIG))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("run[1]", r"below '\[' could not be read back"),
        ("run*/a", r"below '\*' could"),
        ("what?", r"below '\?' could"),
        ("a\\b", r"below '\\\\' could"),
        ("gs:/bucket/run", r"below 'gs:/' could"),
        ("~nobody_is_called_so/run", "no such home directory"),
        ("r\udcfcn", "utf-8 cannot spell it; PYTHONUTF8=1 in the"),
        ("gs://bucket/run", "bucket cannot be reached .ImportError: .*install gcsfs"),
        ("file:///run", r"bucket cannot be reached .KeyError: 'file://'"),
    ],
)
def test_a_path_that_could_not_be_read_back_is_refused(
    name, why, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunDirectoryError, match=why):
        RunDirectory(name, CONFIG)
    assert os.listdir(tmp_path) == []


def test_the_folder_that_one_is_in_counts_and_a_home_is_spelled_out(
    tmp_path, monkeypatch
):
    (tmp_path / "[old]").mkdir()
    monkeypatch.chdir(tmp_path / "[old]")
    with pytest.raises(RunDirectoryError, match=r"/\[old\]/run' cannot be a run dir"):
        resolve("run")
    monkeypatch.setenv("HOME", "/h")
    assert os.fspath(resolve("~/dé f{1}~#%")) == "/h/dé f{1}~#%"


def test_what_is_not_a_plain_value_is_refused(tmp_path):
    run = RunDirectory(tmp_path, CONFIG)
    with run, pytest.raises(TypeError, match="object"):
        run.write_metrics(1, {"a": object()})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_in_a_process_other_than_the_first_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    with RunDirectory(tmp_path / "run", CONFIG) as run:
        methods = inspect.getmembers(run, inspect.ismethod)
        public = {name: method for name, method in methods if name[0] != "_"}
        assert {"write_metrics", "truncate_after", "close"} <= public.keys()
        for name, method in public.items():
            method(*{"write": [3, {"loss": 1.0}], "close": []}.get(name[:5], [3]))
    assert list(tmp_path.iterdir()) == []


def test_the_same_config_is_accepted_and_another_refused_with_both_values(tmp_path):
    RunDirectory(tmp_path, CONFIG).close()
    before = (tmp_path / "config.json").read_bytes()
    RunDirectory(tmp_path, {**CONFIG, "betas": [0.9, 0.999]}).close()
    assert (tmp_path / "config.json").read_bytes() == before
    changed = {"seed": 0, "train": {"lr": 0.2, "momentum": 0.9}, "betas": (0.9, 0.999)}
    with pytest.raises(RunDirectoryError) as caught:
        RunDirectory(tmp_path, changed)
    assert str(caught.value) == (
        f"{tmp_path} holds a run with another configuration:\n"
        "  train.epochs: 200 in the run directory, (absent) now\n"
        "  train.lr: 0.1 in the run directory, 0.2 now\n"
        "  train.momentum: (absent) in the run directory, 0.9 now\n"
        "Choose another --workdir, or give the old values to resume that run."
    )
    RunDirectory(tmp_path, CONFIG).close()  # the refused one holds no lock


def test_a_key_that_came_later_has_the_value_that_stands_for_its_absence(tmp_path):
    RunDirectory(tmp_path, {"controller": {"kl_cap": 0.0}}).close()
    before = (tmp_path / "config.json").read_bytes()
    later = {"kl_cap": 0.0, "reward": "loss", "credit": "policy", "steps_per_round": 1}
    RunDirectory(tmp_path, {"controller": later}).close()
    assert (tmp_path / "config.json").read_bytes() == before
    assert read_config(tmp_path) == {"controller": later}
    with pytest.raises(RunDirectoryError, match="credit: policy in the run directory"):
        RunDirectory(tmp_path, {"controller": later | {"credit": "sub_policy"}})


@pytest.mark.parametrize(("source", "scale"), [("randaugment", 30), ("random", 10)])
def test_an_earlier_run_has_the_scale_of_randaugment_that_it_read(
    tmp_path, source, scale
):
    # Where nobody reads it, a report averages earlier and later seeds.
    RunDirectory(tmp_path, {"policies": {"source": source}}).close()
    assert read_config(tmp_path)["policies"]["randaugment_scale"] == scale


def test_keys_that_may_change_are_recorded_anew(tmp_path):
    RunDirectory(tmp_path, {"seed": 1, "place": {"dir": "/a"}}).close()
    moved = {"seed": 1, "place": {"dir": "/b"}}
    RunDirectory(tmp_path, moved, may_change=("place.dir",)).close()
    assert read_config(tmp_path) == moved
    with pytest.raises(RunDirectoryError, match=r"configuration:\n  place\.dir: /b in"):
        RunDirectory(
            tmp_path, {"seed": 2, "place": {"dir": "/c"}}, may_change=("seed",)
        )


def test_differences_see_through_nesting():
    assert config_differences({"a": {}}, {"a": {}}) == {}
    assert config_differences({"a": {}}, {"a": {"b": 1}}) == {
        "a": ({}, "(absent)"),
        "a.b": ("(absent)", 1),
    }
    assert config_differences({"a": (1, 2)}, {"a": [1, 3]}) == {"a": ([1, 2], [1, 3])}


@pytest.mark.parametrize("content", ["", '{"seed": 0', "not json", "[0]", "[" * 10**5])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"config\.json is not a JSON object"):
        RunDirectory(tmp_path, CONFIG)


def _train(run: RunDirectory, start: int, stop: int) -> None:
    """Rounds of 5 steps: lines for each, timing that is never twice the same."""
    for step in range(start + 5, stop + 1, 5):
        run.write_metrics(
            step, {"loss": np.float32(np.sin(step)), "step_squared": step**2}
        )
        run.write_timing(step, {"seconds": float(np.random.default_rng().random())})
        run.write_policies(step, {"policies": [step, "Invert"]})


@pytest.mark.parametrize(
    ("saved", "torn"),
    [
        (None, b"{"),
        (0, b""),
        (5, b'{"step": 25, "loss": 0.12'),
        (12, b""),
        (20, b"{"),
        (20, b'{"step": 25}'),
    ],
)
def test_killed_and_resumed_gives_the_bytes_of_one_never_stopped(tmp_path, saved, torn):
    with RunDirectory(tmp_path / "whole", CONFIG) as run:
        _train(run, 0, 40)
    killed = tmp_path / "killed"
    with RunDirectory(killed, CONFIG) as run:
        _train(run, 0, 20)
    for name in ("metrics", "timing", "policies"):
        with (killed / f"{name}.jsonl").open("ab") as file:
            file.write(torn)
    with RunDirectory(killed, CONFIG) as run:
        dropped = run.truncate_after(saved)
        lost = 4 - (saved or 0) // 5
        names = ("metrics", "timing", "policies") if lost else ()
        assert dropped == dict.fromkeys(names, lost)
        _train(run, (saved or 0) // 5 * 5, 40)
        shown = read_events(killed)  # on disk at once
    for name in ("metrics.jsonl", "policies.jsonl", "config.json"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [line["step"] for line in read_lines(killed, "timing")] == [*range(5, 41, 5)]
    whole = read_events(tmp_path / "whole")
    assert shown["controller/loss"] == whole["controller/loss"]
    assert [step for step, _ in shown["speed/seconds"]] == [*range(5, 41, 5)]


def test_steps_are_the_names_that_are_whole_numbers(tmp_path):
    assert steps_in(tmp_path / "missing") == steps_in(tmp_path) == []
    for name in ("10", "9", "0", "007", "٣", "-1", "9.damaged-1", "8.npz", "8.npz.new"):
        (tmp_path / name).mkdir()
    assert steps_in(tmp_path) == [0, 9, 10]
    assert steps_in(tmp_path, ".npz") == [8]


@pytest.mark.parametrize(
    "line",
    ["{]", '{"loss": 3}', '{"step": "3"}', "[]", "", '{"step": 2}\r{"step": 2}', "\r"],
)
def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path, line):
    RunDirectory(tmp_path, CONFIG).close()
    path, sound = tmp_path / "timing.jsonl", tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    sound.write_text('{"step": 2}\n')
    with RunDirectory(tmp_path, CONFIG) as run:
        before = path.read_bytes(), sound.read_bytes()
        for step in (None, 1):
            with pytest.raises(RunDirectoryError, match=r"line 2 of .*timing\.jsonl"):
                run.truncate_after(step)
            assert (path.read_bytes(), sound.read_bytes()) == before


def test_lines_without_a_checkpoint_are_kept_aside(tmp_path):
    for number in (1, 2):
        with RunDirectory(tmp_path, CONFIG) as run:
            _train(run, 0, 5 * number)
            lost = dict.fromkeys(("metrics", "timing", "policies"), number)
            assert run.truncate_after(None) == lost
            assert run.truncate_after(None) == {}
        for name in ("metrics", "timing", "policies"):
            assert not (tmp_path / f"{name}.jsonl").exists()
            kept = (tmp_path / f"{name}.jsonl.before-{number}").read_text()
            assert kept.count("\n") == number


@pytest.mark.parametrize("left", ["metrics.jsonl", "policies.jsonl", "checkpoints/7"])
def test_what_a_run_left_is_not_taken_over_without_its_config(tmp_path, left):
    RunDirectory(tmp_path / "new", CONFIG).close()
    (tmp_path / "new" / "config.json").unlink()
    RunDirectory(tmp_path / "new", CONFIG).close()  # nothing had happened
    path = tmp_path / "old" / left
    path.parent.mkdir(parents=True)
    path.write_text('{"step": 1}\n')
    with pytest.raises(RunDirectoryError, match=r"has .* its config\.json is missing"):
        RunDirectory(tmp_path / "old", CONFIG)
    assert not (tmp_path / "old" / "config.json").exists()


HOLDER = """
import sys, time
from aaa_jax.workdir.run_directory import RunDirectory
run = RunDirectory(sys.argv[1], {"seed": 0})
print("locked", flush=True)
time.sleep(600)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path):
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout.readline() == "locked\n"
        holder = f"process {process.pid} on {os.uname().nodename}"
        with pytest.raises(
            RunDirectoryError, match=f"{tmp_path} is in use by {holder}"
        ):
            RunDirectory(tmp_path, {"seed": 0})
    with RunDirectory(tmp_path, {"seed": 0}) as run:
        run.write_metrics(1, {})
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()


def test_where_there_are_no_locks_a_warning_says_so(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", fail)
    with pytest.warns(UserWarning, match="cannot be locked .*No locks available"):
        RunDirectory(tmp_path, CONFIG).close()


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunDirectoryError, match=f"{workdir}: .*--workdir"):
            RunDirectory(workdir, CONFIG)
    with RunDirectory(tmp_path / "gone", CONFIG) as run:
        shutil.rmtree(tmp_path / "gone")
        with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl: No such file"):
            run.write_metrics(1, {"loss": 1})
        assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("write", ["write_metrics", "write_timing", "write_policies"])
def test_a_full_disk_is_a_clear_error_and_leaves_whole_lines(tmp_path, write):
    with RunDirectory(tmp_path, CONFIG) as run:
        write = getattr(run, write)
        write(1, {"loss": 1.0})
        with (
            files_at_most(16 * 1024),
            pytest.raises(RunDirectoryError, match=r"\.jsonl: File too large.*room"),
        ):
            write(2, {"text": "x" * 20_000})
        write(3, {"loss": 3.0})
    lines = [read_lines(tmp_path, name) for name in ("metrics", "timing", "policies")]
    assert sorted(map(len, lines)) == [0, 0, 2]
    assert [record["step"] for file in lines for record in file] == [1, 3]
