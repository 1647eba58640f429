"""How figures look, and how they become the same bytes every time.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; hatching,
line styles and lightness carry them through a grey print. Figures are drawn without
pyplot, so nothing depends on a display or on a setting of the user.
"""

import contextlib
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 144
# The page has colours of its own for these (`html_page.THEME`), and for no others.
INK, PAPER, FAINT, GREY, GRID = "#222222", "#ffffff", "#777777", "#666666", "#dddddd"
SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "axes.titlesize": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "aaa_jax",
    "svg.fonttype": "none",
    "path.simplify": True,
}
PALETTE = 256  # colours of a PNG
DIGITS = re.compile(r' (?:d|x|y|points)="[^"]*"')
LONG = re.compile(r"-?\d+\.\d{2,}")
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, RED, YELLOW = "#56B4E9", "#D55E00", "#B8A800"


class Look(NamedTuple):
    """How a method is drawn, everywhere the same."""

    color: str
    line: Any
    marker: str


LOOKS = {  # in the order in which methods are listed
    "baseline": Look(INK, "-", "o"),
    "cutout": Look(GREY, "--", "s"),
    "fixed": Look(YELLOW, "-.", "D"),
    "autoaugment": Look(GREEN, "--", "^"),
    "pba": Look(SKY, "-.", "v"),
    "randaugment": Look(PURPLE, ":", "P"),
    "trivialaugment": Look(PURPLE, "--", "X"),
    "random": Look(ORANGE, (0, (5, 1.5)), "s"),
    "ours": Look(BLUE, "-", "o"),
    "guarded": Look(RED, "-.", "^"),
    "restrained": Look(RED, ":", "v"),
    "fast": Look(RED, "--", "<"),
    "gain": Look(BLUE, "--", ">"),
    "transfer": Look(SKY, ":", "d"),
}
SPARE_LOOKS = (
    Look(GREEN, "-", "v"),
    Look(PURPLE, "-", "P"),
    Look(SKY, "--", "d"),
    Look(YELLOW, ":", "X"),
    Look(INK, ":", "*"),
)

# Kinds of ops share a hue: geometry blue, tone red and yellow, enhancement green.
OP_COLORS = (
    *("#08306b", "#2171b5", "#4292c6", "#9ecae1", "#deebf7"),
    *("#7f2704", "#d94801", "#fd8d3c", "#fdae6b", "#fee6ce"),
    *("#00441b", "#238b45", "#74c476", "#c7e9c0"),
    *("#54278f", "#bcbddc", "#eeeeee"),
)
OP_HATCHES = ("", "///", "", "|||", "", "\\\\\\", "", "---") * 2 + ("",)
STATE_LOOKS: dict[str, Any] = {
    "uniform": {"facecolor": "#dfe3e8", "hatch": ".."},
    "ok": {"facecolor": "#d5eadf", "hatch": ""},
    "narrowing": {"facecolor": "#f0b44c", "hatch": "///"},
    "collapsed": {"facecolor": "#8c1d04", "hatch": "xx"},
}


class Picture(NamedTuple):
    """A finished figure."""

    name: str  # of its files, without an ending
    title: str
    caption: str  # what is shown, in which unit, of which runs
    alternative: str  # what a reader who cannot see it should know
    png: bytes
    svg: bytes | None  # None of a picture made of pixels
    dark_png: bytes = b""  # on dark paper, of a picture made of pixels


@contextlib.contextmanager
def new_figure(
    rows: int, columns: int, *, width: float, height: float, **options: Any
) -> Iterator[tuple[Figure, np.ndarray]]:
    """An empty figure of a size in inches, and its axes [rows, columns].

    Inside, figures have our looks, whatever the user's settings are.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def finish(
    figure: Figure, *, name: str, title: str, caption: str, alternative: str
) -> Picture:
    """A figure as PNG and SVG, without a date or a version in either."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    figure.set_layout_engine("none")  # the SVG has the same places
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = DIGITS.sub(_short, text.getvalue()).encode()
    return Picture(name, title, caption, alternative, encode(pixels), svg)


def encode(pixels: np.ndarray, *, exact: bool = False) -> bytes:
    """PNG of uint8 [height, width, 3] with a palette, a third of the size.

    If `exact`, without a palette where that would change a pixel.
    """
    png = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    small = image.quantize(PALETTE)
    if exact and np.asarray(small.convert("RGB")).tobytes() != image.tobytes():
        small = image
    small.save(png, format="png", optimize=True)
    return png.getvalue()


def _short(attribute: re.Match[str]) -> str:
    """Coordinates with one decimal, a tenth of a point."""
    return LONG.sub(lambda number: f"{float(number.group()):.1f}", attribute.group())


def mean_mark(look: Look) -> dict[str, Any]:
    """Options of an error bar around the mean of a group."""
    return {"marker": look.marker, "markersize": 6, "color": look.color, "capsize": 4}


def open_marks(look: Look, size: float) -> dict[str, Any]:
    """Options of a plot of single runs: open marks, no line."""
    marks = {"marker": look.marker, "markersize": size, "markerfacecolor": "none"}
    return {"linestyle": "", "color": look.color, **marks}


def looks(methods: Sequence[str]) -> list[Look]:
    """A look for each group of a figure, another one where its method comes again."""
    chosen: list[Look] = []
    spare = itertools.cycle(SPARE_LOOKS)
    for method in methods:
        look = LOOKS.get(method)
        chosen.append(look if look and look not in chosen else next(spare))
    return chosen


def magnitude_colors(count: int) -> list[tuple[str, str]]:
    """From light (weak) to dark (strong), every third hatched."""
    scale = matplotlib.colormaps["YlOrBr"]
    return [
        (
            matplotlib.colors.to_hex(scale(0.05 + 0.9 * place / (count - 1))),
            "" if place % 3 else "///",
        )
        for place in range(count)
    ]


def spread(
    positions: Sequence[float], gap: float, low: float, high: float
) -> list[float]:
    """Places for labels at ascending positions, at least `gap` apart.

    Each is as near to its position as its neighbours allow, between low and high; where
    there is no room for all, they are spaced evenly.
    """
    count = len(positions)
    if count * gap >= high - low + gap:
        return list(np.linspace(low, high, count))
    placed: list[float] = []
    for position in positions:
        placed.append(max(position, placed[-1] + gap if placed else low))
    for number in reversed(range(count)):
        ceiling = placed[number + 1] - gap if number + 1 < count else high
        placed[number] = min(placed[number], ceiling)
    return placed
