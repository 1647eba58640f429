"""The paper's numbers, against its printed tables, and the presets they point to."""

import importlib

import pytest

from aaa_jax.experiments.paper_tables import PAPER_COSTS, TABLES, Paper
from configs import arguments

# The printed tables of the paper, line by line; a dash is a cell without a number.
PRINTED = {
    "table1": """
        wrn28x10        3.87  3.08  2.68  2.58  1.90 ± 0.15
        shake26_2x32d   3.55  3.02  2.47  2.54  2.36 ± 0.10
        shake26_2x96d   2.86  2.56  1.99  2.03  1.85 ± 0.12
        shake26_2x112d  2.82  2.57  1.89  2.03  1.78 ± 0.05
        pyramidnet      2.67  2.31  1.48  1.46  1.36 ± 0.06
        """,
    "table2": """
        wrn28x10       18.80  18.41  17.09  16.73  15.49 ± 0.18
        shake26_2x96d  17.05  16.00  14.28  15.31  14.10 ± 0.15
        pyramidnet     13.99  12.19  10.67  10.94  10.42 ± 0.20
        """,
    "table3": """
        resnet50   23.69 / 6.92  22.37 / 6.18  20.60 ± 0.15 / 5.53 ± 0.05
        resnet50d  22.84 / 6.48  -             20.00 ± 0.12 / 5.25 ± 0.03
        resnet200  21.52 / 5.85  20.00 / 4.90  18.68 ± 0.18 / 4.70 ± 0.05
        """,
    "table4": """
        resnet50  23.69  22.70  21.68  20.60
        """,
    "table6": """
        cifar10_wrn28x10    2.68   1.90   2.45 ± 0.13
        cifar100_wrn28x10  17.09  15.49  16.48 ± 0.15
        imagenet_r50d      -      20.00  20.20 ± 0.05
        imagenet_r200      20.00  18.68  19.05 ± 0.10
        """,
}
COLUMNS = {
    "table1": ["baseline", "cutout", "autoaugment", "pba", "ours"],
    "table2": ["baseline", "cutout", "autoaugment", "pba", "ours"],
    "table3": ["baseline", "autoaugment", "ours"],
    "table4": ["baseline", "fixed", "random", "ours"],
    "table6": ["autoaugment", "ours", "transfer"],
}


def _read(printed: str) -> tuple[list[float], list[float]]:
    """'20.60 ± 0.15 / 5.53 ± 0.05' as errors and standard deviations."""
    pairs = [entry.split(" ± ") for entry in printed.split(" / ")]
    errors = [float(pair[0]) for pair in pairs]
    return errors, [float(pair[1]) for pair in pairs if len(pair) == 2]


@pytest.mark.parametrize("name", TABLES)
def test_the_numbers_are_those_the_paper_prints_and_no_others(name):
    expected = {}
    for line in PRINTED.get(name, "").strip().splitlines():
        row, *cells = [part.strip() for part in line.split("  ") if part.strip()]
        for column, cell in zip(COLUMNS[name], cells, strict=True):
            if cell != "-":
                expected[row, column] = Paper(*map(tuple, _read(cell)))
    assert TABLES[name].paper == expected


def test_table_5_has_the_papers_totals():
    totals = {
        column: (c.search_hours + c.training_hours, c.search_days + c.training_days)
        for column, c in PAPER_COSTS.items()
    }
    assert totals == {"autoaugment": (15160, 11), "ours": (1280, 1)}
    assert PAPER_COSTS["ours"].search_hours == 0
    assert PAPER_COSTS.keys() == TABLES["table5"].columns.keys()


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_has_its_preset_and_argument(name):
    table = TABLES[name]
    assert table.name == name
    assert table.presets.keys() == table.rows.keys()
    for preset in table.presets.values():
        assert importlib.import_module(f"configs.{preset}").get_config()
    assert set(table.arguments) <= set(table.columns)
    assert set(table.arguments.values()) <= set(arguments.ARGUMENTS) | {"transfer"}
    assert set(table.overrides) <= set(table.arguments)
    for row, column in table.paper:
        assert row in table.rows
        assert column in table.columns
    for key in [*table.rows, *table.columns]:
        assert "/" not in key  # keys are names of directories
        assert not key.startswith("seed")


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_the_columns_beyond_the_paper_come_last(name):
    beyond = ["randaugment", "trivialaugment", "fixed", "random"]
    assert list(TABLES[name].columns) == COLUMNS[name] + beyond
