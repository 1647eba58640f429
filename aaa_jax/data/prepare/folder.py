"""A folder of images, `train/CLASS/*.jpg` and so on, as a TFDS dataset.

    python -m aaa_jax prepare folder:PATH      (or --config.data.name=folder:PATH)

Splits are the folders `train` and `validation` (or `val`) or `test` or both. Classes
are the folders in them, in alphabetical order. Images are all files below a class, of
any size and mode. Grey and RGB files in JPEG or PNG are stored as they are. Others are
stored as PNG, in the RGB that `decode` makes of them (of the first frame, if there are
several). All files are read once, and the bad ones named.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
from absl import logging

from aaa_jax.data.decode import decode_rgb, is_plain
from aaa_jax.data.errors import DatasetError
from aaa_jax.data.prepare.tfds_writer import Item, Plan, write_dataset
from aaa_jax.data.tfds_folder import folder_name, images_folder

SPLITS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
SUFFIXES = {
    *(".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
}
STATE = "source.json"


def prepare_folder(name: str, folder: Path) -> Path:
    """Writes the dataset of a folder of images under `folder`, or what is missing.

    Args:
        name: "folder:PATH".
        folder: of all datasets.

    Raises:
        DatasetError: PATH is not such a folder, or holds files that cannot be read.
    """
    source = images_folder(name)
    splits = _splits(source)
    class_names = _class_names(splits)
    other: list[Path] = []
    items = {split: _items(path, class_names, other) for split, path in splits.items()}
    if other:
        print(f"{len(other)} files are not images, such as {other[0]}", file=sys.stderr)
    plan = Plan(
        name=folder_name(name),
        version="1.0.0",
        description=f"The folder of images {source}.",
        labels={"label": class_names},
        name_feature="file_name",
        splits=items,
    )
    folders = [each for path in splits.values() for each in (path, *_folders(path))]
    times = _times(source, [each.relative_to(source).as_posix() for each in folders])
    path = write_dataset(folder, plan, _encoded)
    (path / STATE).write_text(json.dumps({"source": str(source), "times": times}))
    return path


def warn_if_changed(path: Path) -> None:
    """Warns if files came or went since a folder of images was prepared.

    Args:
        path: the prepared dataset.
    """
    try:
        state = json.loads((path / STATE).read_text())
        source = Path(state["source"])
        changed = source.is_dir() and _times(source, state["times"]) != state["times"]
    except (OSError, ValueError):  # not written, or not whole
        return
    if changed:
        logging.warning(
            "%s has changed since it was prepared; delete %s to prepare it again",
            source,
            path.parent,
        )


def _splits(source: Path) -> dict[str, Path]:
    if not source.is_dir():
        raise DatasetError(f"there is no folder {source}")
    found: dict[str, Path] = {}
    for name, split in SPLITS.items():
        if (source / name).is_dir():
            if split in found:
                raise DatasetError(
                    f"{source} has both {found[split].name} and {name}: keep one"
                )
            found[split] = source / name
    if "train" not in found or len(found) == 1:
        present = ", ".join(sorted(path.name for path in _folders(source))) or "none"
        raise DatasetError(
            f"{source} must hold a folder train, and a folder validation or test, with "
            f"a folder for each class in them; its folders are: {present}"
        )
    return found


def _class_names(splits: dict[str, Path]) -> list[str]:
    classes = {split: _folders(path) for split, path in splits.items()}
    names = {split: {path.name for path in paths} for split, paths in classes.items()}
    for split, path in splits.items():
        if not names[split]:
            raise DatasetError(f"{path} holds no folders: one is needed for each class")
        for has, lacks in (("train", split), (split, "train")):
            if missing := names[has] - names[lacks]:
                raise DatasetError(
                    f"{splits[lacks]} lacks the classes {_first_few(missing)}, which "
                    f"{splits[has]} has: all splits must have the same classes"
                )
    return sorted(names["train"])


def _items(path: Path, class_names: list[str], other: list[Path]) -> list[Item]:
    """The images of a split; files that are not images are added to `other`."""
    items: list[Item] = []
    for label, class_name in enumerate(class_names):
        before = len(items)
        for file in sorted((path / class_name).rglob("*")):
            if file.name.startswith(".") or not file.is_file():
                continue
            if file.suffix.lower() not in SUFFIXES:
                other.append(file)
                continue
            key = file.relative_to(path).as_posix()
            items.append(Item(key, (label,), file, 0, file.stat().st_size))
        if len(items) == before:
            raise DatasetError(
                f"the class {path / class_name} has no images (files that end in "
                f"{' '.join(sorted(SUFFIXES))}): add some, or delete it in all splits"
            )
    return items


def _encoded(item: Item) -> bytes:
    """What is stored of a file.

    Raises:
        ValueError: it is not an image that can be decoded.
    """
    try:
        encoded = item.source.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    pixels = decode_rgb(encoded, thorough=True)
    if is_plain(encoded):
        return encoded
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def _times(source: Path, names: Iterable[str]) -> dict[str, int | None]:
    """When files last came to or went from folders in `source`; None: it is gone."""
    folders = {name: source / name for name in names}
    return {
        name: folder.stat().st_mtime_ns if folder.is_dir() else None
        for name, folder in folders.items()
    }


def _folders(path: Path) -> list[Path]:
    return [
        entry
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    ]


def _first_few(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(map(repr, listed[:5])) + (" ..." if len(listed) > 5 else "")
