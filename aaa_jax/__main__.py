"""`python -m aaa_jax COMMAND …`, installed as `aaa-jax`: a table of commands.

Exit codes: 0; 1 something failed; 2 the command cannot work; `commands.train` has more.
"""

import importlib
import sys
from collections.abc import Callable, Sequence

from aaa_jax.runtime import output

USAGE = """\
usage: aaa-jax COMMAND … (each has --help)
  train         --config=NAME[:ARGUMENT]: trains a run, or the cells of a table.
  plan          --config=NAME[:ARGUMENT]: what `train` would do, and how long it takes.
  prepare       NAME: write a dataset as a TFDS folder, once.
  predict       RUN IMAGE …: the classes of images of your own.
  evaluate      RUN: errors and loss on its test images, or on --data=NAME.
  export        RUN --weights=FILE.safetensors: the network for other programs.
  probe         RUN: which (op, magnitude) pairs destroy the label.
  corruptions   RUN …: the error on corrupted test images.
  policies      RUN: the learned policies as JSON.
  report        RUN …: a page, figures and tables from run directories.
  contact-sheet FOLDER: what policies do to pictures of yours, as one labelled picture.\
"""
Main = Callable[[Sequence[str]], int]


def _train(arguments: Sequence[str]) -> int:
    from aaa_jax.runtime import signals

    signals.end_in_one_line("aaa-jax train")
    from aaa_jax.commands import train

    return train.main(arguments)


def _plan(arguments: Sequence[str]) -> int:
    from aaa_jax.commands import train

    program = train.Program("aaa-jax plan", train.AAA_JAX.words)
    return train.main([*arguments, "--plan"], program)


def _policies(arguments: Sequence[str]) -> int:
    from aaa_jax.runtime import devices
    from aaa_jax.search import export

    try:
        devices.all_devices()  # on which policies are sampled
    except devices.NoDeviceError as error:
        print(f"aaa-jax policies: {error}", file=sys.stderr)
        return 2
    return export.main(arguments)


def _main_of(module: str) -> Main:
    """The `main` of a module of this package, which is imported when it is called."""
    return lambda given: importlib.import_module(f"aaa_jax.{module}").main(given)


COMMANDS: dict[str, Main] = {
    "train": _train,
    "plan": _plan,
    "prepare": _main_of("data.prepare.preparers"),
    "predict": _main_of("trained.predict"),
    "evaluate": _main_of("trained.evaluate"),
    "export": _main_of("trained.export"),
    "probe": _main_of("trained.probe"),
    "corruptions": _main_of("trained.corruptions"),
    "policies": _policies,
    "report": _main_of("report.__main__"),
    "contact-sheet": _main_of("commands.contact_sheet"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 2 and the list of commands where there is no such."""
    if arguments is None:
        output.drop_what_fails()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    is_help = given[:1] in (["--help"], ["-h"])
    if given and not is_help:
        print(f"aaa-jax: there is no command {given[0]!r}", file=sys.stderr)
    print(USAGE, file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else 2


if __name__ == "__main__":
    sys.exit(main())
