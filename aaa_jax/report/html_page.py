"""The HTML page: one file, nothing outside it, no script, light and dark."""

import base64
import html
import struct
from collections.abc import Sequence
from typing import NamedTuple

from aaa_jax.report.figures.style import DPI, Picture
from aaa_jax.report.text_table import TextTable, to_html

CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --soft: #5c5c5c;
  --line: #d0d0d0; --band: #f4f4f2; --link: #0b57a4; --warn: #fff2d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --paper: #17181a;
  --soft: #a9a9a6; --line: #43454a; --band: #212327; --link: #8ab8f0;
  --warn: #4a3a12; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.2rem 4rem; max-width: 76rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial,
  sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; padding-top: .6rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
a { color: var(--link); }
nav ul { padding-left: 1.2rem; margin: .4rem 0; }
.remark { background: var(--warn); padding: .6rem .9rem; border-radius: .3rem; }
.remark, .lead { max-width: 60rem; }
.note, figcaption { color: var(--soft); font-size: .88rem; max-width: 60rem; }
.note { margin: .35rem 0; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { background: var(--band); vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
figure { margin: 1rem 0 2rem; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: .3rem; }
figcaption { margin-top: .5rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; }
  figure, tr { break-inside: avoid; } nav { display: none; }
  .scroll { overflow: visible; } }
"""


class Section(NamedTuple):
    """A part of the page with a heading of its own.

    Attributes:
        title: the heading.
        parts: tables and figures in order.
    """

    title: str
    parts: tuple[TextTable | Picture, ...]


def render(
    title: str, lead: Sequence[str], remarks: Sequence[str], sections: Sequence[Section]
) -> str:
    """The page.

    Args:
        title: of the report, plain text like everything else.
        lead: paragraphs below the title.
        remarks: what must not be overlooked, each in a box.
        sections: with a table of contents before them.
    """
    contents = "\n".join(
        f'<li><a href="#{_anchor(number)}">{html.escape(section.title)}</a></li>'
        for number, section in enumerate(sections)
    )
    body = "\n".join(
        f'<section id="{_anchor(number)}">\n<h2>{html.escape(section.title)}</h2>\n'
        + "\n".join(_part(part, section.title) for part in section.parts)
        + "\n</section>"
        for number, section in enumerate(sections)
    )
    paragraphs = "\n".join(f"<p class=lead>{html.escape(text)}</p>" for text in lead)
    boxes = "\n".join(f"<p class=remark>{html.escape(text)}</p>" for text in remarks)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{html.escape(title)}</h1>
{boxes}
{paragraphs}
</header>
<nav aria-label="Contents">
<ul>
{contents}
</ul>
</nav>
<main>
{body}
</main>
</body>
</html>
"""


def _anchor(number: int) -> str:
    return f"part-{number + 1}"


def _part(part: TextTable | Picture, heading: str) -> str:
    if isinstance(part, TextTable):
        return to_html(part, has_heading=part.title == heading)
    kind, data = "png", part.png
    if part.svg is not None and len(part.svg) < len(part.png):
        kind, data = "svg+xml", part.svg
    encoded = base64.b64encode(data).decode()
    width, height = _shown_size(part)
    return (
        f"<h3>{html.escape(part.title)}</h3>\n<figure>\n"
        f'<img width={width} height={height} alt="{html.escape(part.alternative)}" '
        f'src="data:image/{kind};base64,{encoded}">\n'
        f"<figcaption>{html.escape(part.caption)}</figcaption>\n</figure>"
    )


def _shown_size(picture: Picture) -> tuple[int, int]:
    """Width and height in CSS pixels: a drawing's 96 to the inch, a sheet's own."""
    width, height = struct.unpack(">II", picture.png[16:24])  # the header of a PNG
    if picture.svg is None:
        return width, height
    return round(width * 96 / DPI), round(height * 96 / DPI)
