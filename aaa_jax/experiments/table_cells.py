"""A table's cells: which runs they are, by config and directory, and how far each is.

A cell is an ordinary run in WORKDIR/ROW/COLUMN/seedS, and that directory alone says how
far it is. What a table shows is in `paper_tables`; `run_table` runs cells.
"""

import fcntl
import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_collections
from etils import epath

from aaa_jax.augment import batch_layout
from aaa_jax.experiments import shrink, sizes
from aaa_jax.experiments.build import changeable_keys, check_config
from aaa_jax.experiments.paper_tables import TABLES, Table
from aaa_jax.workdir import run_directory, run_facts

ANY = "*"


class TableError(ValueError):
    """The table's command cannot work; each argument says why in one line."""


class Cell(NamedTuple):
    """One run of a table."""

    row: str
    column: str
    seed: int

    @property
    def name(self) -> str:
        """What follows the colon, and the run's place in the table's workdir."""
        return f"{self.row}/{self.column}/seed{self.seed}"


class State(NamedTuple):
    """How far a cell's run is, by its directory."""

    # "not run", "running", "stopped", "finished", "another config", or "unreadable",
    # which the cell's own process refuses when it is run
    kind: str
    step: int = 0  # steps that are saved
    total_steps: int | None = None  # of the run; None where it did not say
    detail: str = ""  # what differs in "another config", or cannot be read

    @property
    def text(self) -> str:
        """The state in words."""
        if self.kind == "not run":
            return self.kind
        if self.detail:
            return f"{self.kind} ({self.detail})"
        total = "" if self.total_steps is None else f" of {self.total_steps}"
        return f"{self.kind} at step {self.step}{total}"


def table_of(config: ml_collections.ConfigDict) -> Table:
    """The table that a config of `configs/table.py` stands for.

    Raises:
        TableError: there is none of that name, or a value cannot be.
    """
    if config.table not in TABLES:
        raise TableError(f"table is {config.table!r}; there are {', '.join(TABLES)}")
    if config.seeds < 1:
        raise TableError(f"seeds is {config.seeds}; it must be at least 1")
    if not 0 < config.scale <= 1:
        raise TableError(f"scale is {config.scale}; it must be above 0 and at most 1")
    return TABLES[config.table]


def title(config: ml_collections.ConfigDict) -> str:
    """The table's title, which says so where it is shrunken."""
    title = table_of(config).title
    if config.scale == 1:
        return title
    what = "fewer epochs and smaller networks than the paper's"
    return f"{title} (SCALED to {config.scale:g}: {what})"


def select_cells(config: ml_collections.ConfigDict) -> list[Cell]:
    """The cells that a config names, all rows and columns of a seed before the next.

    Raises:
        TableError: a row, column or seed that the table does not have.
    """
    table = table_of(config)
    parts = config.cells.split("/")
    if len(parts) > 3 or "" in parts:
        raise TableError(
            f"cells {config.cells!r}: write ROW, ROW/COLUMN or ROW/COLUMN/seedS, each "
            "a name or *"
        )
    row, column, seed = [*parts, ANY, ANY][:3]
    rows = _chosen("row", row, list(table.rows), table)
    columns = _chosen("column", column, list(table.arguments), table)
    names = [f"seed{number}" for number in range(config.seeds)]
    more = f"; --config.seeds={config.seeds + 1} has more"
    seeds = _chosen("seed", seed, names, table, hint=more)
    return [
        Cell(row, column, names.index(name))
        for name in seeds
        for row in rows
        for column in columns
    ]


def is_one_cell(config: ml_collections.ConfigDict) -> bool:
    """Whether a config names one cell in full, by row, column and seed."""
    return config.cells.count("/") == 2 and ANY not in config.cells


def cell_config(
    config: ml_collections.ConfigDict, cell: Cell
) -> ml_collections.ConfigDict:
    """The config of a cell's run: its preset, scaled, with the table's overrides.

    Raises:
        TableError: what a cell needs is not given, or an override does not fit.
    """
    run = _preset_of(config, cell)
    try:
        num_groups = sizes.layout(run).num_groups
    except ValueError as error:
        raise TableError(f"{cell.name}: {error}") from error
    if run.num_passes:  # M differs between cells: a number need not divide all
        run.num_passes = math.gcd(run.num_passes, num_groups)
    return run


def _preset_of(
    config: ml_collections.ConfigDict, cell: Cell
) -> ml_collections.ConfigDict:
    """The config of a cell's run before its sizes are looked at."""
    table = table_of(config)
    preset = importlib.import_module(f"aaa_jax.configs.{table.presets[cell.row]}")
    argument = table.arguments[cell.column]
    run = preset.get_config(argument)
    run.update_from_flattened_dict(table.overrides.get(cell.column, {}))
    run.seed = cell.seed
    if config.scale < 1:
        shrink.scale_down(run, config.scale)
    if argument == "transfer":
        run.policies.replay_run = config.transfer_from
    _override(run, config.cell)
    return run


