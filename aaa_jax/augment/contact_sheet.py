"""Any policies on any images as one labelled picture: a look at what they do.

A row is a policy, beside its sub-policies in words; a column is an image. Under each
instance stand the ops that made it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import jax
import numpy as np

from aaa_jax.augment.large_batch import FILL, Draws, draw_per_policy, large_batch
from aaa_jax.augment.ops import OPS
from aaa_jax.augment.policies import Policies, check_policies

MARGIN = 16  # pixels around the sheet and between the panel and the images
GAP = 10  # between columns
ROW_GAP = 14  # between rows
LINE = 15  # height of a line of text
DARK_PAPER = (0x17, 0x18, 0x1A)


class Style(NamedTuple):
    """How a text looks: OpenCV's font, its scale, and a colour (red, green, blue)."""

    font: int
    scale: float
    color: tuple[int, int, int]


HEADING = Style(cv2.FONT_HERSHEY_DUPLEX, 0.5, (25, 25, 25))
NAME = Style(cv2.FONT_HERSHEY_DUPLEX, 0.4, (25, 25, 25))
TEXT = Style(cv2.FONT_HERSHEY_SIMPLEX, 0.38, (60, 60, 60))
FAINT = Style(cv2.FONT_HERSHEY_SIMPLEX, 0.38, (175, 175, 175))

Line = tuple[str, Style]


class Row(NamedTuple):
    """One row of the sheet: lines on the left, pictures, lines under each of them."""

    panel: list[Line]
    pictures: np.ndarray  # uint8 [N, h, w, 3], as large as they are shown
    captions: list[list[Line]]


def draw_contact_sheet(
    key: jax.Array,
    images: jax.Array,
    policies: Policies,
    *,
    ranges: str | None = None,
    fill: Sequence[int] = FILL,
    names: Sequence[str] | None = None,
    side: int = 96,
    title: str = "",
    footer: str = "",
    dark: bool = False,
) -> np.ndarray:
    """Augments images by policies and lays the result out: uint8 [height, width, 3].

    Args:
        key: of `large_batch`, which makes the pixels.
        images: uint8 [N, H, W, 3], shown in a first row as they are; or
            [M, N, H, W, 3], instances of each policy, which are not shown themselves.
        policies: M policies.
        ranges: name of the range table; None: as in `large_batch`.
        fill: colour of moved-in pixels and of the Cutout patch.
        names: of the M rows; None: "Policy 1" and so on.
        side: pixels of the longer side of a picture as it is shown. Small images grow
            by a whole factor, with hard edges, larger ones are reduced.
        title: a line above, if any.
        footer: a line below, if any.
        dark: light text on dark paper.
    """
    num_policies = policies.num_policies
    names = names or [f"Policy {m + 1}" for m in range(num_policies)]
    policies = check_policies(policies, ranges)
    results = np.asarray(large_batch(key, images, policies, fill=fill))
    draws = jax.device_get(draw_per_policy(key, policies, *results.shape[1:4]))
    rows = []
    if images.ndim == 4:
        heading = [("Images", NAME), ("before any op", TEXT)]
        originals = _resize(np.asarray(images), side)
        rows.append(Row(heading, originals, [[] for _ in originals]))
    for m, name in zip(range(num_policies), names, strict=True):
        pictures = _resize(results[m], side)
        captions = _captions(policies, draws, m)
        num_lines = (pictures.shape[1] + LINE * len(captions[0])) // LINE
        panel = [(name, NAME), *_describe(policies, m, num_lines - 1)]
        rows.append(Row(panel, pictures, captions))
    return _lay_out(rows, title, footer, dark)


def _captions(policies: Policies, draws: Draws, m: int) -> list[list[Line]]:
    """The ops of each of the N instances of policy m; faint if not applied."""
    captions = []
    for sub_policy, applied in zip(draws.sub_policy[m], draws.applied[m], strict=True):
        pairs = zip(_op_texts(policies, m, int(sub_policy)), applied, strict=True)
        captions.append([(text, TEXT if used else FAINT) for text, used in pairs])
    return captions


