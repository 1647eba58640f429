"""Pages that are made by scripts are current, and links lead somewhere."""

import importlib.util
import re

import jax.numpy as jnp
import pytest

from tests.support.small_runs import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def script(path):
    spec = importlib.util.spec_from_file_location("script", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(path):
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings]
    return {text.strip().replace(" ", "-") for text in words}


def test_the_page_of_public_names_is_current():
    made = script("docs/write_api.py").page()
    assert (ROOT / "docs/api.md").read_text() == made, "run `make docs`"


def test_the_figure_of_the_method_is_current():
    made = script("docs/images/draw_method.py").draw()
    assert (ROOT / "docs/images/method.svg").read_text() == made, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page):
    for link, anchor in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path = page.parent / link if link else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), f"{link}#{anchor}"


def test_the_index_names_every_page_of_the_docs():
    links = {link for link, _ in LINK.findall((ROOT / "docs/README.md").read_text())}
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= links


@pytest.mark.slow
def test_the_ten_lines_of_the_readme_run():
    text = (ROOT / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shapes = []

    def train_on(big, labels):
        shapes.append((big.shape, big.dtype))
        return jnp.arange(8, dtype=jnp.float32)

    images = jnp.zeros((3, 16, 16, 3), jnp.uint8)
    given = {"images": images, "labels": None, "num_rounds": 2, "train_on": train_on}
    exec(lines, given)
    assert shapes == [((8, 3, 16, 16, 3), jnp.uint8)] * 2
    assert given["info"]["rewards"].shape == (8,)
