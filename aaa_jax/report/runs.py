"""Run directories: finding them, and reading what a report needs of each.

What is read: config.json, metrics.jsonl, policies.jsonl and timing.jsonl (see
`metrics`), and, where somebody wrote them, probe.json and corruption.json. Nothing is
written, and a run that is still going on can be read.
"""

import itertools
import json
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.augment import magnitudes, ops, policy_json
from aaa_jax.experiments import costs
from aaa_jax.experiments.paper_tables import TABLE_FILE
from aaa_jax.search import collapse
from aaa_jax.workdir import run_directory, snapshots

DEEPEST = 3  # levels below a folder at which runs are looked for: ROW/COLUMN/seedS
SEED_FOLDER = re.compile(r"seed(\d+)")
NUMBERS = (
    *("op_entropy", "magnitude_entropy", "entropy", "loss_spread", "kl"),
    *("gradient_norm", "loss_log_prob_correlation", "repeated_ops"),
)


class ReportError(ValueError):
    """No report can be made; the message says of what and why, in one line."""


class Cell(NamedTuple):
    """Where a run stands in a table's directory: TABLE/ROW/COLUMN/seedS."""

    table: pathlib.Path
    row: str
    column: str


class Rounds(NamedTuple):
    """What policies.jsonl says, one entry per controller update, R of them.

    Attributes:
        steps: int [R], steps done when the round was over.
        epochs: int [R], the epoch, from 1, in which that was.
        sampled_ops: float [R, 17], shares of `ops.OPS` among the sampled policies.
        sampled_magnitudes: float [R, 10], of the ops other than Identity.
        expected_ops: float [R, 17], as the source expects them.
        expected_magnitudes: float [R, 10].
        states: "ok", "narrowing", "collapsed"; "" of a source that does not learn.
        loss_error: float [R], root mean square standard error of the M losses, nats.
        numbers: name -> float [R], for each of `NUMBERS`.

    What a line lacks is NaN.
    """

    steps: np.ndarray
    epochs: np.ndarray
    sampled_ops: np.ndarray
    sampled_magnitudes: np.ndarray
    expected_ops: np.ndarray
    expected_magnitudes: np.ndarray
    states: tuple[str, ...]
    loss_error: np.ndarray
    numbers: dict[str, np.ndarray]


