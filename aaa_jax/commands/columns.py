"""Lines of a list on a screen, in columns."""

from collections.abc import Sequence


def in_columns(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """A line for each row, of equally many texts.

    Args:
        rows: the texts.
        numbers: all but the first are, and stand at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if numbers and place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
