"""The house rules of docs/architecture.md, held against the source itself."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "aaa_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each room, and the rooms that its files may import: one direction, no cycle.
GROUND = {"objective", "runtime", "models", "data", "augment"}
METHOD = GROUND | {"workdir", "search", "experiments"}
ROOMS = {
    "objective": set(),
    "runtime": set(),
    "models": {"runtime"},
    "data": {"runtime"},
    "augment": {"runtime"},
    "workdir": {"runtime"},
    "search": {"runtime", "objective", "augment", "workdir"},
    "experiments": GROUND | {"workdir", "search"},
    "train": METHOD,
    "trained": METHOD | {"train"},
    "report": METHOD - {"models"},
    "commands": METHOD | {"train", "trained", "report"},
}
FILES = {"objective"}  # a room of one file
TOP = {"__init__", "__main__"} | FILES  # the only modules outside a room
# All that these may import of the runtime: they know no device, process or signal.
FROM_RUNTIME = {"randomness", "paths"}
KNOW_NO_DEVICE = {"models", "data", "augment", "search", "report"}
# What derives a key or reads it: nothing in the environment changes these.
MADE_TO_DRAW = ("randomness.drawing", "randomness.initializing")
DRAWS_NOTHING = {"fold_in", "key_data", "key_impl", "wrap_key_data"}
PRESETS = {"configs"}  # a link to configs/, so that presets travel in the wheel
MOST_LINES_OF_A_FUNCTION = 50
MOST_LINES_OF_A_FILE = 600


def _room(path: pathlib.Path) -> str:
    """The first part of a module below the package: `models/resnet.py` -> `models`."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path: pathlib.Path) -> list[list[str]]:
    """What a module imports of the package: `["data", "stream", "counted"]`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.split(".")[1:] for name in names if name.startswith("aaa_jax.")]


def _attributes(path: pathlib.Path) -> list[ast.Attribute]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Attribute)]


def _code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring, comments and blank lines."""
    lines: set[int] = set()
    body = function.body[1:] if ast.get_docstring(function) else function.body
    for statement in body:
        for node in ast.walk(statement):
            if hasattr(node, "lineno"):
                lines |= {node.lineno, node.end_lineno}
    return len(lines)


def test_every_module_lies_in_a_room() -> None:
    flat = {path.stem for path in PACKAGE.glob("*.py")}
    assert flat <= TOP
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms - PRESETS | FILES == set(ROOMS)


def test_the_rooms_have_no_cycle() -> None:
    left = dict(ROOMS)
    while free := [room for room, below in left.items() if not below & left.keys()]:
        for room in free:
            del left[room]
    assert not left


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_between_rooms_point_one_way(path: pathlib.Path) -> None:
    room = _room(path)
    if room in ("__init__", "__main__"):
        return
    imported = {name[0] for name in _imports(path)} - {room} - PRESETS
    assert imported <= ROOMS[room], f"{room} imports {imported - ROOMS[room]}"


@pytest.mark.parametrize("room", sorted(KNOW_NO_DEVICE))
def test_only_paths_and_randomness_of_the_runtime_are_for_all(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        used = {name[1] for name in _imports(path) if name[0] == "runtime"}
        assert used <= FROM_RUNTIME, path


def test_a_report_reads_no_checkpoint() -> None:
    for path in (PACKAGE / "report").rglob("*.py"):
        assert not any("checkpoints" in name for name in _imports(path)), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: pathlib.Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            is_short = _code_lines(node) <= MOST_LINES_OF_A_FUNCTION
            assert is_short, f"{node.name} is too long"


def test_nothing_below_experiments_sees_a_config() -> None:
    seeing = {"experiments", "train", "trained", "commands"}
    for path in MODULES:
        names = {ast.unparse(node.value) for node in _attributes(path)}
        if _room(path) not in seeing:
            assert not names & {"config", "ml_collections"}, path


def test_devices_are_mapped_over_in_one_place() -> None:
    mapping = {"pmap", "shard_map"}
    for path in MODULES:
        used = {node.attr for node in _attributes(path)}
        assert path.stem == "devices" or not used & mapping, path


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "misc"}
    assert not drawers & {path.stem for path in MODULES}


def _draws_outside(node: ast.AST, is_inside: bool) -> list[int]:
    """Lines that draw by `jax.random` outside a function made by `drawing`."""
    if isinstance(node, ast.FunctionDef):
        names = [ast.unparse(decorator) for decorator in node.decorator_list]
        is_inside = is_inside or any(name in names for name in MADE_TO_DRAW)
    lines = []
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jax.random":
        lines = [] if is_inside or node.attr in DRAWS_NOTHING else [node.lineno]
    for child in ast.iter_child_nodes(node):
        lines += _draws_outside(child, is_inside)
    return lines


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_draws_does_so_with_the_packages_generator(path: pathlib.Path) -> None:
    assert not _draws_outside(ast.parse(path.read_text()), is_inside=False)
