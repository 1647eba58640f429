"""Pages that are made by scripts are current, and links lead somewhere."""

import importlib.util
import re

import pytest

from tests.support.small_runs import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def script(path):
    spec = importlib.util.spec_from_file_location("script", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_public_names_is_current():
    made = script("docs/write_api.py").page()
    assert (ROOT / "docs/api.md").read_text() == made, "run `make docs`"


def test_the_figure_of_the_method_is_current():
    made = script("docs/images/draw_method.py").draw()
    assert (ROOT / "docs/images/method.svg").read_text() == made, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page):
    links = LINK.findall(page.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_the_index_names_every_page_of_the_docs():
    links = set(LINK.findall((ROOT / "docs/README.md").read_text()))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= links
