"""Only the augmentation: policies on a folder of pictures, drawn as a contact sheet.

    aaa-jax contact-sheet FOLDER --output=sheet.png

The pictures may be of any size: a square is cut from the middle of each and reduced.
The policies are random ones, or those of a JSON file (`python -m aaa_jax policies`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from aaa_jax.augment.contact_sheet import draw_contact_sheet
from aaa_jax.augment.policies import Policies
from aaa_jax.augment.policy_json import from_json
from aaa_jax.data import crops
from aaa_jax.runtime import devices, paths, randomness
from aaa_jax.search.sources import random_source

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def read_square(path: Path, size: int) -> np.ndarray:
    """The middle of a picture as uint8 [size, size, 3], red, green, blue."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{path} is not a picture that OpenCV can read")
    square = np.empty((size, size, 3), np.uint8)
    crops.resize_and_crop(picture, square, short_side=size, resample="area")
    return square


def read_folder(folder: Path, size: int, columns: int) -> np.ndarray:
    """The first pictures by name, repeated if they are too few: [columns, ...]."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give one of pictures")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)
    if not paths:
        raise ValueError(f"{folder} has no {', '.join(sorted(ENDINGS))} file")
    chosen = [paths[n % len(paths)] for n in range(columns)]
    return np.stack([read_square(path, size) for path in chosen])


def positive(text: str) -> int:
    """A number that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def read_policies(chosen: argparse.Namespace, key: jax.Array) -> tuple[Policies, dict]:
    """The policies that were asked for, and what goes with them."""
    if not chosen.policies:
        return random_source(num_policies=chosen.rows).sample(key, (), 0.0), {}
    try:
        saved = from_json(chosen.policies.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--policies={chosen.policies}: {error}") from error
    return saved.policies, {"fill": saved.fill}


@randomness.drawing
def _two_keys(key: jax.Array) -> jax.Array:
    return jax.random.split(key)


def main(command_line: Sequence[str] | None = None) -> int:
    """Reads the folder, augments, writes the sheet; 2 and one line if it cannot."""
    parser = argparse.ArgumentParser(
        prog="aaa-jax contact-sheet", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=paths.local)
    parser.add_argument("--output", type=paths.local, default=Path("sheet.png"))
    parser.add_argument(
        "--policies", type=paths.local, help="JSON; default: random ones"
    )
    parser.add_argument("--rows", type=positive, default=8, help="random policies")
    parser.add_argument("--columns", type=positive, default=10, help="pictures")
    parser.add_argument("--size", type=positive, default=96, help="side to augment at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="")
    parser.add_argument("--footer", default="")
    chosen = parser.parse_args(command_line)
    options = {"title": chosen.title, "footer": chosen.footer}
    try:
        devices.all_devices()
        policy_key, key = _two_keys(randomness.key_of_seed(chosen.seed))
        images = read_folder(chosen.folder, chosen.size, chosen.columns)
        policies, saved = read_policies(chosen, policy_key)
        sheet = draw_contact_sheet(
            key, jnp.asarray(images), policies, **options, **saved
        )
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(chosen.output, format="png", optimize=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{chosen.output}: {policies.num_policies} policies, {len(images)} pictures")
    return 0
