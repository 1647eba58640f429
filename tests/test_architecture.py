"""The house rules of docs/architecture.md, held against the source itself."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "aaa_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Imports point down only; modules of one floor do not import each other.
FLOORS = [
    {"processes", "manifests", "files"},
    {"objective", "models", "data", "optim", "checkpoint", "metrics", "progress"}
    | {"groups", "devices", "published", "values", "signals", "watchdog", "packed"}
    | {"paper_tables", "snapshots"},
    {"ops", "costs", "scaling", "followers", "endings", "resuming", "damage"},
    {"ranges", "families"},
    {"policies", "standard"},
    {"augment", "controller", "policy_source"},
    {"recordings"},
    {"replay"},
    {"export_policies"}
    | {"sources", "diagnostics", "evaluate", "rows", "contact_sheet"},
    {"step", "report", "schema"},
    {"experiment"},
    {"program", "trained", "cells"},
    {"journal", "traces", "feed", "probe", "corruptions"},
    {"agreement"},
    {"train", "tables"},
]
ALLOWED_LENGTHS = {"train_and_evaluate": 120}
MOST_LINES_OF_A_FUNCTION = 50
MOST_LINES_OF_A_FILE = 400


def _room(path: pathlib.Path) -> str:
    """The first part of a module below the package: `models/resnet.py` -> `models`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def _floor(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} has no floor: give it one in FLOORS")


def _imported_rooms(tree: ast.Module) -> set[str]:
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "aaa_jax":
                rooms |= {alias.name for alias in node.names}
            elif node.module.startswith("aaa_jax."):
                rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            rooms |= {n.split(".")[1] for n in names if n.startswith("aaa_jax.")}
    return rooms


def _code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring, comments and blank lines."""
    lines: set[int] = set()
    body = function.body[1:] if ast.get_docstring(function) else function.body
    for statement in body:
        for node in ast.walk(statement):
            if hasattr(node, "lineno"):
                lines |= {node.lineno, node.end_lineno}
    return len(lines)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_the_floors(path: pathlib.Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    room = _room(path)
    for imported in _imported_rooms(ast.parse(path.read_text())) - {room}:
        assert _floor(imported) < _floor(room), f"{room} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: pathlib.Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            allowed = ALLOWED_LENGTHS.get(node.name, MOST_LINES_OF_A_FUNCTION)
            assert _code_lines(node) <= allowed, f"{node.name} is too long"


def test_only_the_top_floors_see_a_config() -> None:
    seeing = {"agreement", "experiment", "feed", "train", "trained"}
    seeing |= {"cells", "scaling", "tables"}
    for path in MODULES:
        names = {
            node.value.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        if _room(path) not in seeing:
            assert not names & {"config", "ml_collections"}, path


def test_devices_are_mapped_over_in_one_place() -> None:
    mapping = {"pmap", "shard_map"}
    for path in MODULES:
        attributes = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert path.stem == "devices" or not attributes & mapping, path


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    assert not drawers & {path.stem for path in MODULES}
