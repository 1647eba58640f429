"""Run directories: finding them, and reading what a report needs of each.

Read are config.json, run.json, metrics.jsonl, policies.jsonl and timing.jsonl (see
`workdir`), and probe.json and corruption.json where somebody wrote them. Nothing is
written, and a run that is still going on can be read.
"""

import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aaa_jax.augment import magnitudes, ops, policy_json
from aaa_jax.report.costs import RunCost, run_cost
from aaa_jax.report.earlier_runs import complete_facts, recorded_state
from aaa_jax.runtime.paths import expand
from aaa_jax.search import collapse
from aaa_jax.workdir import run_directory, run_facts

DEEPEST = 3  # levels below a folder at which runs are looked for: ROW/COLUMN/seedS
NUMBERS = (
    *("op_entropy", "magnitude_entropy", "entropy", "loss_spread"),
    "loss_log_prob_correlation",
)
WIDTHS = {  # shares -> of how many
    "sampled_ops": len(ops.OPS),
    "sampled_magnitudes": magnitudes.NUM_MAGNITUDES,
    "expected_ops": len(ops.OPS),
    "expected_magnitudes": magnitudes.NUM_MAGNITUDES,
}


class ReportError(ValueError):
    """No report can be made; the message says of what and why, in one line."""


class Rounds(NamedTuple):
    """What policies.jsonl says, one entry per controller update, R of them.

    What a line lacks is NaN.
    """

    epochs: np.ndarray  # int [R], the epoch, from 1, in which the round ended
    # Each of `WIDTHS`, float [R, width]: of `ops.OPS`, or of magnitudes among the ops
    # other than Identity; in the policies sampled, and as the source expects them.
    shares: dict[str, np.ndarray]
    states: tuple[str, ...]  # of `collapse.STATES`; "" of a source that does not learn
    # Each of `NUMBERS`, float [R], and "loss_error": the root mean square standard
    # error of the M losses, nats.
    numbers: dict[str, np.ndarray]


class Run(NamedTuple):
    """One run directory."""

    path: pathlib.Path
    name: str  # short and unique in the report; the same wherever the folder lies
    settings: dict[str, Any]  # config.json
    facts: dict[str, Any]  # run.json
    metrics: list[dict[str, Any]]  # lines of metrics.jsonl
    rounds: Rounds  # policies.jsonl, summed up
    cost: RunCost | None  # what was timed; None where no epoch is over
    probe: dict[str, Any] | None  # probe.json, if there is one
    corruption: dict[str, Any] | None  # corruption.json, if there is one

    @property
    def seed(self) -> int:
        """The seed of the config."""
        return int(self.settings["seed"])

    @property
    def origin(self) -> dict[str, Any]:
        """What the run was started as; table, row and column only of a table's cell."""
        return dict(self.facts["origin"])

    @property
    def method(self) -> str:
        """The preset's argument; the name of a preset that takes none."""
        return str(self.origin["argument"] or self.origin["preset"])

    @property
    def cell(self) -> tuple[str, str]:
        """Row and column of a run that is a table's cell."""
        return self.origin["row"], self.origin["column"]

    @property
    def epochs_done(self) -> int:
        """Epochs that have a line in metrics.jsonl."""
        return int(self.final.get("epoch", 0))

    @property
    def is_shortened(self) -> bool:
        """Whether `max_steps` ends it before its last epoch is full."""
        full = self.facts["steps_per_epoch"] * self.settings["epochs"]
        return bool(self.facts["total_steps"] < full)

    @property
    def is_finished(self) -> bool:
        """Whether its last step is done and tested; only then is it averaged."""
        is_tested = self.final.get("test_error") is not None
        return is_tested and self.final["step"] >= self.facts["total_steps"]

    @property
    def scale(self) -> float:
        """Below 1: fewer epochs and a smaller network than the preset's."""
        return float(self.settings.get("scale", 1.0))

    @property
    def final(self) -> dict[str, Any]:
        """The last line of metrics.jsonl; empty before the first epoch is over."""
        return self.metrics[-1] if self.metrics else {}

    @property
    def is_learned(self) -> bool:
        """Whether its policies came from a controller that learned in this run."""
        return any(self.rounds.states)

    @property
    def is_random(self) -> bool:
        """Whether its controller never moved: it drew what `random` draws."""
        return set(self.rounds.states) == {"uniform"}

    @property
    def state(self) -> str:
        """The controller's state after the last update; "" where nothing learned."""
        return self.rounds.states[-1] if self.rounds.states else ""

    def first_update(self, *states: str) -> int | None:
        """The update, from 1, after which the run was first in one of the states."""
        found = (n for n, s in enumerate(self.rounds.states, start=1) if s in states)
        return next(found, None)


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """The runs in folders, each once, in path order.

    A folder is a run's directory, or holds some up to three levels below, as a table's
    does (ROW/COLUMN/seedS).

    Raises:
        ReportError: a path holds no run, or a file of a run cannot be used.
    """
    places: dict[pathlib.Path, None] = {}
    for path in paths:
        found = list(_find(pathlib.Path(expand(path)).resolve()))
        if not found:
            raise ReportError(
                f"{os.fspath(path)!r} holds no run: give run directories (they have a "
                "config.json), or a folder that holds some"
            )
        places |= dict.fromkeys(found)
    names = _names(list(places))
    try:
        runs = [_read(place, names[place]) for place in places]
    except run_directory.RunDirectoryError as error:
        raise ReportError(str(error)) from error
    return sorted(runs, key=lambda run: _natural(run.name))


