"""A folder of images, `train/CLASS/*.jpg` and so on, as a TFDS dataset.

    python -m aaa_jax prepare folder:PATH      (or --config.data.name=folder:PATH)

Splits are the folders `train` and `validation` (or `val`) or `test` or both; or there
are none, `PATH/CLASS/*.jpg`, and a run keeps a share of each class for its test.
Classes are the folders in them, in alphabetical order. Images are all files below a
class, of any size and mode; `image_files` says what is left out. Grey and RGB files in
JPEG or PNG are stored as they are. Others are stored as PNG, in the RGB that `decode`
makes of them (of the first frame, if there are several). All files are read once, and
the bad ones named.
"""

import functools
import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
from absl import logging

from aaa_jax.data.decode import decode_rgb, is_plain
from aaa_jax.data.errors import DatasetError
from aaa_jax.data.prepare.image_files import (
    SUFFIXES,
    Listing,
    first_few,
    is_own_folder,
    is_utf8,
    list_images,
    reading,
    say_left_out,
    shown,
    spelled,
)
from aaa_jax.data.prepare.tfds_writer import Item, Plan, stored_order, write_dataset
from aaa_jax.data.tfds_folder import SOURCE, folder_name, source_folder

SPLITS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


def prepare_folder(name: str, folder: Path) -> Path:
    """Writes the dataset "folder:PATH" under `folder`, or what is missing of it.

    Raises:
        DatasetError: PATH is not such a folder, or holds files that cannot be read.
    """
    source = source_folder(name)
    with reading(source):
        if not source.is_dir():
            raise DatasetError(f"there is no folder {source}: name yours, folder:PATH")
        layout = _find_layout(source)
        class_names = _class_names({s: source / path for s, path in layout.items()})
        found = _sort_out(list_images(source), layout)
    items = {
        split: _items(source / layout[split], class_names, images.images)
        for split, images in found.items()
    }
    state = {
        "source": str(source),
        "layout": layout,
        "images": {
            split: {
                i.name: found[split].images[i.name] for i in stored_order(split, some)
            }
            for split, some in items.items()
        },
        "left_out": {s: say_left_out(images.left_out) for s, images in found.items()},
    }
    plan = Plan(
        name=folder_name(name),
        version="1.0.0",
        description=f"The folder of images {source}.",
        labels={"label": class_names},
        name_feature="file_name",
        splits=items,
        notes={SOURCE: json.dumps(state)},
    )
    return write_dataset(folder, plan, _encoded)


def warn_if_changed(path: Path) -> None:
    """Warns if files came, went or changed since a dataset at `path` was prepared."""
    try:
        state = json.loads((path / SOURCE).read_text())
        source, layout, before = Path(state["source"]), state["layout"], state["images"]
    except (OSError, ValueError, KeyError):
        _warn_once(
            f"{path} was prepared by an earlier version, which noted no files: whether "
            "they have changed, or are hidden ones, is not known; delete "
            f"{path.parent} to prepare it again"
        )
        return
    if not source.is_dir():
        return
    now = _sort_out(list_images(source), layout)
    files: dict[str, list[str]] = {"new": [], "gone": [], "changed": []}
    for split, old in before.items():
        new = now[split].images
        files["new"] += [f"{split}/{name}" for name in new if name not in old]
        files["gone"] += [f"{split}/{name}" for name in old if name not in new]
        files["changed"] += [
            f"{split}/{n}" for n in new if new[n] != old.get(n, new[n])
        ]
    said = [f"{len(some)} {w} ({first_few(some)})" for w, some in files.items() if some]
    if said:
        _warn_once(
            f"{source} has changed since it was prepared; delete {path.parent} to "
            f"prepare it again: {', '.join(said)}"
        )


@functools.cache
def _warn_once(message: str) -> None:
    logging.warning("%s", message)


def _find_layout(source: Path) -> dict[str, str]:
    """Split -> its folder; {"train": ""} where the classes lie in the source itself."""
    there = [name for name in SPLITS if is_own_folder(source / name)]
    if not there or (there == ["train"] and not _folders(source / "train")):
        return {"train": ""}
    found: dict[str, str] = {}
    for name in there:
        if SPLITS[name] in found:
            raise DatasetError(
                f"{source} has both {found[SPLITS[name]]} and {name}: keep one"
            )
        found[SPLITS[name]] = name
    if "train" not in found or len(found) == 1:
        present = ", ".join(sorted(shown(path.name) for path in _folders(source)))
        hint = " (or give that folder, train: its classes)" * ("train" in found)
        raise DatasetError(
            f"{source} must hold a folder train, and a folder validation or test, with "
            f"a folder for each class in them, or only folders of classes{hint}; its "
            f"folders are: {present}"
        )
    return found


