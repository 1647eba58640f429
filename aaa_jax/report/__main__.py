"""`python -m aaa_jax.report RUN... [--output=DIR]`; exit codes: 0; 2 wrong input."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from aaa_jax.report import ReportError, write_report
from aaa_jax.runtime.paths import PathError

USAGE = """\
Writes report.html (one file, nothing outside it), results.md, results.csv and figures
as PNG and SVG. RUN is a run directory, a table's directory, or any folder with run
directories up to three levels below; more than one may be given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, writes the report, says where it is."""
    parser = argparse.ArgumentParser(
        prog="aaa-jax report", description=USAGE, allow_abbrev=False
    )
    parser.add_argument("runs", metavar="RUN", nargs="+")
    parser.add_argument(
        "--output",
        help="a folder; default: `report` in RUN if there is one RUN, else here",
    )
    parser.add_argument("--title", default="", help="of the page")
    parser.add_argument(
        "--note",
        default="",
        help="what a reader must know, such as of the data; printed on top",
    )
    parser.add_argument(
        "--epochs",
        type=_epochs,
        default=(),
        help="the epochs whose policies are shown, such as 30,90,120; default: the "
        "first, a quarter, half and the last",
    )
    options = parser.parse_args(arguments)
    only = pathlib.Path(options.runs[0]) if len(options.runs) == 1 else pathlib.Path()
    output = options.output or only / "report"
    try:
        page = write_report(
            options.runs,
            output,
            title=options.title,
            note=options.note,
            epochs=options.epochs,
        )
    except (ReportError, PathError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


def _epochs(text: str) -> tuple[int, ...]:
    try:
        epochs = tuple(int(part) for part in text.split(","))
    except ValueError:
        epochs = ()
    if not epochs or min(epochs) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: whole numbers from 1 with commas are needed, such as 30,90,120"
        )
    return epochs


if __name__ == "__main__":
    sys.exit(main())
