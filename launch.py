"""Trains one run: `python launch.py --config=configs/NAME.py[:ARGUMENT] --workdir=DIR`.

Of a table, such as configs/table1.py, it runs every cell, each in a process of its own;
`--list` shows them; `configs/table.py` says more.

Flags and one call; Algorithm 1 is `aaa_jax.train.loop.train_and_evaluate`. Exit codes:
0 the run is finished; 2 the command cannot work, and one line says why; 1 the run
failed, and says why; 128 + n the run was saved on signal n, and the same command
resumes it, or there was nothing to save yet.

On a pod the same command is started in every process (docs/pods.md).
"""

import contextlib
import inspect
import os
import pathlib
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
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


class UsageError(ValueError):
    """The command line cannot work."""


class Command(NamedTuple):
    """A command line.

    Attributes:
        config: with its overrides.
        workdir: the run's directory.
        origin: what the run is, for its report: preset, argument, overrides, command.
        processes: arguments of `aaa_jax.runtime.processes.initialize`.
        lists: whether a table's cells are to be shown, not run.
        table: whose cell is to be run; "": an ordinary run.
        cell: which one.
    """

    config: ConfigDict
    workdir: str
    origin: dict[str, Any]
    processes: dict[str, Any]
    lists: bool = False
    table: str = ""
    cell: str = ""


