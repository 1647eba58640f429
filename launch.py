"""Trains one run: `python launch.py --config=configs/NAME.py[:ARGUMENT]`.

Its directory is runs/NAME[-ARGUMENT][-seedS], unless `--workdir=DIR` names another. For
a table, such as configs/table1.py, it runs every cell, each in a process of its own;
`--list` shows them; `configs/table.py` says more.

Flags and one call; Algorithm 1 is `aaa_jax.train.loop.train_and_evaluate`. Exit codes:
0 the run is finished; 2 the command cannot work, and one line says why; 1 the run
failed, and says why; 128 + n the run was saved on signal n, and the same command
resumes it, or there was nothing to save yet; 134 another process of the run died.

On a pod the same command is started in every process (docs/pods.md).
"""

import inspect
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

if __name__ == "__main__":  # before the imports that take their time

    def _end(number: int, frame: Any) -> None:
        """Ends the process in one line, until the loop notes signals to save first.

        No exception: one that is raised in an import or a callback of JAX gets lost.
        """
        text = f"launch.py: ended by {signal.Signals(number).name}; nothing was lost\n"
        os.write(2, text.encode())
        os._exit(128 + number)

    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, _end)

from absl import flags
from ml_collections import ConfigDict, config_flags

CONFIG_HINT = "--config=configs/NAME.py[:ARGUMENT], such as --config=configs/digits.py"
NO_PRESETS = ("__init__", "arguments", "default", "table")
# Name: default, and what --help says.
FLAGS = {
    "workdir": ("", "the run's directory, or a table's; without: below runs/"),
    "list": (False, "show a table's cells"),
    "deterministic": (False, "bit-equal repeats on GPUs too"),
}
POD_FLAGS = {  # arguments of `aaa_jax.runtime.processes.initialize`; see docs/pods.md
    "distributed": ("auto", "on; off; auto: where the environment shows processes"),
    "coordinator": ("", "host:port of process 0, unless the environment tells it"),
    "num_processes": (0, "how many processes the run has"),
    "process_id": (-1, "which of them this is, from 0"),
    "connect_seconds": (300, "how long to wait for the other processes at the start"),
    "heartbeat_seconds": (60, "a process not heard of for so long is taken for dead"),
}
DEFINE = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, str: flags.DEFINE_string}


class UsageError(ValueError):
    """The command line cannot work; the message says why in one line."""


class Command(NamedTuple):
    """A command line."""

    config: ConfigDict
    workdir: str  # of the run, or of the table
    origin: dict[str, Any]  # what the run is, for its report; see `_origin`
    pod: dict[str, Any]  # the values of `POD_FLAGS`
    lists: bool  # whether a table's cells are shown, not run


def main(argv: Sequence[str]) -> int:
    """Trains, and turns what can go wrong into one line and an exit code."""
    try:
        command = parse(argv)
    except UsageError as error:
        return _fail(error)
    # Only now: a wrong command line is answered at once.
    if "table" in command.config:
        from aaa_jax.experiments import run_table, table_cells

        try:
            if command.lists or not table_cells.is_one_cell(command.config):
                return run_table.main(
                    command.config, command.workdir, argv, command.lists
                )
            [cell] = table_cells.select_cells(command.config)
            command = command._replace(
                config=table_cells.cell_config(command.config, cell),
                workdir=os.path.join(command.workdir, cell.name),
                origin=table_cells.cell_origin(command.origin, command.config, cell),
            )
        except table_cells.TableError as error:
            return _fail(error)
    if command.config.deterministic:
        # Read by XLA when the backend starts; without effect on the CPU.
        os.environ["XLA_FLAGS"] = (
            os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
        )
    from aaa_jax.runtime import processes

    try:
        processes.initialize(**command.pod)
    except processes.ProcessError as error:
        return _fail(error)
    code = _train(command)
    processes.disconnect(code)
    return code


