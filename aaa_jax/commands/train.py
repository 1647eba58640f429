"""Trains one run, or every cell of a table that is not finished.

    aaa-jax train --config=digits:random
    python launch.py --config=configs/imagenet_r50.py

The run's directory is runs/NAME[-ARGUMENT][-seedS], unless --workdir=DIR names another.
For a table, such as table1, every cell runs in a process of its own; --list says what
is done, and configs/table.py more. --plan says what the command would do, and does
nothing.

Exit codes: 0 the run is finished; 2 the command cannot work, and a line for each
problem says why; 1 the run failed, and says why; 128 + n the run was saved on signal n,
and the same command resumes it, or there was nothing to save yet; 134 another process
of the run died.

On a pod the same command is started in every process (docs/pods.md).
"""

import functools
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from aaa_jax.commands import config_flag
from aaa_jax.commands.config_flag import UsageError
from aaa_jax.runtime import paths

# Name: default, and what --help says.
FLAGS = {
    "workdir": ("", "the run's directory, or a table's; without: below runs/"),
    "plan": (False, "say what the command would do, and do nothing"),
    "deterministic": (False, "bit-equal repeats on GPUs too"),
}
LISTS = ("", "cells", "commands")  # of --list: `config_flag.normalize` makes it "cells"
POD_FLAGS = {  # arguments of `aaa_jax.runtime.processes.initialize`; see docs/pods.md
    "distributed": ("auto", "on; off; auto: where the environment shows processes"),
    "coordinator": ("", "host:port of process 0, unless the environment tells it"),
    "num_processes": (0, "how many processes the run has"),
    "process_id": (-1, "which of them this is, from 0"),
    "connect_seconds": (300, "how long to wait for the other processes at the start"),
    "heartbeat_seconds": (60, "a process not heard of for so long is taken for dead"),
}
DEFINE: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    str: flags.DEFINE_string,
}


class Program(NamedTuple):
    """How the command was started."""

    name: str  # which every message begins with
    words: tuple[str, ...]  # what stands between `python` and the flags


class Command(NamedTuple):
    """A command line."""

    config: ConfigDict
    workdir: str  # of the run, or of the table
    origin: dict[str, Any]  # what the run is, for its report; see `config_flag.origin`
    pod: dict[str, Any]  # the values of `POD_FLAGS`
    plans: bool  # whether it is said what would be done, and nothing is done
    lists: str  # of `LISTS`: what of a table's cells is shown, if they are not run


AAA_JAX = Program("aaa-jax train", ("-m", "aaa_jax", "train"))


def main(given: Sequence[str], program: Program = AAA_JAX) -> int:
    """Trains, and turns what can go wrong into one line and an exit code.

    Args:
        given: the flags.
        program: how the command was started.
    """
    fail = functools.partial(_fail, program)
    try:
        command = parse(given, program)
    except (UsageError, paths.PathError) as error:
        return fail(error)
    # Only now: a wrong command line is answered at once.
    from aaa_jax.data.errors import DatasetError
    from aaa_jax.experiments import table_cells
    from aaa_jax.experiments.config_rules import ConfigError
    from aaa_jax.runtime import processes
    from aaa_jax.runtime.devices import NoDeviceError

    try:
        if "table" in command.config:
            if command.lists or not table_cells.is_one_cell(command.config):
                return _whole_table(command, given, program)
            [cell] = table_cells.select_cells(command.config)
            command = command._replace(
                config=table_cells.cell_config(command.config, cell),
                workdir=os.path.join(command.workdir, cell.name),
                origin=table_cells.cell_origin(command.origin, command.config, cell),
            )
        if command.plans:
            from aaa_jax.commands import plan

            print("\n".join(plan.plan_run(command.config, command.workdir)))
            return 0
    except (table_cells.TableError, ConfigError, DatasetError, NoDeviceError) as error:
        return fail(error)
    if command.config.deterministic:
        # Read by XLA when the backend starts; without effect on the CPU.
        os.environ["XLA_FLAGS"] = (
            os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
        )
    try:
        processes.initialize(**command.pod)
    except processes.ProcessError as error:
        return fail(error)
    code = _train(command, program)
    processes.disconnect(code)
    return code


