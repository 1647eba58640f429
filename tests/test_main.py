"""The table of commands."""

import pytest

from aaa_jax.__main__ import COMMANDS, main


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
