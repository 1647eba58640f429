"""The HTML page: one file, nothing outside it, no script, light and dark."""

import base64
import html
import re
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aaa_jax.report.figures import style
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.first_screen import FirstScreen
from aaa_jax.report.text_table import TextTable, to_html
from aaa_jax.report.words import WORDS

CSS = """
:root { color-scheme: light dark; --ink: #222222; --paper: #ffffff; --soft: #5c5c5c;
  --line: #d8d8d8; --band: #f4f4f2; --link: #0b57a4; --warn: #fff2d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --paper: #17181a;
  --soft: #a9a9a6; --line: #43454a; --band: #212327; --link: #8ab8f0;
  --warn: #4a3a12; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.2rem 4rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial,
  sans-serif; }
h1 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 1rem; color: var(--soft);
  font-weight: 600; }
h2 { font-size: 1.4rem; margin: 3rem 0 .8rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
a { color: var(--link); }
nav { margin-top: 1.2rem; }
nav a { display: inline-block; margin-right: 1.2rem; }
.remark { background: var(--warn); padding: .6rem .9rem; border-radius: .3rem; }
.numbers { display: flex; flex-wrap: wrap; gap: .8rem 2.8rem; margin: .5rem 0 1rem; }
.numbers p { margin: 0; color: var(--soft); font-size: .9rem; max-width: 21rem; }
.numbers b { display: block; color: var(--ink); font-size: 3.2rem; line-height: 1.1;
  font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers small { font-size: 1.1rem; font-weight: 400; color: var(--soft); }
.verdict { font-size: 1.15rem; margin: .6rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem;
  font-size: .9rem; margin: 1.2rem 0; padding: .8rem 1rem; background: var(--band);
  border-radius: .3rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
dd code { font-size: .85rem; }
#words dl { background: none; padding: 0; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; } .numbers b { font-size: 2.6rem; } }
.note, figcaption { color: var(--soft); font-size: .88rem; }
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
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure img { display: block; max-width: none; }
figcaption { margin-top: .5rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; }
  figure, tr { break-inside: avoid; } nav { display: none; }
  .scroll { overflow: visible; } }
"""
# What a drawing has on white paper, and what it has on the page.
THEME = {
    style.INK: "var(--ink)",
    style.PAPER: "var(--paper)",
    style.FAINT: "var(--soft)",
    style.GREY: "var(--soft)",
    style.GRID: "var(--line)",
    "'DejaVu Sans'": "'DejaVu Sans', Verdana, 'Segoe UI', sans-serif",
}
WIDEN = 1.75  # CSS pixels to a point, where there is room
OWN_STYLE = re.compile(r"<metadata>.*?</metadata>|<style .*?</style>", re.DOTALL)
REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


class Section(NamedTuple):
    """A part of the page with a heading of its own."""

    title: str
    parts: tuple[TextTable | Picture, ...]


def render(first: FirstScreen, sections: Sequence[Section]) -> str:
    """The page: the first screen, the sections, what the words mean.

    All text is plain, and escaped here.
    """
    words = _list((name, html.escape(text)) for name, text in WORDS.items())
    blocks = [
        (f"part-{n}", s.title, "\n".join(_part(part, s.title) for part in s.parts))
        for n, s in enumerate(sections, 1)
    ]
    blocks.append(("words", "What the words mean", words))
    contents = "\n".join(
        f'<a href="#{anchor}">{html.escape(title)}</a>' for anchor, title, _ in blocks
    )
    body = "\n".join(
        f'<section id="{anchor}">\n<h2>{html.escape(title)}</h2>\n{block}\n</section>'
        for anchor, title, block in blocks
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(first.title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
{_first_screen(first)}
</header>
<nav aria-label="Contents">
{contents}
</nav>
<main>
{body}
</main>
</body>
</html>
"""


def _first_screen(first: FirstScreen) -> str:
    numbers = "\n".join(
        f"<p><b>{html.escape(each.number)} <small>{html.escape(each.spread)}</small>"
        f"</b>{html.escape(each.label)}</p>"
        for each in first.headlines
    )
    recipe = _list(
        (
            name,
            "<br>".join(
                f"<code>{html.escape(line)}</code>"
                if name in ("command", "commit")
                else html.escape(line)
                for line in lines
            ),
        )
        for name, lines in first.recipe
    )
    return "\n".join(
        (
            f"<h1>{html.escape(first.title)}</h1>",
            f"<div class=numbers>\n{numbers}\n</div>",
            *(f"<p class=verdict>{html.escape(text)}</p>" for text in first.verdicts),
            *(f"<p class=remark>{html.escape(text)}</p>" for text in first.remarks),
            recipe,
        )
    )


def _list(entries: Iterable[tuple[str, str]]) -> str:
    """Names, plain, and what belongs to them, already HTML."""
    lines = (f"<dt>{html.escape(name)}</dt><dd>{text}</dd>" for name, text in entries)
    return "\n".join(("<dl>", *lines, "</dl>"))


def _part(part: TextTable | Picture, heading: str) -> str:
    if isinstance(part, TextTable):
        return to_html(part, has_heading=part.title == heading)
    drawn = _sheet(part) if part.svg is None else _drawing(part, part.svg.decode())
    return (
        f"<h3>{html.escape(part.title)}</h3>\n<figure>\n{drawn}\n"
        f"<figcaption>{html.escape(part.caption)}</figcaption>\n</figure>"
    )


def _drawing(picture: Picture, svg: str) -> str:
    """An SVG as a part of the page, in the page's colours and as wide as it may be."""
    svg = OWN_STYLE.sub("", svg[svg.index("<svg") :])
    for own, themed in THEME.items():
        svg = svg.replace(own.lower(), themed)
    # Ids are unique in a file, and must be so on the page.
    svg = REFERENCE.sub(rf"\1{picture.name}-", svg)
    [width] = re.findall(r'viewBox="0 0 ([\d.]+)', svg)
    size = f'style="max-width: {WIDEN * float(width):.0f}px"'
    words = f'role="img" aria-label="{html.escape(picture.alternative)}"'
    return svg.replace("<svg ", f"<svg {size} {words} ", 1)


def _sheet(picture: Picture) -> str:
    """Pixels as large as they are, on light and on dark paper."""
    width, height = struct.unpack(">II", picture.png[16:24])  # the header of a PNG
    return (
        '<div class=scroll><picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{_data(picture.dark_png)}"><img width={width} height={height} '
        f'alt="{html.escape(picture.alternative)}" src="{_data(picture.png)}">'
        "</picture></div>"
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
