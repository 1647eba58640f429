"""The command line: what it takes for granted, and what it says of what is wrong."""

import sys

import pytest

import launch
from aaa_jax.commands import train
from tests.support.small_runs import ROOT

OWN = "tests.support.tiny:factory"


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "--config is missing; give --config=configs/NAME.py"),
        (("--config.epochs=3",), "--config is missing"),
        (("--config=configs/none.py",), "no file 'configs/none.py'"),
        (("--config=digits:our",), "unknown argument 'our'"),
        (("--config=digits", "x"), "stray argument 'x'"),
        (("--config=digits", "--config.epoch=3"), "mean --config.epochs"),
        (("--config=digits", "--config.lr=3"), "--config.optimizer.learning_rate?"),
        (("--config=digits", "--config.wd=3"), "mean --config.optimizer.weight_decay?"),
        (("--config=digits", "--config.data.x=3"), "no such key as in --config.data.x"),
        (("--config=digit",), "no file 'digit': did you mean digits? presets: cifar"),
        (("--config=default",), "no file 'default'; presets: "),
        (("--config=digits", "--config.epochs=a"), "'a'"),
        (("--config=digits", "--config.batch_size=-1"), "size is -1; it must be at le"),
        (("--config=digits", "--config.num_passes=3"), "devices x passes that would"),
        (("--config=digits", "--workdr=x"), "Did you mean: workdir"),
        (("--config=digits", "--workdir=file/run"), "file/run"),
    ],
)
def test_a_command_that_cannot_work_gets_one_line_and_exit_code_2(
    given, message, capsys, tmp_path
):
    (tmp_path / "file").write_text("not a directory")
    assert launch.main(["launch.py", *given]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("launch.py: ")
    assert printed.err.count("\n") == 1


def test_a_dataset_that_is_not_there_is_named_at_once(capsys):
    assert train.main(["--config=digits", "--config.data.name=svhn_cropped"]) == 2
    assert "svhn_cropped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "workdir"),
    [
        (("digits",), "runs/digits"),
        (("digits:random",), "runs/digits-random"),
        (("digits:ours", "--config.seed=3"), "runs/digits-ours-seed3"),
        (("digits", "--workdir=x"), "x"),
        (("imagenet_r50",), "runs/imagenet_r50"),
        (("table1",), "runs/table1"),
        (("table1:wrn28x10/ours/seed3",), "runs/table1"),
    ],
)
def test_a_run_has_a_directory_of_its_own_without_being_told(given, workdir):
    command = train.parse([f"--config={given[0]}", *given[1:]])
    assert command.workdir == workdir


def test_all_problems_of_a_command_are_said_at_once(capsys):
    given = ["--config=digits", "--config.bs=8", "--config.epochs=a"]
    given += ["--config.lr", "1"]
    given += ["--config.batch_norm.group_size=7", "--config.policies.source=x"]
    assert train.main(given) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("aaa-jax train: ") for line in lines)
    expected = ("--config.bs", "--config.epochs=a", "--config.lr", "source", "size 7")
    assert len(lines) == len(expected)
    assert all(word in line for word, line in zip(expected, lines, strict=True))


@pytest.mark.parametrize("path", ["digits", "configs/digits.py", "~/mine.py"])
def test_a_config_is_a_presets_name_or_a_path(path, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text((ROOT / "configs" / "digits.py").read_text())
    command = train.parse([f"--config={path}:random", "--config.batch-size=4"])
    assert command.config.policies.source == "random"
    assert command.config.batch_size == 4
    assert command.origin["preset"] == ("mine" if "mine" in path else "digits")


def test_presets_import_each_other_by_the_name_that_a_wheel_has():
    for path in (ROOT / "configs").glob("*.py"):
        assert "from configs" not in path.read_text(), path


@pytest.mark.parametrize(
    ("name", "words", "options"),
    [
        (OWN, [], {}),
        (OWN, ["--config.model.options={'width': 3}"], {"width": 3}),
        (OWN, ["--config.model.options.width=4"], {"depth": 10, "width": 4}),
        ("wide_resnet", [], {"depth": 10, "width": 1}),  # the preset's
    ],
)
def test_a_network_of_ones_own_does_not_get_the_presets_options(name, words, options):
    given = ["--config=digits", f"--config.model.name={name}", *words]
    config = train.parse(given).config
    assert config.model.options.to_dict() == options


def test_a_cells_command_is_the_tables_with_its_name():
    given = ["--config", "table1:*/ours", "--workdir=x", "--list=commands"]
    given.append("--config.a=1")
    assert train.cell_words(given, "wrn28x10/ours/seed3", "runs/t") == [
        "--config=table1:wrn28x10/ours/seed3",
        "--workdir=runs/t",
        "--config.a=1",
    ]
