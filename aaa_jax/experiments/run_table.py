"""Runs a table's cells that are not finished, a process for each.

`commands.train` calls this for a config of `configs/table.py`. Several commands may
share a workdir: each passes over the cells that run elsewhere. Which cells there are
and how far they are is in `table_cells`; the report draws the results.
"""

import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
from etils import epath

from aaa_jax.experiments.table_cells import (
    Cell,
    TableError,
    cell_config,
    check_cells,
    read_state,
    select_cells,
    title,
)
from aaa_jax.runtime.signals import stopping_signals


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
    # Checking cells makes arrays; devices are for the cells' own processes.
    jax.config.update("jax_platforms", "cpu")
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
    print(f"{title(config)}; {len(cells)} cells in {workdir}", flush=True)
    outcomes: dict[str, list[str]] = {"finished": [], "elsewhere": [], "failed": []}
    for number, cell in enumerate(cells, start=1):
        state = read_state(folder / cell.name, configs[cell])
        if state.kind not in ("finished", "running"):
            print(f"[{number}/{len(cells)}] {cell.name}: {state.text}", flush=True)
            code, signals = _run_process(command(cell))
            if signals:
                name = signal.Signals(signals[0]).name
                print(f"stopped by {name} in {cell.name}; the same command goes on")
                return 128 + signals[0]
            state = read_state(folder / cell.name, configs[cell])
            if code and state.kind != "running":
                outcomes["failed"].append(f"{cell.name} (exit code {code})")
                continue
        kind = "elsewhere" if state.kind == "running" else "finished"
        outcomes[kind].append(cell.name)
    _summarize(config, workdir, outcomes)
    return 1 if outcomes["failed"] else 0


def _run_process(command: Sequence[str]) -> tuple[int, list[int]]:
    """Runs a command to its end, and passes signals on, so that the cell saves itself.

    Returns:
        Its exit code, and the signals that came.
    """
    came: list[int] = []
    process: subprocess.Popen | None = None

    def pass_on(number: int, frame: Any) -> None:
        came.append(number)
        if process is not None:
            process.send_signal(number)

    before = {n: signal.signal(n, pass_on) for n in stopping_signals()}
    try:
        # A group of its own: Ctrl-C reaches it once, from here, not twice.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
        for number in came:  # while it started
            process.send_signal(number)
        return process.wait(), came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summarize(
    config: ml_collections.ConfigDict, workdir: str, outcomes: dict[str, list[str]]
) -> None:
    """Says how many cells are done, which failed, and what draws the table."""
    texts = [f"{len(outcomes['finished'])} finished"]
    if outcomes["elsewhere"]:
        texts.append(f"running elsewhere: {', '.join(outcomes['elsewhere'])}")
    if outcomes["failed"]:
        texts.append(f"failed: {', '.join(outcomes['failed'])}")
    texts.append(f"python -m aaa_jax report {shlex.quote(workdir)} draws the table")
    print(f"{title(config)}; {'; '.join(texts)}", flush=True)