def parse(argv: Sequence[str]) -> Command:
    """What the command line says.

    Raises:
        UsageError: the command line cannot work.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config", None, CONFIG_HINT, flag_values=values, sys_argv=list(argv)
    )
    for name, (default, text) in (FLAGS | POD_FLAGS).items():
        DEFINE[type(default)](name, default, text, flag_values=values)
    flags.DEFINE_bool("help", False, "this text", short_name="h", flag_values=values)
    given = [word.split("=")[0].lstrip("-") for word in argv[1:]]
    if not {"config", "help", "h"} & set(given):
        raise UsageError(f"--config is missing; give {CONFIG_HINT}")
    try:
        stray = values(argv)[1:]
    except Exception as error:  # anything: a config file is a program
        overrides = [f"--{name}" for name in given if name.startswith("config.")]
        raise UsageError(_what_is_wrong(error, overrides)) from error
    if values.help:
        print(__doc__, values.get_help(), sep="\n")
        sys.exit(0)
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}; every option is --name=value")
    config = _require_config(values)
    is_table = "table" in config
    if values.list and not is_table:
        raise UsageError("--list is for tables, such as --config=configs/table1.py")
    workdir = values.workdir or _default_workdir(values, config)
    if values.deterministic:
        (config.cell if is_table else config).deterministic = True
    pod = {name: values[name].value for name in POD_FLAGS}
    return Command(config, workdir, _origin(values, argv), pod, values.list)


def _default_workdir(values: flags.FlagValues, config: ConfigDict) -> str:
    """runs/NAME[-ARGUMENT][-seedS], as the command says it; for a table runs/TABLE."""
    if "table" in config:
        return f"runs/{config.table}"
    path, _, argument = values["config"].config_filename.partition(":")
    parts = [pathlib.Path(path).stem, argument.replace("/", "-")]
    parts += [f"seed{config.seed}"] if config.seed else []
    return f"runs/{'-'.join(part for part in parts if part)}"


def _require_config(values: flags.FlagValues) -> ConfigDict:
    path = values["config"].config_filename.split(":")[0]
    if not os.path.isfile(path):
        known = sorted(pathlib.Path(__file__).parent.glob("configs/*.py"))
        presets = [p.stem for p in known if p.stem not in NO_PRESETS]
        raise UsageError(
            f"--config: there is no file {path!r}; presets in configs/: "
            f"{', '.join(presets)}"
        )
    if not isinstance(values.config, ConfigDict):
        raise UsageError(f"--config: {path} has no get_config that returns a config")
    return values.config


def _origin(values: flags.FlagValues, argv: Sequence[str]) -> dict[str, Any]:
    """What a report is told of the run: where its config and its overrides are from."""
    flag = values["config"]
    path, _, argument = flag.config_filename.partition(":")
    # The module that config_flags loaded stands under this name.
    get_config = sys.modules["config_config"].get_config
    parameters = inspect.signature(get_config).parameters.values()
    defaults = [p.default for p in parameters if isinstance(p.default, str)]
    return {
        "preset": pathlib.Path(path).stem,
        "argument": argument or "".join(defaults[:1]),
        "overrides": sorted(flag.override_values),
        "command": shlex.join(["python", *argv]),
    }


def _what_is_wrong(error: Exception, overrides: Sequence[str]) -> str:
    """What an error of the flags or of a config file says, in one line."""
    lines = _lines(error)
    if isinstance(error, flags.Error):
        # absl quotes the traceback of a config file before its last line.
        return f"{'--config: ' if lines[1:] else ''}{lines[-1]}"
    text = f"{type(error).__name__}: {' '.join(lines)}"
    if overrides and isinstance(error, AttributeError | LookupError):
        return f"the config has no such key as in {', '.join(overrides)}: {text}"
    return f"--config: {text}"


def _train(command: Command) -> int:
    """The run, and the exit code of how it ended."""
    import jax

    from aaa_jax import data
    from aaa_jax.experiments import table_cells
    from aaa_jax.runtime import processes
    from aaa_jax.train import loop
    from aaa_jax.workdir import checkpoints, run_directory

    if "table" in command.origin:
        here = jax.device_count(), processes.count()
        said = table_cells.fit_devices(command.config, *here)
        if said and processes.is_first():
            print(f"launch.py: {command.workdir} {said}", flush=True)
    try:
        loop.train_and_evaluate(command.config, command.workdir, command.origin)
    except (
        loop.ConfigError,
        data.DatasetError,
        run_directory.RunDirectoryError,
        checkpoints.CheckpointError,
        processes.ProcessError,
    ) as error:
        return _fail(error)
    except (loop.NonFiniteLoss, loop.RunFailed) as error:
        return _fail(error, 1)
    except loop.RunInterrupted as error:
        return _fail(error, 128 + error.signal_number)
    except jax.errors.JaxRuntimeError as error:
        if processes.count() == 1:
            raise
        # What a collective says when the process at its other end is gone.
        return _fail(
            f"{_lines(error)[-1]} If this is about a connection, another process of "
            f"the run died or cannot be reached. {processes.GO_ON}",
            1,
        )
    return 0


def _fail(error: object, code: int = 2) -> int:
    print(f"launch.py: {error}", file=sys.stderr)
    return code


def _lines(error: Exception) -> list[str]:
    text = str(error).replace("\\n", "\n")  # of an error that quotes another
    return [line.strip() for line in text.splitlines() if line.strip()] or [""]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
