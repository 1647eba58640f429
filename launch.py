"""Trains one run: `python launch.py --config=configs/NAME.py[:ARGUMENT]`.

Flags and one call: `aaa_jax.commands.train`, which `aaa-jax train` shares, says what
they mean and what the exit codes are.
"""

import sys

from aaa_jax.runtime import output, signals

if __name__ == "__main__":  # before the imports that take their time
    output.drop_what_fails()
    signals.end_in_one_line("launch.py")

from aaa_jax.commands import train


def main(argv: list[str]) -> int:
    """Trains, as the flags say; an exit code."""
    return train.main(argv[1:], train.Program("launch.py", (argv[0],)))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
