"""Predictions: what the network of a run says of a person's own images.

    aaa-jax predict RUN IMAGE… [--top=5] [--csv=FILE] [--data-dir=DIR]

IMAGE is a file, or a folder whose image files are all taken. An image is decoded as in
training, its shorter side resized to what the run's test images have, and the square in
its middle shown to the network. Images that cannot be read are named and counted, and
the others done. Exit codes: 0; 1 some image was bad; 2 the command cannot work.
"""

import csv
import functools
import io
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from aaa_jax.augment import standard
from aaa_jax.data import crops
from aaa_jax.data.decode import decode_rgb
from aaa_jax.data.prepare.folder import SUFFIXES
from aaa_jax.runtime import devices, paths
from aaa_jax.trained import run as trained

Item = tuple[str, np.ndarray | pathlib.Path]  # its name; pixels, or the file


class Predictions(NamedTuple):
    """What a network says of n images."""

    names: tuple[str, ...]  # paths, or their places among the arrays given
    probabilities: np.ndarray  # float32 [n, K]
    class_names: tuple[str, ...]  # K of them; numbers where nobody knows the names
    bad: dict[str, str]  # name -> why an image, not among the n, could not be read

    def top(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """The likeliest classes of each image with their probabilities, best first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return [
            [(self.class_names[k], float(row[k])) for k in best]
            for row, best in zip(self.probabilities, order, strict=True)
        ]


def predict(
    run: trained.TrainedRun, images: Any, *, batch_size: int = 128
) -> Predictions:
    """What the network of a run says of images, on all devices.

    Args:
        run: the network.
        images: uint8 [n, H, W, 3], RGB; or a file, or a folder of image files; or a
            sequence of files, folders and arrays uint8 [H, W, 3], of any sizes.
        batch_size: images that the network sees at once, over all devices.

    Raises:
        ValueError: there is no image, or an array is not such an image.
    """
    items = list(_find_items(images))
    if not items:
        raise ValueError("there is no image to predict on")
    used = devices.pick_devices(0)
    # Few sizes of a batch, since each is compiled once.
    size = min(batch_size, 1 << (len(items) - 1).bit_length())
    size = -(-size // len(used)) * len(used)
    forward, place = _compile(run.model, run.spec.mean, run.spec.std, len(used))
    variables = devices.replicate(run.variables, used)
    names: list[str] = []
    bad: dict[str, str] = {}
    parts: list[tuple[jax.Array, int]] = []
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(items), size):
            batch = np.zeros((size, *[run.stream.image_size] * 2, 3), np.uint8)
            count = 0
            chunk = items[first : first + size]
            read = pool.map(functools.partial(_read, run), [each for _, each in chunk])
            for (name, _), seen in zip(chunk, read, strict=True):
                if isinstance(seen, str):
                    bad[name] = seen
                    continue
                names.append(name)
                batch[count] = seen
                count += 1
            parts.append((forward(variables, place(batch)), count))
    rows = [np.asarray(part)[:count] for part, count in parts]
    class_names = run.class_names or tuple(map(str, range(run.spec.num_classes)))
    return Predictions(tuple(names), np.concatenate(rows), class_names, bad)


def _find_items(images: Any) -> Iterable[Item]:
    """Every image with its name, in the order given."""
    if isinstance(images, str | os.PathLike):
        images = [images]
    for place, image in enumerate(images):
        if not isinstance(image, str | os.PathLike):
            yield str(place), _check_array(np.asarray(image), place)
            continue
        path = pathlib.Path(paths.expand(image))
        files = _image_files(path) if path.is_dir() else [path]
        yield from ((str(file), file) for file in files)


def _image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files below a folder; the folder itself where it has none."""
    found = (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    return [path for path in found if path.is_file()] or [folder]


def _check_array(image: np.ndarray, place: int) -> np.ndarray:
    fits = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    if image.dtype != np.uint8 or not fits:
        raise ValueError(
            f"image {place} is {image.dtype} {list(image.shape)}; it must be uint8 "
            "[H, W, 3], RGB (of a grey one, give three equal channels; of a single "
            "image, image[None])"
        )
    return image


def _read(run: trained.TrainedRun, image: np.ndarray | pathlib.Path) -> Any:
    """An image as the network sees it, uint8 [S, S, 3]; or why it cannot be read."""
    if isinstance(image, pathlib.Path):
        try:
            image = decode_rgb(image.read_bytes())
        except IsADirectoryError:
            return "it is a folder without image files"
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        except ValueError as error:
            return str(error)
    side = run.stream.image_size
    seen = np.empty((side, side, 3), np.uint8)
    crops.resize_and_crop(
        image, seen, short_side=run.resize, resample=run.stream.resample
    )
    return seen


@functools.lru_cache(maxsize=8)
def _compile(
    model: nn.Module,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    num_devices: int,
) -> tuple[Callable[..., jax.Array], Callable[[np.ndarray], Any]]:
    """(variables, images [B, S, S, 3]) -> float32 [B, K]; and what places the images.

    Kept, so that a second call of `predict` compiles nothing.
    """
    used = devices.pick_devices(num_devices)
    mapping = devices.resolve_mapping("auto", num_devices)

    def step(variables: Any, images: jax.Array, *, axis_name: str | None) -> Any:
        floats = standard.normalize(images, mean, std)
        logits: Any = model.apply(variables, floats, train=False)
        own = jax.nn.softmax(logits)
        return (
            own if axis_name is None else jax.lax.all_gather(own, axis_name, tiled=True)
        )

    place = functools.partial(devices.place_shares, devices=used, mapping=mapping)
    return devices.map_over_devices(step, used, mapping, split=True), place


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts on images; exit code 2 and one line if it cannot."""
    parser = trained.make_parser("predict", __doc__)
    parser.add_argument("image", nargs="+", help="image files, or folders of them")
    parser.add_argument("--top", type=int, default=5, help="classes of each image (5)")
    parser.add_argument("--csv", type=paths.local, help="a file to write them to")
    options = parser.parse_args(argv)
    if options.top < 1:
        parser.error(f"--top is {options.top}; it must be at least 1")
    if options.csv and not options.csv.absolute().parent.is_dir():
        parser.error(f"--csv={options.csv}: there is no folder {options.csv.parent}")
    try:
        run = trained.load_run(options.run, data_dir=options.data_dir)
        found = predict(run, options.image)
        if options.csv:
            trained.write(options.csv, _to_csv(found, options.top).encode())
    except (*trained.ERRORS, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for name, best in zip(found.names, found.top(options.top), strict=True):
        print(f"{name}: " + ", ".join(f"{c} {100 * p:.1f} %" for c, p in best))
    for name, why in found.bad.items():
        print(f"{parser.prog}: {name}: {why}", file=sys.stderr)
    if found.bad:
        print(
            f"{parser.prog}: {len(found.bad)} of {len(found.bad) + len(found.names)} "
            "images could not be read",
            file=sys.stderr,
        )
    if not run.class_names:
        print(trained.unnamed_classes(run), file=sys.stderr)
    return 1 if found.bad else 0


def _to_csv(found: Predictions, count: int) -> str:
    """A line per image: its name, then classes and probabilities, best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    places = range(1, min(count, len(found.class_names)) + 1)
    columns = [f"{what}_{k}" for k in places for what in ("class", "probability")]
    writer.writerow(["image", *columns])
    for name, best in zip(found.names, found.top(count), strict=True):
        writer.writerow([name, *(value for pair in best for value in pair)])
    return text.getvalue()