class Run(NamedTuple):
    """One run directory.

    Attributes:
        path: where it is.
        name: short and unique in the report; the same wherever the folder lies.
        settings: config.json.
        metrics: lines of metrics.jsonl.
        rounds: policies.jsonl, summed up.
        facts: run.json; empty of a run that wrote none.
        cost: what was timed; None where no epoch is over.
        probe: probe.json, or None.
        corruption: corruption.json, or None.
        cell: its place in a table's directory, or None.
        table: the table that it was made for, where the run recorded it; else "".
    """

    path: pathlib.Path
    name: str
    settings: dict[str, Any]
    metrics: list[dict[str, Any]]
    rounds: Rounds
    facts: dict[str, Any]
    cost: costs.RunCost | None
    probe: dict[str, Any] | None
    corruption: dict[str, Any] | None
    cell: Cell | None
    table: str = ""

    @property
    def seed(self) -> int:
        """The seed of the config."""
        return int(self.settings["seed"])

    @property
    def epochs_done(self) -> int:
        """Epochs that have a line in metrics.jsonl."""
        return self.metrics[-1]["epoch"] if self.metrics else 0

    @property
    def is_shortened(self) -> bool:
        """Whether `max_steps` ends it before its last epoch is full."""
        most = self.settings["max_steps"]
        per_epoch = steps_per_epoch(self.metrics)
        return bool(most) and most < per_epoch * self.settings["epochs"]

    @property
    def is_finished(self) -> bool:
        """Whether its last step is done and tested; only then is it averaged."""
        if not self.metrics or self.metrics[-1].get("test_error") is None:
            return False
        planned = steps_per_epoch(self.metrics) * self.settings["epochs"]
        total = min(planned, self.settings["max_steps"] or planned)
        return self.metrics[-1]["step"] >= self.facts.get("total_steps", total)

    @property
    def scale(self) -> float:
        """Below 1: fewer epochs and a smaller network than the preset's."""
        return float(self.settings.get("scale", 1.0))

    @property
    def device_hours(self) -> float | None:
        """Of search and training, summed over devices; None where nothing is timed."""
        if self.cost is None:
            return None
        return (self.cost.search_hours or 0.0) + self.cost.training_hours

    @property
    def hours(self) -> float | None:
        """Of search and training, by the clock."""
        if self.cost is None:
            return None
        return 24 * ((self.cost.search_days or 0.0) + self.cost.training_days)

    @property
    def final(self) -> dict[str, Any]:
        """The last line of metrics.jsonl; of a finished run."""
        return self.metrics[-1]

    @property
    def is_learned(self) -> bool:
        """Whether its policies came from a controller that learned in this run."""
        return any(self.rounds.states)


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """The runs in run directories and in folders of them, each once, in path order.

    Args:
        paths: run directories, folders that hold some up to three levels below, or
            table directories (ROW/COLUMN/seedS).

    Raises:
        ReportError: a path holds no run, or a file of a run cannot be used.
    """
    places: dict[pathlib.Path, Cell | None] = {}
    for path in paths:
        found = list(_find(pathlib.Path(path).expanduser().resolve()))
        if not found:
            raise ReportError(
                f"{os.fspath(path)!r} holds no run: give run directories (they have a "
                "config.json), or a folder that holds some"
            )
        places |= {place: cell or places.get(place) for place, cell in found}
    names = _names(list(places))
    try:
        runs = [_read(place, names[place], places[place]) for place in places]
    except (run_directory.RunDirectoryError, snapshots.SnapshotError) as error:
        raise ReportError(str(error)) from error
    return sorted(runs, key=lambda run: _natural(run.name))