def _class_names(splits: dict[str, Path]) -> list[str]:
    classes = {split: _folders(path) for split, path in splits.items()}
    names = {split: {path.name for path in paths} for split, paths in classes.items()}
    for split, path in splits.items():
        _check_class_names(path, names[split])
        for has, lacks in (("train", split), (split, "train")):
            if missing := sorted(names[has] - names[lacks]):
                raise DatasetError(
                    f"{splits[lacks]} lacks the classes {first_few(missing, spelled)}, "
                    f"which {splits[has]} has: all splits must have the same classes"
                )
    if len(names["train"]) == 1:
        (only,) = classes["train"]
        below = first_few(sorted(path.name for path in _folders(only)))
        hint = f"; are {below} the classes? Then move them up" if below else ""
        raise DatasetError(
            f"{only} is the only class: two are needed, a folder for each{hint}"
        )
    return sorted(names["train"])


def _check_class_names(path: Path, names: Iterable[str]) -> None:
    """Refuses names that TFDS's text file of names, a line each, would change."""
    if not names:
        raise DatasetError(f"{path} holds no folders: one is needed for each class")
    wrong = [
        name
        for name in sorted(names)
        if not is_utf8(name) or name != name.strip() or len(name.splitlines()) > 1
    ]
    if wrong:
        raise DatasetError(
            f"{path} has classes that cannot be stored under their names, "
            f"{', '.join(map(spelled, wrong))}: rename the folders, to UTF-8 without "
            "line breaks, or blanks at the ends"
        )
    alike: dict[str, str] = {}
    for name in sorted(names):
        twin = alike.setdefault(unicodedata.normalize("NFC", name), name)
        if twin != name:
            raise DatasetError(
                f"{path} has classes that look the same, {spelled(twin)} and "
                f"{spelled(name)}: rename one, or join them"
            )


def _sort_out(listing: Listing, layout: Mapping[str, str]) -> dict[str, Listing]:
    """Split -> what lies in it; what lies in no split is left out of train.

    Images are named by their paths in the split, the others by those in the source.
    """
    splits = {folder: split for split, folder in layout.items()}
    found = {split: Listing({}, {}) for split in layout}

    def place(name: str) -> tuple[str, str]:
        """The split, or "", and the name in it."""
        if "" in splits:
            return "train", name
        top, _, rest = name.partition("/")
        return splits.get(top, ""), rest

    for name, reason in listing.left_out.items():
        found[place(name)[0] or "train"].left_out[name] = reason
    for name, facts in listing.images.items():
        split, rest = place(name)
        if split and "/" in rest:
            found[split].images[rest] = facts
        else:
            reason = "in no class" if split else "in no split"
            found[split or "train"].left_out[name] = reason
    return found


def _items(
    path: Path, class_names: list[str], images: Mapping[str, list[int]]
) -> list[Item]:
    """The images of a split, class by class."""
    if wrong := [name for name in images if not is_utf8(name)]:
        raise DatasetError(
            f"{path} has files whose names are not UTF-8: {first_few(wrong)}; rename "
            "them"
        )
    labels = {name: label for label, name in enumerate(class_names)}
    items = [
        Item(name, (labels[name.partition("/")[0]],), path / name, 0, size)
        for name, (size, _) in images.items()
    ]
    filled = {item.labels[0] for item in items}
    for name, label in labels.items():
        if label not in filled:
            raise DatasetError(
                f"the class {path / name} has no images (files that end in "
                f"{' '.join(sorted(SUFFIXES))}): add some, or delete it in all splits"
            )
    return items


def _encoded(item: Item) -> bytes:
    """What is stored of a file; raises ValueError if it cannot be decoded."""
    try:
        encoded = item.source.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from error
    pixels = decode_rgb(encoded, thorough=True)
    if is_plain(encoded):
        return encoded
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if is_own_folder(entry)]
