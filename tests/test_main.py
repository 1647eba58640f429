"""The table of commands."""

import os
import subprocess
import sys

import pytest

from aaa_jax.__main__ import COMMANDS, main
from tests.support.small_runs import ROOT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_line_in_the_table_and_a_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"aaa-jax {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert f"  {name} " in capsys.readouterr().out


def test_a_command_that_is_not_there_is_named_with_those_that_are(capsys):
    assert main(["prob"]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "no command 'prob'" in printed.err
    assert all(name in printed.err for name in COMMANDS)
    assert main([]) == 2


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ("train --config=digits", {"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS is 'cuda'"),
        ("policies .", {"JAX_PLATFORMS": "nonsense"}, "Unable to initialize backend"),
        ("probe .", {"JAX_PLATFORMS": "cuda"}, "unset it"),
        ("report .", {"MPLBACKEND": "module://not_here"}, "'.' holds no run"),
        ("report .", {"MPLBACKEND": "nonsense"}, "'.' holds no run"),
        ("train --config=digits --workdir=s3://b/x", {}, "ImportError: Install s3fs"),
    ],
)
def test_an_environment_in_which_nothing_works_is_one_line(
    words, environment, said, tmp_path
):
    done = subprocess.run(
        [sys.executable, "-m", "aaa_jax", *words.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    [line] = done.stderr.splitlines()
    assert said in line
    assert os.listdir(tmp_path) == []
