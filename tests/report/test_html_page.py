import csv
import html.parser
import json
import re

import numpy as np
import pytest

from aaa_jax.report import csv_file, write_report
from aaa_jax.report.__main__ import main
from aaa_jax.report.figures import curves, shares
from aaa_jax.report.first_screen import FirstScreen, Headline
from aaa_jax.report.html_page import CSS, Section, render
from aaa_jax.report.text_table import TextTable, to_markdown
from tests.support.run_folders import (
    family_of,
    write_cell,
    write_corruption,
    write_probe,
    write_run,
)

VOID = {"meta", "img", "br", "source"}
NOTE = 'a copy as JPEG, <i>not</i> the "original" & so on'


class Checker(html.parser.HTMLParser):
    """Collects what a page holds, and fails where tags do not match."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def attributes(self, tag):
        return [attributes for seen, attributes in self.seen if seen == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table's directory with every kind of result, one run of it not finished."""
    path = tmp_path_factory.mktemp("runs") / "mine"
    table = (path, "table4_digits", "digits")
    for column, finals in {"random": (9.0, 8.0), "ours": (7.5, 7.0)}.items():
        for seed, final in enumerate(finals):
            run = write_cell(*table, column, seed=seed, errors=(60.0, final))
            write_corruption(run, {"fog": [20.0] * 5, "jpeg_compression": [9.0] * 5})
    write_probe(path / "digits" / "ours" / "seed0", np.full((16, 10), 0.25).tolist())
    write_cell(*table, "ours", seed=2, errors=(60.0,), epochs=2)
    return path


@pytest.fixture(scope="module")
def output(folder, tmp_path_factory):
    """The report on them, made with the command."""
    path = tmp_path_factory.mktemp("report")
    assert main([str(folder), f"--output={path}", f"--note={NOTE}"]) == 0
    return path


@pytest.fixture(scope="module")
def page(output):
    checker = Checker()
    checker.feed((output / "report.html").read_text())
    checker.close()
    return checker


def test_the_page_is_whole_and_needs_nothing_outside_it(page):
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "object"}
    for attributes in page.attributes("img"):
        assert attributes["src"].startswith("data:image/")
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, link in (("a", "href"), ("use", "xlink:href")):
        for attributes in page.attributes(tag):
            assert attributes[link].removeprefix("#") in ids
    assert "url(" not in CSS
    assert "@import" not in CSS


def test_drawings_take_the_colours_of_the_page(page, output):
    """No ink, paper or grid of white paper is left, on which dark mode would fail."""
    drawn = [attributes.get("style", "") for _, attributes in page.seen]
    text = " ".join(drawn)
    assert "fill: var(--paper)" in text
    assert "fill: var(--ink)" in text
    assert not re.search("#ffffff|#222222|#000000|#dddddd", text)
    assert "#ffffff" in (output / "figures" / "curves.svg").read_text()
    (sheet,) = page.attributes("source")
    assert sheet["media"] == "(prefers-color-scheme: dark)"


def test_every_picture_has_words_for_those_who_cannot_see_it(page):
    drawings = page.attributes("svg")
    (sheet,) = page.attributes("img")
    alternatives = [sheet["alt"], *(drawing["aria-label"] for drawing in drawings)]
    assert len(alternatives) == 8
    assert all(len(words) > 40 for words in alternatives)
    assert "ours: 7.25 ± 0.35 (n = 2)" in " ".join(alternatives)
    text = "".join(page.text)
    assert 0 < text.index("Figure 2: ") < text.index("Figure 6: ")


def test_the_note_stands_on_the_page_as_it_was_given(page, output):
    for text in ("".join(page.text), (output / "results.md").read_text()):
        assert NOTE in text
        assert "Not finished, and in no mean: ours/seed2 (epoch 1 of 2)." in text


def test_figures_are_pictures_without_a_date(output):
    names = {path.name for path in (output / "figures").iterdir()}
    assert names == {
        *("curves.png", "curves.svg", "health-ours.png", "health-ours.svg"),
        *("shares-ours.png", "shares-ours.svg", "policies-ours.png"),
        *("probe-ours.png", "probe-ours.svg", "corruptions.png", "corruptions.svg"),
        *("error-by-policies.png", "error-by-policies.svg"),
        *("loss-by-policies.png", "loss-by-policies.svg"),
    }
    for path in (output / "figures").iterdir():
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            assert b"tEXt" not in content
        else:
            assert b"<dc:date>" not in content
            assert b"matplotlib.org/" not in content.split(b"<defs>")[1]


def test_the_same_runs_give_the_same_bytes(folder, output):
    family = family_of(folder)
    ours = family.group("ours")
    for again in (curves.loss_and_error(family), shares.mean_shares(family, ours)):
        first = output / "figures" / again.name
        assert first.with_suffix(".png").read_bytes() == again.png
        assert first.with_suffix(".svg").read_bytes() == again.svg


def test_tables_are_written_as_markdown_and_csv(output):
    markdown = (output / "results.md").read_text()
    assert "## Table 4 scaled down: test error on handwritten digits" in markdown
    assert "| 8.50 ± 0.71 (n = 2) | 7.25 ± 0.35 (n = 2) |" in markdown
    with open(output / "results.csv") as file:
        rows = list(csv.DictReader(file))
    errors = {(r["row"], r["column"]): r for r in rows if r["measure"] == "test_error"}
    assert errors["digits", "ours"]["table"] == "table4_digits"
    family = next(row for row, _ in errors if row != "digits")
    for name in ("digits", family):
        row = errors[name, "ours"]
        assert (row["n"], row["seeds"], row["mean"]) == ("2", "0 1", "7.25")
        assert float(row["std"]) == pytest.approx(0.5**0.5 / 2, rel=1e-7)
        assert float(row["difference_to_random"]) == -1.25
        assert (row["unfinished_seeds"], row["paper"]) == ("2", "")


def test_text_is_escaped_where_it_would_be_markup():
    table = TextTable("a | b <c>", ("one|two", "<b>"), (("x|y", "&"),), ("<script>",))
    assert "| x\\|y | & |" in to_markdown(table)
    numbers = (Headline("<n>", "<m>", "<l>"),)
    first = FirstScreen("<t>", ("<r>",), numbers, ("<v>",), (("<f>", ("<g>",)),))
    page = render(first, [Section("<s>", (table,))])
    assert not re.search("<(t|r|n|m|l|v|f|g|s|c|script)>", page)
    assert '\n"x,y",' in csv_file.to_csv([{"table": "x,y"}])


def test_a_run_without_a_finished_epoch_is_reported_as_such(tmp_path):
    run = write_run(tmp_path / "young", errors=(), epochs=2)
    page = write_report([run], tmp_path / "out")
    assert "young (epoch 0 of 2)" in page.read_text()
    assert list((tmp_path / "out" / "figures").iterdir()) == []


def test_one_run_is_reported_in_its_own_folder(tmp_path, capsys):
    run = write_run(tmp_path / "baseline", "baseline", errors=(5.0,))
    config = json.loads((run / "config.json").read_text())
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report' / 'report.html'}\n"
    assert json.loads((run / "config.json").read_text()) == config


def test_a_place_that_cannot_be_written_is_named(tmp_path, capsys):
    run = write_run(tmp_path / "run", "baseline", errors=(), epochs=2)
    (tmp_path / "file").write_text("")
    assert main([str(run), f"--output={tmp_path / 'file' / 'in'}"]) == 2
    assert "choose another --output" in capsys.readouterr().err