def steps_per_epoch(lines: Sequence[Mapping[str, Any]]) -> int:
    """T, from lines of metrics.jsonl; 0 of none. The last epoch may be cut short."""
    return max((line["step"] // line["epoch"] for line in lines), default=0)


def _find(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, Cell | None]]:
    if (path / "config.json").is_file():
        yield path, None
        return
    for depth in range(1, DEEPEST + 1):
        for file in sorted(path.glob("/".join(["*"] * depth + ["config.json"]))):
            parts = file.parent.relative_to(path).parts
            is_cell = len(parts) == DEEPEST and SEED_FOLDER.fullmatch(parts[-1])
            yield file.parent, Cell(path, parts[0], parts[1]) if is_cell else None


def _names(places: Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Paths below the folder that all have in common."""
    if len(places) == 1:
        return {places[0]: places[0].name}
    common = pathlib.Path(os.path.commonpath(places))
    return {place: place.relative_to(common).as_posix() for place in places}


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A sort key in which run-2 comes before run-10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _read(path: pathlib.Path, name: str, cell: Cell | None) -> Run:
    lines = run_directory.read_lines(path, "metrics")
    settings = run_directory.read_config(path)
    if not isinstance(settings, dict) or not {"seed", "epochs"} <= settings.keys():
        raise ReportError(
            f"{path / 'config.json'} is not the config of a run of this program: it "
            "lacks seed or epochs"
        )
    return Run(
        path=path,
        name=name,
        settings=settings,
        metrics=lines,
        rounds=_read_rounds(path, steps_per_epoch(lines)),
        facts=snapshots.load_facts(path),
        cost=costs.device_hours(path),
        probe=_read_extra(path / "probe.json", ("ops", "accuracy", "clean_accuracy")),
        corruption=_read_extra(
            path / "corruption.json", ("errors", "mean_error", "clean_error")
        ),
        cell=cell,
        table=_read_table(path / TABLE_FILE),
    )


def _read_table(path: pathlib.Path) -> str:
    """The name in a cell's table.json; nothing where there is none."""
    try:
        return str(json.loads(path.read_text())["table"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(
            f'{path} is not {{"table": NAME}} ({error!r}): remove it'
        ) from error


def _read_extra(path: pathlib.Path, keys: Sequence[str]) -> dict[str, Any] | None:
    """A JSON object of version 1 beside the run's own files, if there is one."""
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ReportError(f"{path} is not JSON ({error}): write it again") from error
    missing = [
        key for key in ("version", "step", "num_images", *keys) if key not in record
    ]
    if missing or record["version"] != 1:
        what = (
            f"lacks {', '.join(missing)}"
            if missing
            else (
                f"has version {record['version']!r}, and this program reads version 1"
            )
        )
        raise ReportError(f"{path} {what}: write it again")
    return record


def _read_rounds(path: pathlib.Path, per_epoch: int) -> Rounds:
    lines = [
        line
        for line in run_directory.read_lines(path, "policies")
        if not line.get("nonfinite_loss")
    ]
    steps = np.array([line["step"] for line in lines], np.int64)
    sampled = [_sampled(line) for line in lines]
    num_ops, num_magnitudes = len(ops.OPS), magnitudes.NUM_MAGNITUDES
    errors = [line.get("standard_errors") for line in lines]
    return Rounds(
        steps=steps,
        epochs=-(-steps // per_epoch) if per_epoch else np.zeros_like(steps),
        sampled_ops=_rows([entry[0] for entry in sampled], num_ops),
        sampled_magnitudes=_rows([entry[1] for entry in sampled], num_magnitudes),
        expected_ops=_rows([line.get("op_shares") for line in lines], num_ops),
        expected_magnitudes=_rows(
            [line.get("magnitude_shares") for line in lines], num_magnitudes
        ),
        states=tuple(line.get("state", "") for line in lines),
        loss_error=np.array([_root_mean_square(entry) for entry in errors]),
        numbers={
            name: np.array([_number(line.get(name)) for line in lines])
            for name in NUMBERS
        },
    )


def _sampled(line: Mapping[str, Any]) -> tuple[Any, Any]:
    """Shares of ops and of magnitudes in the policies of a line, where it has any."""
    if "policies" not in line:
        return None, None
    saved = policy_json.from_json(line)
    number = magnitudes.range_table(saved.ranges).num_magnitudes
    if number != magnitudes.NUM_MAGNITUDES:
        return collapse.op_shares(saved.policies), None
    return (
        collapse.op_shares(saved.policies),
        collapse.magnitude_shares(saved.policies),
    )


def _rows(rows: Sequence[Any], width: int) -> np.ndarray:
    """Float [R, width]; a row that is missing or of another length is NaN."""
    table = np.full((len(rows), width), np.nan)
    for place, row in enumerate(rows):
        if row is not None and len(row) == width:
            table[place] = [_number(value) for value in row]
    return table


def _number(value: Any) -> float:
    """A number of a line; what JSON could not hold (null) and what lacks is NaN."""
    return math.nan if value is None else float(value)


def _root_mean_square(values: Sequence[Any] | None) -> float:
    if not values:
        return math.nan
    return math.sqrt(sum(_number(value) ** 2 for value in values) / len(values))


def grouped_by_table(runs: Sequence[Run]) -> dict[pathlib.Path, list[Run]]:
    """The runs that lie in tables' directories, by table."""
    placed = [run for run in runs if run.cell is not None]
    keyed = sorted(placed, key=lambda run: str(run.cell.table) if run.cell else "")
    return {
        table: list(members)
        for table, members in itertools.groupby(
            keyed, key=lambda run: run.cell.table if run.cell else pathlib.Path()
        )
    }