def parse(argv: Sequence[str]) -> Command:
    """What the command line says.

    Raises:
        UsageError: in one line, what is wrong with the command line.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, CONFIG_HINT, flag_values=values)
    flags.DEFINE_string("workdir", None, "the run's directory", flag_values=values)
    flags.DEFINE_bool(
        "deterministic",
        False,
        "the same as --config.deterministic: bit-equal repeats on GPUs too",
        flag_values=values,
    )
    _define_processes(values)
    flags.DEFINE_bool("list", False, "show a table's cells", flag_values=values)
    flags.DEFINE_bool("help", False, "this text", short_name="h", flag_values=values)
    sys.argv[:] = argv  # where config_flags looks for overrides
    given = [argument.split("=")[0].lstrip("-") for argument in argv[1:]]
    if any(name.startswith("config.") for name in given) and "config" not in given:
        raise UsageError(f"--config is missing; give {CONFIG_HINT}")
    try:
        stray = values(argv)[1:]
        if values.help:
            print(__doc__, values.main_module_help(), values.get_help(), sep="\n")
            sys.exit(0)
        config = values.config
        if config is not None:
            path = values["config"].config_filename.split(":")[0]
            _check_file(path)
            _check_loaded(path, config)
    except (LookupError, AttributeError) as error:
        overrides = [f"--{name}" for name in given if name.startswith("config.")]
        hint = ". ".join(str(argument) for argument in error.args).replace("\n", ". ")
        place = _place(error, argv)
        if place or not overrides:
            raise UsageError(
                f"--config: {place}{type(error).__name__}: {hint}"
            ) from error
        raise UsageError(
            f"the config has no such key as in {', '.join(overrides)}: {hint}"
        ) from error
    except (flags.Error, OSError, ValueError) as error:
        raise UsageError(_place(error, argv) + _one_line(error)) from error
    except Exception as error:  # of the config file, which is a program
        raise UsageError(
            f"--config: {_place(error, argv)}{type(error).__name__}: {_one_line(error)}"
        ) from error
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}; every option is --name=value")
    if config is None:
        raise UsageError(f"--config is missing; give {CONFIG_HINT}")
    is_table = "table" in config
    if values.list and not is_table:
        raise UsageError("--list is for tables, such as --config=configs/table1.py")
    workdir = values.workdir or (f"runs/{config.table}" if values.list else "")
    if not workdir:
        raise UsageError("--workdir is missing; give --workdir=DIR, such as runs/first")
    if values.deterministic:
        (config.cell if is_table else config).deterministic = True
    joining = {
        "mode": values.distributed,
        "coordinator": values.coordinator,
        "num_processes": values.num_processes,
        "process_id": values.process_id,
        "seconds": values.connect_seconds,
        "heartbeat_seconds": values.heartbeat_seconds,
    }
    origin = _origin(values, argv)
    return Command(config, workdir, origin, joining, values.list)


def main(argv: Sequence[str]) -> int:
    """Trains, and turns what can go wrong into one line and an exit code."""
    try:
        command = parse(argv)
    except UsageError as error:
        return _refuse(error)
    if "table" in command.config:
        from aaa_jax.experiments import run_table, table_cells

        try:
            if command.lists or not table_cells.is_one_cell(command.config):
                return run_table.main(
                    command.config, command.workdir, argv, command.lists
                )
            [cell] = table_cells.select_cells(command.config)
            config = table_cells.cell_config(command.config, cell)
            table = command.config.table
        except table_cells.TableError as error:
            return _refuse(error)
        workdir = os.path.join(command.workdir, cell.name)
        origin = command.origin | table_cells.cell_origin(command.config, cell)
        command = command._replace(
            config=config,
            workdir=workdir,
            origin=origin,
            table=table,
            cell=cell.name,
        )
    if command.config.deterministic:
        # Read by XLA when the backend starts; without effect on the CPU.
        os.environ["XLA_FLAGS"] = (
            os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
        )
    # Only now: a wrong command line is answered at once.
    from aaa_jax.runtime import processes

    try:
        processes.initialize(**command.processes)
    except processes.ProcessError as error:
        return _refuse(error)
    code = _train(command)
    processes.leave(code)
    return code


def _train(command: Command) -> int:
    """The run, and the exit code of how it ended."""
    import jax

    from aaa_jax import data
    from aaa_jax.runtime import processes
    from aaa_jax.train import loop
    from aaa_jax.workdir import checkpoints, run_directory

    try:
        with _as_cell(command) if command.table else contextlib.nullcontext():
            loop.train_and_evaluate(command.config, command.workdir, command.origin)
    except (
        loop.ConfigError,
        data.DatasetError,
        run_directory.RunDirectoryError,
        checkpoints.CheckpointError,
        processes.ProcessError,
    ) as error:
        return _refuse(error)
    except (loop.NonFiniteLoss, loop.RunFailed) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    except loop.RunInterrupted as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 128 + error.signal_number
    except jax.errors.JaxRuntimeError as error:
        if processes.count() == 1:
            raise
        # What a collective says when the process at its other end is gone.
        print(
            f"launch.py: {_one_line(error)}\nlaunch.py: if this is about a connection, "
            f"another process of the run died or cannot be reached. {processes.GO_ON}",
            file=sys.stderr,
        )
        return 1
    return 0


@contextlib.contextmanager
def _as_cell(command: Command) -> Iterator[None]:
    """On as many devices as can share its groups; its run then says whose cell it is.

    However the run ends: from then on a report finds the table.
    """
    import jax

    from aaa_jax.experiments import table_cells
    from aaa_jax.runtime import processes

    said = table_cells.fit_devices(
        command.config, jax.device_count(), processes.count()
    )
    if said and processes.is_first():
        print(f"launch.py: {command.cell} {said}", flush=True)
    try:
        yield
    finally:
        if processes.is_first():
            table_cells.record_table(command.workdir, command.table)


def _origin(values: flags.FlagValues, argv: Sequence[str]) -> dict[str, Any]:
    """What a report is told of the run: where its config and its overrides are from."""
    flag = values["config"]
    path, _, argument = flag.config_filename.partition(":")
    # Where config_flags keeps the module that it loaded.
    get_config = sys.modules["config_config"].get_config
    for parameter in inspect.signature(get_config).parameters.values():
        argument = argument or parameter.default or ""
    return {
        "preset": pathlib.Path(path).stem,
        "argument": argument,
        "overrides": sorted(flag.override_values),
        "command": shlex.join(["python", *argv]),
    }


def _define_processes(values: flags.FlagValues) -> None:
    """The flags that join the processes of a pod; see docs/pods.md."""
    flags.DEFINE_string(
        "distributed",
        "auto",
        "auto: when the environment or --coordinator says so; on; off",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator",
        "",
        "host:port of process 0, the same in every process; where Slurm, Open MPI or a "
        "TPU pod is not recognised",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_processes", 0, "how many processes the run has", flag_values=values
    )
    flags.DEFINE_integer(
        "process_id", -1, "which of them this is, from 0", flag_values=values
    )
    flags.DEFINE_integer(
        "connect_seconds",
        300,
        "how long to wait for the other processes at the start",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "heartbeat_seconds",
        60,
        "a process that is not heard of for so long is taken for dead, and all end",
        flag_values=values,
    )


def _refuse(error: Exception) -> int:
    print(f"launch.py: {error}", file=sys.stderr)
    return 2


def _check_file(path: str) -> None:
    if not os.path.isfile(path):
        known = sorted(pathlib.Path(__file__).parent.glob("configs/*.py"))
        presets = [p.stem for p in known if p.stem not in NO_PRESETS]
        raise UsageError(
            f"--config: there is no file {path!r}; presets in configs/: "
            f"{', '.join(presets)}"
        )


def _check_loaded(path: str, config: object) -> None:
    if not isinstance(config, ConfigDict):
        raise UsageError(f"--config: {path} has no get_config that returns a config")


def _place(error: Exception, argv: Sequence[str]) -> str:
    """Which line of a config file named in the command raised an error, if one did."""
    named = " ".join(argv)
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    for name, line in reversed(places):
        is_this = os.path.abspath(name) == os.path.abspath(__file__)
        if name.endswith(".py") and os.path.basename(name) in named and not is_this:
            return f"{os.path.relpath(name)}, line {line}: "
    return ""


def _one_line(error: Exception) -> str:
    """What an error of the flags says, without the traceback that it quotes."""
    if isinstance(error, UsageError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ValueError: ") if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv))
