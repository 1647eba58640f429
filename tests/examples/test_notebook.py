"""The notebook runs from its first cell to its last, and shows what it says."""

import json
import pathlib
import re

import pytest

from tests.support.small_runs import ROOT

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def outputs(cells):
    return [output for cell in cells for output in cell.get("outputs", [])]


def error_of(cells):
    texts = [output["text"] for output in outputs(cells) if "text" in output]
    return float(re.search(r"test error ([\d.]+) %", "".join(map("".join, texts)))[1])


def test_the_notebook_is_kept_with_its_pictures_and_is_small():
    found = outputs(json.loads(NOTEBOOK.read_text())["cells"])
    pictures = [o for o in found if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    assert NOTEBOOK.stat().st_size < 120_000
    assert error_of(json.loads(NOTEBOOK.read_text())["cells"]) < 15


@pytest.mark.slow
def test_the_notebook_runs_learns_and_its_controller_moves(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    last = "print(float(watched[0]['op_entropy']), float(watched[-1]['op_entropy']))"
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    where = {"metadata": {"path": str(pathlib.Path(tmp_path))}}
    nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()
    assert error_of(notebook.cells) < 15  # guessing: 90
    first, end = map(float, outputs(notebook.cells)[-1]["text"].split())
    assert first > 0.99
    assert end < 0.95
