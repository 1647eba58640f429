"""`python -m aaa_jax COMMAND …`, installed as `aaa-jax`: a table of commands.

Exit codes: 0; 1 something failed; 2 the command cannot work; `commands.train` has more.
"""

import sys
from collections.abc import Callable, Sequence

from aaa_jax.runtime import output


def _train(arguments: Sequence[str]) -> int:
    """--config=NAME[:ARGUMENT]: trains a run, or the cells of a table."""
    from aaa_jax.runtime import first_signals

    first_signals.end_in_one_line("aaa-jax train")
    from aaa_jax.commands import train

    return train.main(arguments)


def _plan(arguments: Sequence[str]) -> int:
    """--config=NAME[:ARGUMENT]: what `train` would do, and how long it would take."""
    from aaa_jax.commands import train

    program = train.Program("aaa-jax plan", train.AAA_JAX.words)
    return train.main([*arguments, "--plan"], program)


def _prepare(arguments: Sequence[str]) -> int:
    """NAME: write a dataset as a TFDS folder, once."""
    from aaa_jax.data.prepare import preparers

    return preparers.main(list(arguments))


def _predict(arguments: Sequence[str]) -> int:
    """RUN IMAGE …: the classes of images of your own."""
    from aaa_jax.trained import predict

    return predict.main(arguments)


def _evaluate(arguments: Sequence[str]) -> int:
    """RUN: errors and loss on its test images, or on --data=NAME."""
    from aaa_jax.trained import evaluate

    return evaluate.main(arguments)


def _export(arguments: Sequence[str]) -> int:
    """RUN --weights=FILE.safetensors: the network for other programs."""
    from aaa_jax.trained import export

    return export.main(arguments)


def _probe(arguments: Sequence[str]) -> int:
    """RUN: which (op, magnitude) pairs destroy the label."""
    from aaa_jax.trained import probe

    return probe.main(arguments)


def _corruptions(arguments: Sequence[str]) -> int:
    """RUN …: the error on corrupted test images."""
    from aaa_jax.trained import corruptions

    return corruptions.main(arguments)


def _policies(arguments: Sequence[str]) -> int:
    """RUN: the learned policies as JSON."""
    from aaa_jax.runtime import devices
    from aaa_jax.search import export

    try:
        devices.all_devices()  # on which policies are sampled
    except devices.NoDeviceError as error:
        print(f"aaa-jax policies: {error}", file=sys.stderr)
        return 2
    return export.main(arguments)


def _report(arguments: Sequence[str]) -> int:
    """RUN …: a page, figures and tables from run directories."""
    from aaa_jax.report.__main__ import main as report

    return report(list(arguments))


def _contact_sheet(arguments: Sequence[str]) -> int:
    """FOLDER: what policies do to pictures of yours, as one labelled picture."""
    from aaa_jax.commands import contact_sheet

    return contact_sheet.main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "plan": _plan,
    "prepare": _prepare,
    "predict": _predict,
    "evaluate": _evaluate,
    "export": _export,
    "probe": _probe,
    "corruptions": _corruptions,
    "policies": _policies,
    "report": _report,
    "contact-sheet": _contact_sheet,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 2 and the list of commands where there is no such."""
    if arguments is None:
        output.drop_what_fails()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    is_help = given[:1] in (["--help"], ["-h"])
    lines = [f"  {name:13} {made.__doc__}" for name, made in COMMANDS.items()]
    if given and not is_help:
        print(f"aaa-jax: there is no command {given[0]!r}", file=sys.stderr)
    print(
        "\n".join(["usage: aaa-jax COMMAND … (each has --help)", *lines]),
        file=sys.stdout if is_help else sys.stderr,
    )
    return 0 if is_help else 2


if __name__ == "__main__":
    sys.exit(main())