def _describe(policies: Policies, m: int, num_lines: int) -> list[Line]:
    """The sub-policies of policy m, one a line, as many as there is room for."""
    lines = []
    for q in range(policies.num_sub_policies):
        probs = np.asarray(policies.probs[m, q])
        chain = [
            text + ("" if prob == 1 else f" ({prob:.2g})")
            for text, prob in zip(_op_texts(policies, m, q), probs, strict=True)
            if text != "Identity"
        ]
        lines.append((" > ".join(chain) or "Identity", TEXT))
    if len(lines) <= num_lines:
        return lines
    shown = max(num_lines - 1, 0)
    return [*lines[:shown], (f"and {len(lines) - shown} more", FAINT)]


def _op_texts(policies: Policies, m: int, q: int) -> list[str]:
    """Name and, where it has one, magnitude of the S ops of a sub-policy."""
    places, levels = np.asarray(policies.ops[m, q]), policies.magnitudes[m, q]
    chain = zip(places, np.asarray(levels), strict=True)
    return [
        f"{OPS[op].name} {magnitude}" if OPS[op].has_magnitude else OPS[op].name
        for op, magnitude in chain
    ]


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    """Images uint8 [N, H, W, 3] with a longer side of at most `side` pixels."""
    longer = max(images.shape[1:3])
    if longer <= side:
        return images.repeat(side // longer, axis=1).repeat(side // longer, axis=2)
    size = [max(1, length * side // longer) for length in images.shape[2:0:-1]]
    return np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])


def _lay_out(rows: list[Row], title: str, footer: str, dark: bool) -> np.ndarray:
    """Draws rows, whose pictures are of one size: uint8 [height, width, 3]."""
    num_images, height, width, _ = rows[0].pictures.shape
    left = 2 * MARGIN + max(_width(line) for row in rows for line in row.panel)
    captions = [line for row in rows for caption in row.captions for line in caption]
    widest = max(_width(line) for line in captions)
    column = max(width, widest) + GAP
    heights = [height + LINE * len(row.captions[0]) for row in rows]
    top = MARGIN + (2 * LINE if title else 0)
    bottom = MARGIN + (LINE if footer else 0)
    total = top + sum(heights) + ROW_GAP * (len(rows) - 1) + bottom
    across = left + column * num_images - GAP + MARGIN
    around = [_width(line) for line in ((title, HEADING), (footer, FAINT))]
    shape = (total, max(across, 2 * MARGIN + max(around)), 3)
    sheet = np.full(shape, 255, np.uint8)
    if title:
        _write(sheet, (title, HEADING), MARGIN, MARGIN)
    if footer:
        _write(sheet, (footer, FAINT), MARGIN, total - MARGIN - LINE // 2)
    places = []
    for row, row_height in zip(rows, heights, strict=True):
        for i, line in enumerate(row.panel):
            _write(sheet, line, MARGIN, top + LINE * i)
        for n, caption in enumerate(row.captions):
            x = left + column * n
            places.append((top, x, row.pictures[n]))
            for i, line in enumerate(caption):
                _write(sheet, line, x, top + height + 3 + LINE * i)
        top += row_height + ROW_GAP
    if dark:
        sheet = np.maximum(255 - sheet, np.array(DARK_PAPER, np.uint8))
    for y, x, picture in places:
        sheet[y : y + height, x : x + width] = picture
    return sheet


def _width(line: Line) -> int:
    """Pixels that a line takes."""
    text, style = line
    return cv2.getTextSize(text, style.font, style.scale, 1)[0][0]


def _write(sheet: np.ndarray, line: Line, x: int, y: int) -> None:
    """Writes a line whose upper left corner is at (x, y)."""
    text, (font, scale, color) = line
    origin = (x, y + LINE - 4)
    cv2.putText(sheet, text, origin, font, scale, color, 1, cv2.LINE_AA)