def parse(given: Sequence[str], program: Program = AAA_JAX) -> Command:
    """What the command line says.

    Raises:
        UsageError: the command line cannot work.
    """
    words = config_flag.normalize(given)
    values = flags.FlagValues()
    config_flag.define(values, words)
    for name, (default, text) in (FLAGS | POD_FLAGS).items():
        define = DEFINE[type(default)]
        define(name, default, text, flag_values=values)
    text = "what of a table is done; --list=commands: each cell's command"
    flags.DEFINE_enum("list", "", LISTS, text, flag_values=values)
    flags.DEFINE_bool("help", False, "this text", short_name="h", flag_values=values)
    names = {word.split("=")[0].lstrip("-") for word in words}
    if not {"config", "help", "h"} & names:
        raise UsageError(f"--config is missing; give {config_flag.HINT}")
    try:
        stray = values(["", *words])[1:]
    except Exception as error:  # anything: a config file is a program
        raise UsageError(*config_flag.problems(error, words)) from error
    if values.help:
        print(program.name, __doc__, values.get_help(), sep="\n")
        sys.exit(0)
    if stray:
        raise UsageError(f"stray argument {stray[0]!r}; every option is --name=value")
    config = config_flag.require_config(values)
    is_table = "table" in config
    if values.list and not is_table:
        raise UsageError("--list is for tables, such as --config=configs/table1.py")
    workdir = paths.expand(values.workdir) or _default_workdir(values, config)
    if values.deterministic:
        (config.cell if is_table else config).deterministic = True
    pod = {name: values[name].value for name in POD_FLAGS}
    told = {"command": shlex.join(["python", *program.words, *given])}
    origin = config_flag.origin(values) | told
    return Command(config, workdir, origin, pod, values.plan, values.list)


def _default_workdir(values: flags.FlagValues, config: ConfigDict) -> str:
    """runs/NAME[-ARGUMENT][-seedS], as the command says it; for a table runs/TABLE."""
    if "table" in config:
        return f"runs/{config.table}"
    path, _, argument = config_flag.filename(values).partition(":")
    parts = [pathlib.Path(path).stem, argument.replace("/", "-")]
    parts += [f"seed{config.seed}"] if config.seed else []
    return f"runs/{'-'.join(part for part in parts if part)}"


def _whole_table(command: Command, given: Sequence[str], program: Program) -> int:
    """Lists a table's cells, or runs them, each in its own process; an exit code."""
    from aaa_jax.commands import list_table, plan
    from aaa_jax.experiments import run_table

    def command_of(cell: Any) -> list[str]:
        words = cell_words(given, cell.name, command.workdir)
        return [sys.executable, *program.words, *words]

    where = command.config, command.workdir
    if command.lists == "commands":
        lines = list_table.list_commands(*where, command_of)
    elif command.lists:
        lines = list_table.list_rows(*where)
    elif command.plans:
        lines = plan.plan_table(*where)
    else:
        return run_table.run_cells(*where, command_of)
    print("\n".join(lines))
    return 0


def cell_words(given: Sequence[str], cell: str, workdir: str) -> list[str]:
    """The words of a table's command as those of one of its cells."""
    kept, rest = [], list(given)
    path = ""
    while rest:
        word = rest.pop(0)
        name, is_whole, value = word.lstrip("-").partition("=")
        if name in ("config", "workdir"):
            value = value if is_whole else rest.pop(0)
            path = value.partition(":")[0] if name == "config" else path
        elif name not in ("list", "plan"):
            kept.append(word)
    return [f"--config={path}:{cell}", f"--workdir={workdir}", *kept]


def _train(command: Command, program: Program) -> int:
    """The run, and the exit code of how it ended."""
    import jax

    from aaa_jax import data
    from aaa_jax.experiments import table_cells
    from aaa_jax.runtime import devices, processes
    from aaa_jax.train import loop
    from aaa_jax.workdir import checkpoints, run_directory

    fail = functools.partial(_fail, program)
    try:
        if "table" in command.origin:
            here = len(devices.all_devices()), processes.count()
            said = table_cells.fit_devices(command.config, *here)
            if said and processes.is_first():
                print(f"{program.name}: {command.workdir} {said}", flush=True)
        loop.train_and_evaluate(command.config, command.workdir, command.origin)
    except (
        loop.ConfigError,
        data.DatasetError,
        run_directory.RunDirectoryError,
        checkpoints.CheckpointError,
        processes.ProcessError,
        devices.NoDeviceError,
    ) as error:
        return fail(error)
    except (loop.NonFiniteLoss, loop.RunFailed) as error:
        return fail(error, 1)
    except loop.RunInterrupted as error:
        return fail(error, 128 + error.signal_number)
    except jax.errors.JaxRuntimeError as error:
        if processes.count() == 1:
            raise
        # What a collective says when the process at its other end is gone.
        return fail(
            f"{config_flag.lines_of(error)[-1]} If this is about a connection, another "
            f"process of the run died or cannot be reached. {processes.GO_ON}",
            1,
        )
    return 0


def _fail(program: Program, error: object, code: int = 2) -> int:
    """Says what went wrong, a line for each problem."""
    problems = error.args if isinstance(error, ValueError) else ()
    for problem in problems if len(problems) > 1 else [error]:
        print(f"{program.name}: {problem}", file=sys.stderr)
    return code