def cell_origin(
    origin: dict[str, Any], config: ml_collections.ConfigDict, cell: Cell
) -> dict[str, Any]:
    """What a report is told of a cell's run, besides what the command was."""
    table = table_of(config)
    return origin | {
        "overrides": [key.removeprefix("cell.") for key in origin["overrides"]],
        "table": table.name,
        "row": cell.row,
        "column": cell.column,
        "preset": table.presets[cell.row],
        "argument": table.arguments[cell.column],
    }


def fit_devices(
    run: ml_collections.ConfigDict, num_devices: int, num_processes: int = 1
) -> str:
    """Sets in a cell's config how many of the devices share its groups.

    M differs between cells, and a cell of one group cannot use a second device. So
    that one command runs all cells, each takes as many devices as divide its groups,
    and as many of the passes as divide the groups of a device.

    Args:
        run: of `cell_config`; changed in place, in what no number depends on.
        num_devices: the devices of all processes.
        num_processes: several use all of their devices, or the run is refused later.

    Returns:
        What to say where devices are left over; else nothing.
    """
    most = run.devices.num_devices or num_devices
    if not 1 <= most <= num_devices:
        return ""  # refused where devices are picked
    groups_here = sizes.layout(run).num_groups
    fitting = most
    if num_processes == 1:
        fitting = batch_layout.largest_divisor(groups_here, most)
        run.devices.num_devices = fitting
    if run.num_passes and groups_here % fitting == 0:
        run.num_passes = math.gcd(run.num_passes, groups_here // fitting)
    if fitting == most:
        return ""
    return (
        f"uses {fitting} of {most} devices: its "
        f"{groups_here} group{'s' if groups_here > 1 else ''} of BatchNorm cannot be "
        "shared by more; docs/pods.md says how to run a cell on each device"
    )


def check_cells(config: ml_collections.ConfigDict, cells: Sequence[Cell]) -> None:
    """Refuses, before any cell runs, a config with which one would fail at its start.

    Raises:
        TableError: a line for each problem, and the cells that have it.
    """
    table = table_of(config)
    needs_run = [c for c in cells if table.arguments[c.column] == "transfer"]
    if needs_run and not config.transfer_from:
        raise TableError(
            f"{needs_run[0].name} replays the policies of another run: give "
            "--config.transfer_from=RUN, the directory of a finished run of "
            "configs/imagenet_r50.py"
        )
    where: dict[str, list[str]] = {}
    for row, column in dict.fromkeys((c.row, c.column) for c in cells):
        try:
            check_config(_preset_of(config, Cell(row, column, cells[0].seed)))
        except ValueError as error:
            for problem in error.args:
                where.setdefault(str(problem), []).append(f"{row}/{column}")
    if where:
        raise TableError(*(f"{_some(w)}: {problem}" for problem, w in where.items()))


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def read_state(
    run: epath.PathLike, config: ml_collections.ConfigDict | None = None
) -> State:
    """How far the run in a directory is.

    Args:
        run: need not exist.
        config: the config that the run should have; None: whatever it has.
    """
    path = epath.Path(run)
    if not (path / "config.json").exists():
        return State("not run")
    try:
        return _read_state(path, config)
    except run_directory.RunDirectoryError as error:
        return State("unreadable", detail=str(error))


def _read_state(path: epath.Path, config: ml_collections.ConfigDict | None) -> State:
    recorded = run_directory.read_config(path)
    if config is not None:
        may_change = changeable_keys(config)
        known = sizes.automatic_values(config)
        differences = run_directory.config_differences(recorded, config.to_dict())
        for key, (old, new) in differences.items():
            if key not in may_change and (key, old) not in known.items():
                return State("another config", detail=f"{key} is {old}, not {new}")
    total = run_facts.load_facts(path).get("total_steps")
    steps = run_directory.steps_in(path / run_directory.CHECKPOINTS)
    step = max(steps, default=0)
    if _is_locked(path / "lock"):
        return State("running", step, total)
    lines = run_directory.read_lines(path, "metrics")
    is_over = total is not None and bool(lines) and lines[-1]["step"] >= total
    # A run that `max_steps` ended is not finished if more steps are asked for.
    if config is not None and recorded.get("max_steps") != config.max_steps:
        is_over = is_over and 0 < config.max_steps <= step
    return State("finished" if is_over else "stopped", step, total)


def _chosen(
    what: str, part: str, known: list[str], table: Table, *, hint: str = ""
) -> list[str]:
    if part == ANY:
        return known
    if part not in known:
        raise TableError(
            f"{table.name} has no {what} {part!r}; there are {', '.join(known)}{hint}"
        )
    return [part]


def _override(run: ml_collections.ConfigDict, given: ml_collections.ConfigDict) -> None:
    """Sets the values of the table's `cell` that are not None in a run's config."""
    if "options" in given and given.options is None and ":" in (given.name or ""):
        run.options = {}  # a network of one's own; those were of the preset's
    for key, value in given.items():
        if isinstance(value, ml_collections.ConfigDict) and key != "options":
            _override(run[key], value)
        elif value is not None:
            run[key] = value


def _is_locked(path: epath.Path) -> bool:
    """Whether a process writes in the run; False where locks do not work."""
    try:
        with open(path, "rb") as lock:
            fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
