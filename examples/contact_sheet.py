"""Only the augmentation: policies on a folder of pictures, drawn as a contact sheet.

    python -m examples.contact_sheet FOLDER --out=sheet.png

The pictures may be of any size: a square is cut from the middle of each and reduced.
The policies are random ones, or those saved in a JSON file (`policies.to_json`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np

from aaa_jax.contact_sheet import draw_contact_sheet, save_contact_sheet
from aaa_jax.policies import from_json
from aaa_jax.sources import random_source

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def read_square(path: Path, size: int) -> np.ndarray:
    """The middle of a picture as uint8 [size, size, 3], red, green, blue."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is not a picture that OpenCV can read")
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=method)[..., ::-1]


def read_folder(folder: Path, size: int, columns: int) -> np.ndarray:
    """The first pictures by name, over again if they are too few: [columns, ...]."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)
    if not paths:
        raise SystemExit(f"{folder} has no {', '.join(sorted(ENDINGS))} file")
    chosen = [paths[n % len(paths)] for n in range(columns)]
    return np.stack([read_square(path, size) for path in chosen])


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the folder, augment, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--policies", type=Path, help="JSON; default: random ones")
    parser.add_argument("--rows", type=int, default=8, help="random policies")
    parser.add_argument("--columns", type=int, default=10, help="pictures")
    parser.add_argument("--size", type=int, default=96, help="side to augment at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="")
    parser.add_argument("--footer", default="")
    chosen = parser.parse_args(command_line)
    images = read_folder(chosen.folder, chosen.size, chosen.columns)
    policy_key, key = jax.random.split(jax.random.key(chosen.seed))
    options = {"title": chosen.title, "footer": chosen.footer}
    if chosen.policies:
        saved = from_json(chosen.policies.read_text())
        policies = saved.policies
        options |= {"ranges": saved.ranges, "fill": saved.fill}
    else:
        policies = random_source(num_policies=chosen.rows).sample(policy_key, (), 0.0)
    save_contact_sheet(draw_contact_sheet(key, images, policies, **options), chosen.out)
    print(f"{chosen.out}: {policies.num_policies} policies, {len(images)} pictures")


if __name__ == "__main__":
    main()
