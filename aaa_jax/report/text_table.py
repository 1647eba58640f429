"""A table in words, and the same as Markdown and as HTML."""

import html
from typing import NamedTuple


class TextTable(NamedTuple):
    """A table whose cells are text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # as long as the header
    notes: tuple[str, ...] = ()  # below it

    def without_empty_columns(self) -> "TextTable":
        """The columns in which something stands."""
        columns = list(zip(self.header, *self.rows, strict=True))
        kept = [column for column in columns if any(column[1:])]
        header, *rows = zip(*kept, strict=True)
        return self._replace(header=header, rows=tuple(rows))


def to_markdown(table: TextTable) -> str:
    """A heading, the table, its notes."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in escaped)
    return "\n\n".join([f"### {table.title}", rows, *table.notes])


def to_html(table: TextTable, *, has_heading: bool = False) -> str:
    """The table and its notes, with a caption where no heading says the same."""
    title = html.escape(table.title)
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.header)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(_unbroken(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in table.notes)
    caption = "" if has_heading else f"<caption>{title}</caption>"
    return (
        f'<div class=scroll role=region tabindex=0 aria-label="{title}">'
        f"<table>{caption}<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>\n{notes}"
    )


def _unbroken(cell: str) -> str:
    """The cell; its lines break before a bracket, not between a number and its ±."""
    for text in (" ± ", "n = ", "1 run", "1 pair", ", +", ", -"):
        cell = cell.replace(text, text.replace(" ", "\N{NO-BREAK SPACE}"))
    return cell
