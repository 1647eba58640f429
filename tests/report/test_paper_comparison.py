"""Tables of results: the paper's beside what ran, those of a family, and the CSV."""

import csv
import io
import math
import statistics

import pytest

from aaa_jax.experiments import paper_tables
from aaa_jax.report import csv_file, paper_comparison, result_tables, runs, write_report
from tests.support.run_folders import (
    family_of,
    write_cell,
    write_corruption,
    write_run,
)


def table_of(folder):
    """The table in a folder, its cells, and what is said of it."""
    [(table, members)] = paper_comparison.group_by_table(runs.read_runs([folder]))
    filled = paper_comparison.fill_cells(table, members)
    return table, filled, paper_comparison.remarks(table, members)


def csv_rows(lines):
    return list(csv.DictReader(io.StringIO(csv_file.to_csv(lines))))


def test_a_table_compares_with_the_paper_and_leaves_empty_what_did_not_run(tmp_path):
    for seed, final in enumerate((2.0, 2.4)):
        cell = ("table1", "wrn28x10", "ours")
        write_cell(tmp_path, *cell, seed=seed, errors=(9.0, final))
    (tmp_path / "wrn28x10" / "notes").mkdir()
    table, filled, remarks = table_of(tmp_path)
    assert table is paper_tables.TABLES["table1"]
    cells = {(cell.row, cell.column): cell for cell in filled}
    assert len(cells) == len(table.rows) * len(table.columns)
    ours = cells["wrn28x10", "ours"]
    assert ours.differences[0] == pytest.approx((2.0 + 2.4) / 2 - 1.90, abs=1e-9)
    other = cells["wrn28x10", "cutout"]
    assert (other.ours, other.differences) == ((None,), (None,))
    text = paper_comparison.comparison(table, filled, remarks)
    paper, here = (dict(zip(text.header, row, strict=True)) for row in text.rows[:2])
    assert (here["Ours"], here["Cutout"]) == ("2.20 ± 0.28 (n = 2)", "")
    loss = dict(zip(text.header, text.rows[2], strict=True))
    assert loss[""] == "test loss here (nats)"
    assert (loss["Ours"], loss["Cutout"]) == ("0.0688 ± 0.0088 (n = 2)", "")
    assert paper["Ours"] == "1.90 ± 0.15"
    assert not any(paper_comparison.PREFIX in note for note in text.notes)
    [row] = csv_rows(csv_file.table_lines(table, [other]))
    assert row["paper"] == "3.08"


def test_a_cell_that_the_command_changed_is_not_compared_with_the_paper(tmp_path):
    changed = [("scale", 0.25), ("data.name", "digits"), ("log.every_seconds", 1.0)]
    write_cell(tmp_path, "table3", "resnet50", "ours", override=changed)
    _, filled, remarks = table_of(tmp_path)
    ours = next(cell for cell in filled if cell.column == "ours")
    assert ours.ours[0].mean == 9.0
    assert ours.ours[1].mean == 9.0 / 4  # top-5
    assert ours.differences == (None, None)
    assert remarks == [
        "NOT THE PAPER'S EXPERIMENT, ResNet-50: data.name = digits, scale = 0.25."
    ]


def test_of_several_tables_in_a_folder_it_is_that_of_most_runs(tmp_path):
    """`resnet50/autoaugment` is a cell of Tables 3 and 5."""
    write_cell(tmp_path, "table5", "resnet50", "autoaugment")
    for seed in (1, 2):
        write_cell(tmp_path, "table3", "resnet50", "autoaugment", seed=seed)
    table, filled, _ = table_of(tmp_path)
    assert table.name == "table3"
    cell = next(cell for cell in filled if cell.column == "autoaugment")
    assert [run.seed for run in cell.group.runs] == [0, 1, 2]


def test_the_table_of_results_has_paired_differences_and_names_what_is_open(
    family, final_errors
):
    table = result_tables.results(family)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    pairs = zip(final_errors["ours"], final_errors["random"], strict=True)
    differences = [own - other for own, other in pairs]
    half = 4.302652729911275 * statistics.stdev(differences) / math.sqrt(3)
    mean = statistics.mean(differences)
    low, high = mean - half, mean + half
    difference = "difference to random (95 % interval)"
    assert rows["ours"][difference] == f"{mean:+.2f} [{low:+.2f}, {high:+.2f}] (n = 3)"
    assert rows["random"][difference] == ""
    assert rows["ours"]["not finished"] == "seed 3 (epoch 2 of 4)"
    assert "mean corruption error (%)" not in table.header  # nobody measured it
    losses = [error / 32 for error in final_errors["ours"]]  # as `write_run` writes it
    shown = f"{statistics.mean(losses):.4f} ± {statistics.stdev(losses):.4f} (n = 3)"
    assert rows["ours"]["test loss (nats)"] == shown
    place = table.header.index("test loss (nats)") + 1
    assert f"{mean / 32:+.4f} [" in table.rows[-1][place]


def test_runs_that_recorded_no_test_loss_report_as_before(tmp_path):
    for argument in ("random", "ours"):
        for seed in (0, 1):
            path = tmp_path / f"{argument}{seed}"
            write_run(path, argument, seed=seed, has_loss=False)
    page = write_report([tmp_path], tmp_path / "out").read_text()
    assert "test error (%)" in page
    assert "test loss" not in page.split('<section id="words">')[0].lower()
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert "error-by-policies.png" in figures
    assert "loss-by-policies.png" not in figures
    assert "test_loss" not in (tmp_path / "out" / "results.csv").read_text()


def test_the_csv_names_the_seeds_that_gave_each_number(tmp_path):
    for seed in range(3):
        run = write_run(tmp_path / f"ours{seed}", seed=seed)
        if seed != 1:
            write_corruption(run, {"fog": [9.0] * 5})
        if seed == 0:
            (run / "timing.jsonl").write_text("")
    rows = csv_rows(csv_file.family_lines(family_of(tmp_path)))
    assert {row["measure"]: row["seeds"] for row in rows} == {
        "test_error": "0 1 2",
        "test_top5_error": "0 1 2",
        "test_loss": "0 1 2",
        "mean_corruption_error": "0 2",
        "final_entropy": "0 1 2",
        "search_and_training_time": "1 2",
    }


def test_a_controller_that_never_moved_is_not_compared_with_random(tmp_path):
    cells = (tmp_path, "table4_digits", "digits")
    for argument, more in {"random": {}, "ours": {"entropy_falls": 0.0}}.items():
        run = write_cell(*cells, argument, **more)
        write_corruption(run, {"fog": [9.0] * 5})
    family = family_of(tmp_path)
    rows = [row for row in result_tables.results(family).rows if row[0] == "ours"]
    assert rows[0].count("ours is random here") == 3  # error, loss, corruption
    table, filled, remarks = table_of(tmp_path)
    text = paper_comparison.comparison(table, filled, remarks)
    assert any("ours is random here" in row for row in text.rows)
    lines = csv_rows(
        csv_file.family_lines(family) + csv_file.table_lines(table, filled)
    )
    assert not any(line["difference_to_random"] for line in lines)