def _find(path: pathlib.Path) -> Iterator[pathlib.Path]:
    if (path / "config.json").is_file():
        yield path
        return
    for depth in range(1, DEEPEST + 1):
        for file in sorted(path.glob("*/" * depth + "config.json")):
            yield file.parent


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


def _read(path: pathlib.Path, name: str) -> Run:
    settings = run_directory.read_config(path)
    if not {"seed", "epochs"} <= settings.keys():
        raise ReportError(
            f"{path / 'config.json'} is not the config of a run of this program: it "
            "lacks seed or epochs"
        )
    lines = run_directory.read_lines(path, "metrics")
    facts = complete_facts(path, run_facts.load_facts(path), settings, lines)
    timing = run_directory.read_lines(path, "timing")
    return Run(
        path=path,
        name=name,
        settings=settings,
        facts=facts,
        metrics=lines,
        rounds=_read_rounds(path, facts["steps_per_epoch"]),
        cost=run_cost(timing, settings["policies"]["source"], facts.get("device", "")),
        probe=_read_extra(path / "probe.json"),
        corruption=_read_extra(path / "corruption.json"),
    )


def _read_extra(path: pathlib.Path) -> dict[str, Any] | None:
    """A JSON object of version 1 beside the run's own files, if there is one."""
    if not path.is_file():
        return None
    record = run_directory.read_object(path, "write it again")
    if record["version"] != 1:
        raise ReportError(
            f"{path} has version {record['version']!r}, and this program reads version "
            "1: write it again"
        )
    return record


def _read_rounds(path: pathlib.Path, per_epoch: int) -> Rounds:
    lines = [
        line
        for line in run_directory.read_lines(path, "policies")
        if not line.get("nonfinite_loss")
    ]
    steps = np.array([line["step"] for line in lines], np.int64)
    shares = [_shares(line) for line in lines]
    # NumPy makes NaN of None, which JSON has in its place.
    numbers = {
        name: np.array([line.get(name) for line in lines], float) for name in NUMBERS
    }
    errors = [np.array(line.get("standard_errors") or [None], float) for line in lines]
    numbers["loss_error"] = np.array([np.sqrt(np.mean(each**2)) for each in errors])
    return Rounds(
        epochs=-(-steps // max(per_epoch, 1)),
        shares={
            name: _rows([row.get(name) for row in shares], width)
            for name, width in WIDTHS.items()
        },
        states=tuple(recorded_state(line) for line in lines),
        numbers=numbers,
    )


def _shares(line: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of ops and magnitudes in the policies of a line, and the expected ones."""
    shares = {
        "expected_ops": line.get("op_shares"),
        "expected_magnitudes": line.get("magnitude_shares"),
    }
    if "policies" in line:
        saved = policy_json.from_json(line)
        number = magnitudes.range_table(saved.ranges).num_magnitudes
        shares["sampled_ops"] = collapse.op_shares(saved.policies)
        shares["sampled_magnitudes"] = collapse.magnitude_shares(saved.policies, number)
    return shares


def _rows(rows: Sequence[Any], width: int) -> np.ndarray:
    """Float [R, width]; a row that is missing or of another length is NaN."""
    unknown = [None] * width
    known = [row if row is not None and len(row) == width else unknown for row in rows]
    return np.array(known, float).reshape(-1, width)
