"""What a table's list says of runs that were made, by their files alone."""

import json

import pytest

from aaa_jax.commands import list_table
from aaa_jax.experiments import table_cells
from aaa_jax.workdir import run_directory
from configs import table4_digits
from tests.support import run_folders


def _cell(folder, column, seed, errors):
    """A run of the digits' cell with the config that the table gives it."""
    config = table_cells.cell_config(
        table4_digits.get_config(), table_cells.Cell("digits", column, seed)
    )
    path = run_folders.write_cell(
        folder, "table4_digits", "digits", column, seed=seed, errors=errors, epochs=34
    )
    (path / "config.json").write_text(json.dumps(config.to_dict()))
    steps = [line["step"] for line in run_directory.read_lines(path, "metrics")]
    (path / "checkpoints" / str(steps[-1])).mkdir(parents=True)


def test_a_line_has_the_seeds_the_error_and_the_hours(tmp_path):
    for seed, error in enumerate((2.0, 3.0)):
        _cell(tmp_path, "ours", seed, (None,) * 33 + (error,))
    _cell(tmp_path, "ours", 2, (50.0, 9.0))
    _cell(tmp_path, "random", 1, (None,) * 33 + (4.0,))
    _, names, *lines = list_table.list_rows(table4_digits.get_config(), str(tmp_path))
    rows = {line.split()[0].split("/")[1]: line for line in lines}
    std = 0.5**0.5  # of 2 and 3
    assert f"  2 of 5  2.50 ± {std:.2f}  " in rows["ours"]
    # An epoch of 36 s on two devices.
    hours = 36 * 2 * (34 + 34 + 2) / 3600
    assert f"  {hours:.3g}  " in rows["ours"]
    assert rows["ours"].endswith("1 stopped, 2 not run")
    assert "  1 of 5  4.00 " in rows["random"]
    assert rows["fixed"].endswith("5 not run")
    at = names.index("device h")
    assert not rows["fixed"][at : at + 8].strip()


@pytest.mark.parametrize("damage", ["config.json", "run.json"])
def test_a_run_that_cannot_be_read_is_counted_apart(damage, tmp_path):
    _cell(tmp_path, "ours", 0, (None,) * 33 + (2.0,))
    (tmp_path / "digits/ours/seed0" / damage).write_text("{")
    config = table4_digits.get_config("digits/ours")
    [_, _, line] = list_table.list_rows(config, str(tmp_path))
    assert line.endswith("1 unreadable, 4 not run")
