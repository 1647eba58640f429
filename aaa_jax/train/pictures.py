"""Pictures of an epoch for TensorBoard: its policies at work, and Figure 6 so far.

Drawn without matplotlib, whose import takes seconds; the report draws the figures of a
paper. On a CPU 0.1 to 0.2 s an epoch (8 policies, 6 images of 32 x 32 pixels), and what
`large_batch` takes to compile once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np

from aaa_jax.augment.contact_sheet import draw_contact_sheet
from aaa_jax.augment.policies import Policies
from aaa_jax.runtime import randomness

_NUM_IMAGES = 6
_SIDE = 64
_WIDTH, _HEIGHT, _PANEL = 480, 320, 150  # of the shares, and of their names beside


def draw_sheet(
    policies: Policies, images: np.ndarray, ranges: str, fill: Sequence[int]
) -> np.ndarray:
    """M policies at work on the first of images uint8 [N, H, W, 3], as one picture."""
    return draw_contact_sheet(
        randomness.key_of_seed(0),
        jnp.asarray(images[:_NUM_IMAGES]),
        policies,
        ranges=ranges,
        fill=fill,
        side=_SIDE,
    )


def draw_shares(lines: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Figure 6 up to the last line of ``metrics.jsonl``: pictures by TensorBoard's tag.

    Each is uint8 [height, width, 3]; there is none before the first round is over.
    """
    pictures = {}
    for what in ("op_share", "magnitude_share"):
        known = [line for line in lines if any(k.startswith(what) for k in line)]
        if known:
            names = [k for k in known[-1] if k.startswith(f"{what}/")]
            shares = np.array([[line[name] for name in names] for line in known])
            labels = [name.partition("/")[2] for name in names]
            pictures[f"policies/{what}s"] = _stacked(shares, labels)
    return pictures


def _stacked(shares: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Shares float [epochs, K] as areas over the epochs, one above the other (Fig. 6).

    Beside each stands its name, in the middle of its share at the end.
    """
    sheet = np.full((_HEIGHT, _WIDTH + _PANEL, 3), 255, np.uint8)
    hues = np.linspace(0, 179, len(labels), endpoint=False).astype(np.uint8)
    light = np.where(np.arange(len(labels)) % 2, 255, 190).astype(np.uint8)
    hsv = np.stack([hues, np.full_like(hues, 150), light], axis=-1)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    tops = np.cumsum(shares, axis=1) / np.maximum(shares.sum(1, keepdims=True), 1e-9)
    epoch = np.arange(_WIDTH) * len(shares) // _WIDTH
    heights = (np.arange(_HEIGHT) + 0.5) / _HEIGHT
    for x in range(_WIDTH):
        areas = np.searchsorted(tops[epoch[x]], heights).clip(max=len(labels) - 1)
        sheet[:, x] = colors[areas]
    middles = tops[-1] - np.diff(tops[-1], prepend=0) / 2
    for k, label in enumerate(labels):
        place = (_WIDTH + 6, round(float(middles[k]) * _HEIGHT) + 4)
        text = f"{label} {100 * shares[-1, k]:.0f} %"
        if shares[-1, k] > 0:
            style = cv2.FONT_HERSHEY_SIMPLEX, 0.35, (30, 30, 30), 1, cv2.LINE_AA
            cv2.putText(sheet, text, place, *style)
    return sheet
