"""Every door that takes a path knows a home directory by `~`."""

import numpy as np
import PIL.Image
import pytest

from aaa_jax import data
from aaa_jax.__main__ import main
from aaa_jax.report import runs
from aaa_jax.runtime import paths
from aaa_jax.search import sources
from aaa_jax.trained import corrupted_images
from tests.support import run_folders

PLAN = ("plan", "--config=digits")
FILE = "--config.policies.source=file"
# What is asked for, and a part of the answer; HOME stands for a home directory.
COMMANDS = {
    "config": (["train", "--config=HOME/none.py"], "/none.py"),
    "workdir": ([*PLAN, "--workdir=HOME/runs/a"], "/runs/a: not"),
    "table": (["train", "--config=table4_digits", "--workdir=HOME/t", "--list"], "/t"),
    "replay": (
        ["plan", "--config=digits:transfer", "--config.policies.replay_run=HOME/none"],
        "/none is not a directory",
    ),
    "file": ([*PLAN, FILE, "--config.policies.file=HOME/none.json"], "/none.json"),
    "folder": ([*PLAN, "--config.data.name=folder:HOME/no"], "/no"),
    "data": ([*PLAN, "--config.data.name=x", "--config.data.dir=HOME/data"], "/data"),
    "prepare": (["prepare", "digits", "--data-dir=HOME/data"], "/data/digits"),
    "archive": (["prepare", "cifar10", "--archive=HOME/none.tar"], "/none.tar"),
    "probe": (["probe", "HOME/none"], "/none is no run"),
    "corruptions": (["corruptions", "HOME/none"], "/none is no run"),
    "predict": (["predict", "HOME/none", "HOME/a.png"], "/none is no run"),
    "evaluate": (["evaluate", "HOME/none"], "/none is no run"),
    "csv": (["predict", "HOME/none", "x", "--csv=HOME/no/a.csv"], "/no"),
    "weights": (["export", "HOME/none", "--weights=HOME/a.safetensors"], "/none is no"),
    "policies": (["policies", "HOME/none"], "/none is not a directory"),
    "contact-sheet": (["contact-sheet", "HOME/none"], "/none is not a folder"),
    "sheet": (["contact-sheet", "HOME", "--policies=HOME/none.json"], "/none.json"),
}


def _answer(words, home, capsys):
    words = [word.replace("HOME", home) for word in words]
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TFDS_DATA_DIR", "~/datasets")
    (tmp_path / "home").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "home" / "a.png")  # for a sheet
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize(("words", "expected"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_finds_a_home_directory_or_says_in_one_line_that_it_is_not_there(
    words, expected, home, capsys, tmp_path
):
    code, printed = _answer(words, "~", capsys)
    assert f"{home}{expected}" in printed
    assert code in (0, 2)
    code, printed = _answer(words, "~nobody_is_called_so", capsys)
    assert code == 2, printed
    assert "no such home directory" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert not any((tmp_path / "here").iterdir())


def test_a_report_reads_runs_in_the_home_directory(home, capsys):
    run_folders.write_run(home / "run")
    assert [run.path for run in runs.read_runs(["~/run"])] == [home / "run"]
    for words in (["~nobody_is_called_so/x"], ["~/run", "--output=~nobody_is_so/x"]):
        code, printed = _answer(["report", *words], "~", capsys)
        assert code == 2
        assert "no such home directory" in printed


def test_the_library_finds_the_home_directory(home):
    split = data.Dataset(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32), ())
    for refused in (
        lambda: corrupted_images.read_sets(split, "~/none", None),
        lambda: corrupted_images.make_sets(split, "~/none", 1),
        lambda: sources.replay_source(run="~/none", num_policies=1),
        lambda: sources.file_source("~/none", num_policies=1),
    ):
        with pytest.raises(ValueError, match=str(home / "none")):
            refused()


def test_what_has_no_home_stays_as_it_is():
    for path in ("a/~", "/x", "", "gs://b/~"):
        assert paths.expand(path) == path
    with pytest.raises(paths.PathError, match="no such home directory"):
        paths.expand("~nobody_is_called_so/x")
