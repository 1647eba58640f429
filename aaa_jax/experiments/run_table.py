"""Lists a table's cells, and runs those that are not finished, a process for each.

`launch.py` calls this for a config of `configs/table.py`. Several commands may share a
workdir: each passes over the cells that run elsewhere. Which cells there are and how
far they are is in `cells`, what a run does in `train`; results are drawn by the report.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import ml_collections
from etils import epath

from aaa_jax.experiments import costs
from aaa_jax.experiments.paper_tables import PAPER_COSTS, Paper, Table
from aaa_jax.experiments.table_cells import (
    Cell,
    TableError,
    cell_config,
    check_cells,
    read_state,
    select_cells,
    table_of,
)


def main(
    config: ml_collections.ConfigDict, workdir: str, argv: Sequence[str], lists: bool
) -> int:
    """What `launch.py` does with a table: lists or runs its cells; an exit code.

    Args:
        config: of `configs/table.py`, with its overrides.
        workdir: of the table.
        argv: the command line, `launch.py` first; a cell's has its own argument.
        lists: show the cells, run nothing.

    Raises:
        TableError: in one line, what is wrong with the command.
    """

    def command(cell: Cell) -> list[str]:
        return [sys.executable, *_arguments(argv, cell, workdir)]

    if lists:
        lines = list_cells(config, workdir, lambda cell: _typed(command(cell)))
        try:
            print("\n".join(lines), flush=True)
        except BrokenPipeError:  # of `| head`; Python flushes once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    # Checking cells makes arrays; devices are for the cells' own processes.
    jax.config.update("jax_platforms", "cpu")
    return run_cells(config, workdir, command)


def list_cells(
    config: ml_collections.ConfigDict, workdir: str, command: Callable[[Cell], str]
) -> list[str]:
    """A heading, and a line per cell: argument, the paper's number, state, command."""
    table, cells = table_of(config), select_cells(config)
    rows = [
        (
            cell.name,
            f"paper {_paper_of(table, cell)}",
            read_state(epath.Path(workdir) / cell.name, cell_config(config, cell)).text,
            command(cell),
        )
        for cell in cells
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return [
        f"{_title(config)}; {len(cells)} cells in {workdir}",
        *(
            "  ".join(
                [*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]
            )
            for row in rows
        ),
    ]


def paper_text(paper: Paper | None) -> str:
    """The paper's number as it prints it; a dash where it has none."""
    if paper is None:
        return "-"
    stds = [f" ± {std:.2f}" for std in paper.stds] or [""] * len(paper.errors)
    return " / ".join(
        f"{error:.2f}{std}" for error, std in zip(paper.errors, stds, strict=True)
    )


def _paper_of(table: Table, cell: Cell) -> str:
    """The paper's number for a cell; of Table 5, its estimate."""
    if table.name == "table5":
        cost = PAPER_COSTS[cell.column]
        return f"{cost.search_hours:g} + {cost.training_hours:g} device h"
    return paper_text(table.paper.get((cell.row, cell.column)))


def run_cells(
    config: ml_collections.ConfigDict,
    workdir: str,
    command: Callable[[Cell], Sequence[str]],
) -> int:
    """Runs the cells that are not finished, one after the other.

    Args:
        config: of `configs/table.py`.
        workdir: of the table.
        command: the command line of a cell's process.

    Returns:
        0 when nothing failed; 1 when a cell did, after all others have run; 128 + n
        when signal n stopped the table.

    Raises:
        TableError: something is wrong with the command; nothing was run.
    """
    cells = select_cells(config)
    check_cells(config, cells)
    folder = epath.Path(workdir)
    configs = {cell: cell_config(config, cell) for cell in cells}
    for cell in cells:
        state = read_state(folder / cell.name, configs[cell])
        if state.kind == "another config":
            raise TableError(
                f"{folder / cell.name} holds a run with another config: {state.detail}."
                " Choose another --workdir, or give the old values."
            )
    print(f"{_title(config)}; {len(cells)} cells in {workdir}", flush=True)
    outcomes: dict[str, list[str]] = {"finished": [], "elsewhere": [], "failed": []}
    with _forwarded_signals() as process:
        for number, cell in enumerate(cells, start=1):
            state = read_state(folder / cell.name, configs[cell])
            if state.kind not in ("finished", "running"):
                print(f"[{number}/{len(cells)}] {cell.name}: {state.text}", flush=True)
                code = process.run(command(cell))
                if process.signals:
                    return _stopped(process.signals[0], cell)
                state = read_state(folder / cell.name, configs[cell])
                if code and state.kind != "running":
                    outcomes["failed"].append(f"{cell.name} (exit code {code})")
                    continue
            kind = "elsewhere" if state.kind == "running" else "finished"
            outcomes[kind].append(cell.name)
    _summarize(config, workdir, outcomes)
    return 1 if outcomes["failed"] else 0


class _Process:
    """The process of the running cell, to which signals are passed on."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._running: subprocess.Popen | None = None

    def run(self, command: Sequence[str]) -> int:
        """Runs a command to its end; its exit code."""
        if self.signals:
            return 0
        # A group of its own: Ctrl-C reaches it once, from here, not twice.
        self._running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0
        )
        for number in self.signals:  # that came while it started
            self._running.send_signal(number)
        code = self._running.wait()
        self._running = None
        return code

    def note(self, number: int, frame: Any) -> None:
        """Passes a signal on; the cell saves itself, and the table stops."""
        self.signals.append(number)
        if self._running is not None:
            self._running.send_signal(number)


@contextmanager
def _forwarded_signals() -> Iterator[_Process]:
    process = _Process()
    if threading.current_thread() is not threading.main_thread():
        yield process  # only the main thread may handle signals
        return
    handled = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, process.note) for number in handled}
    try:
        yield process
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number: int, cell: Cell) -> int:
    name = signal.Signals(number).name
    print(f"stopped by {name} in {cell.name}; the same command goes on", flush=True)
    return 128 + number


def _summarize(
    config: ml_collections.ConfigDict, workdir: str, outcomes: dict[str, list[str]]
) -> None:
    """How many cells are done, which failed, and, of Table 5, what they cost."""
    texts = [f"{len(outcomes['finished'])} finished"]
    if outcomes["elsewhere"]:
        texts.append(f"running elsewhere: {', '.join(outcomes['elsewhere'])}")
    if outcomes["failed"]:
        texts.append(f"failed: {', '.join(outcomes['failed'])}")
    print(f"{_title(config)}; {'; '.join(texts)}", flush=True)
    if config.table == "table5":
        folder = epath.Path(workdir)
        runs: dict[str, list[epath.Path]] = {}
        for cell in select_cells(config):
            runs.setdefault(cell.column, []).append(folder / cell.name)
        page = costs.cost_table(table_of(config), PAPER_COSTS, runs)
        if config.scale < 1:
            page += f"\n{_scaled(config.scale)}\n"
        (folder / "table5.md").write_text(page)
        print(page)


def _title(config: ml_collections.ConfigDict) -> str:
    title = table_of(config).title
    return title if config.scale == 1 else f"{title} ({_scaled(config.scale)})"


def _scaled(scale: float) -> str:
    return f"SCALED to {scale:g}: fewer epochs and smaller networks than the paper's"


def _arguments(argv: Sequence[str], cell: Cell, workdir: str) -> list[str]:
    """The command line of a table as that of one of its cells."""
    kept, rest = [argv[0]], list(argv[1:])
    path = ""
    while rest:
        word = rest.pop(0)
        name, is_whole, value = word.lstrip("-").partition("=")
        if name in ("config", "workdir"):
            value = value if is_whole else rest.pop(0)
            path = value if name == "config" else path
        elif name not in ("list", "nolist"):
            kept.append(word)
    file = path.partition(":")[0]
    return [
        kept[0],
        f"--config={file}:{cell.name}",
        f"--workdir={workdir}",
        *kept[1:],
    ]


def _typed(command: Sequence[str]) -> str:
    """A command as one types it."""
    return shlex.join(["python", *command[1:]])
