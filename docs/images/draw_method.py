"""Draws the figure of the method: `python docs/images/draw_method.py > method.svg`.

A drawing of its own, with a background of its own, for light and dark pages.
"""

WIDTH, HEIGHT = 720, 400
STYLE = """
svg { --paper: #ffffff; --ink: #222222; --soft: #5c5c5c; --box: #f1f3f5;
  --lower: #0b6e4f; --raise: #b3410e; }
@media (prefers-color-scheme: dark) { svg { --paper: #17181a; --ink: #e8e8e6;
  --soft: #b4b4b0; --box: #2a2d32; --lower: #5fd3a6; --raise: #ff9d66; } }
.paper { fill: var(--paper); }
.box { fill: var(--box); stroke: var(--soft); }
text { fill: var(--ink); font: 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
  text-anchor: middle; }
.title { font-weight: 600; }
.note { fill: var(--soft); font-size: 12.5px; }
.line { fill: none; stroke: var(--soft); stroke-width: 1.8; }
.lower { fill: none; stroke: var(--lower); stroke-width: 2.4; }
.raise { fill: none; stroke: var(--raise); stroke-width: 2.4; }
text.lower, text.raise { stroke: none; font-size: 12.5px; font-weight: 600; }
text.lower { fill: var(--lower); } text.raise { fill: var(--raise); }
.tip-line { fill: var(--soft); } .tip-lower { fill: var(--lower); }
.tip-raise { fill: var(--raise); }
"""
HUES = (210, 35, 150, 330)  # of the policies and of their instances
IMAGES = 5  # of the mini-batch


def box(x: float, y: float, width: float, height: float, look: str = "box") -> str:
    """A rounded rectangle."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect class="{look}" {place} rx="6"/>'


def text(x: float, y: float, words: str, look: str = "") -> str:
    """A centred line of text."""
    return f'<text class="{look}" x="{x}" y="{y}">{words}</text>'


def arrow(path: str, look: str = "line") -> str:
    """A line with a tip at its end."""
    return f'<path class="{look}" d="{path}" marker-end="url(#{look})"/>'


def tip(look: str) -> str:
    """The marker of an arrow's end."""
    size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"'
    head = f'<path class="tip-{look}" d="M0 0L8 4L0 8z"/>'
    units = 'markerUnits="userSpaceOnUse" orient="auto"'
    return f'<marker id="{look}" {size} {units}>{head}</marker>'


def images(x: float, y: float, hue: int, saturation: int) -> list[str]:
    """A row of images, small squares of which no two are equal."""
    return [
        f'<rect x="{x + 24 * n}" y="{y}" width="21" height="21" rx="2" '
        f'fill="hsl({hue} {saturation}% {38 + 8 * n}%)"/>'
        for n in range(IMAGES)
    ]


def parts() -> list[str]:
    """All shapes, in the order in which they are drawn."""
    shapes = [
        box(0, 0, WIDTH, HEIGHT, "paper"),
        text(80, 36, "mini-batch", "title"),
        *images(20, 98, 0, 0),
        text(80, 142, "N images", "note"),
        text(330, 36, "M policies", "title"),
        text(625, 36, "large batch", "title"),
        text(625, 204, "M · N instances", "note"),
    ]
    names = ("policy 1", "policy 2", "…", "policy M")
    for row, (hue, name) in enumerate(zip(HUES, names, strict=True)):
        y = 52 + 36 * row
        edge = f'style="stroke: hsl({hue} 60% 50%); stroke-width: 2"'
        shapes += [
            box(240, y, 180, 28).replace("<rect", f"<rect {edge}"),
            text(330, y + 19, name),
            arrow(f"M142 108 C190 108 190 {y + 14} 234 {y + 14}"),
            arrow(f"M420 {y + 14} H558"),
            *images(565, y + 4, hue, 55),
        ]
    return [
        *shapes,
        text(484, 204, "one sub-policy an image", "note"),
        arrow("M625 212 V250"),
        box(540, 256, 160, 54),
        text(620, 288, "target network", "title"),
        arrow("M540 283 H424"),
        box(314, 256, 106, 54),
        text(367, 279, "losses", "title"),
        text(367, 299, "L₁ … Lₘ"),
        arrow("M367 310 C367 364 620 364 620 316", "lower"),
        text(500, 378, "their mean: SGD lowers it (Eqs. 4–6)", "lower"),
        arrow("M314 283 H190", "raise"),
        box(30, 256, 156, 54),
        text(108, 279, "controller", "title"),
        text(108, 299, "LSTM", "note"),
        text(165, 336, "normalised over the M: REINFORCE", "raise"),
        text(165, 354, "raises them (Eqs. 7–9)", "raise"),
        arrow("M108 256 C108 226 330 240 330 200"),
        text(120, 218, "draws M new policies", "note"),
        text(120, 234, "every round", "note"),
    ]


def draw() -> str:
    """The SVG."""
    tips = "".join(tip(look) for look in ("line", "lower", "raise"))
    words = (
        "A mini-batch of N images under each of M policies makes a large batch; the "
        "target network learns from it, and the M losses teach the controller, which "
        "draws the next M policies."
    )
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    top = f'<svg {head} role="img" aria-label="{words}">\n<style>{STYLE}</style>'
    return "\n".join((top, f"<defs>{tips}</defs>", *parts(), "</svg>", ""))


if __name__ == "__main__":
    print(draw(), end="")
