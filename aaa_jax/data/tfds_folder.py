"""Finds and opens TFDS folders (`DATA_DIR/NAME/[CONFIG/]VERSION`).

A folder counts as prepared when it has TFDS's two JSON files, since TFDS and our
preparers give a folder its name when everything is in it. TFDS's own look-up is not
used: it imports the dataset's code, insists on that code's version, and answers a
missing folder with messages about file formats.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from absl import logging

from aaa_jax import paths
from aaa_jax.data.errors import DatasetError

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
PREFIX = "folder:"  # of the name of a dataset that is a folder of images
METADATA = ("dataset_info.json", "features.json")


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the datasets.

    Args:
        data_dir: this folder; if it is not given, that of the environment variable
            TFDS_DATA_DIR, or ~/tensorflow_datasets, as TFDS does.
    """
    chosen = os.fspath(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    )
    if "://" in chosen:
        raise DatasetError(
            f"the data folder {chosen!r} is not a local path: array_record files are "
            "read from local (or mounted) disks only"
        )
    return expanded(chosen)


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path that a person gave.

    Raises:
        DatasetError: its home directory is not there.
    """
    try:
        return Path(paths.expand(path))
    except paths.PathError as error:
        raise DatasetError(str(error)) from error


def images_folder(name: str) -> Path:
    """PATH of the dataset "folder:PATH"."""
    return expanded(name.removeprefix(PREFIX)).resolve()


def find_prepared(name: str, folder: Path) -> Path | None:
    """The folder of the newest prepared version of a dataset, or None.

    Args:
        name: `name` or `name/config`, either also with `:version`; or `folder:PATH`.
        folder: what `data_folder` returned.
    """
    base, _, version = name.partition(":")
    if name.startswith(PREFIX):
        base, version = folder_name(name), ""
    try:
        found = [path for path in (folder / base).iterdir() if is_prepared(path)]
    except OSError:  # not there, or not a folder
        return None
    if version:
        found = [path for path in found if path.name == version]
    return max(found, key=_version_of, default=None)


def folder_name(name: str) -> str:
    """The name that the dataset of `folder:PATH` gets, another for each path."""
    source = images_folder(name)
    word = re.sub(r"\W+", "_", source.name.lower(), flags=re.ASCII).strip("_")
    digest = hashlib.sha256(str(source).encode()).hexdigest()
    return f"folder_{word}_{digest[:8]}"


def open_prepared(path: Path) -> Any:
    """The read-only `tfds.core.DatasetBuilder` of a prepared folder."""
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(min(verbosity, logging.WARNING))  # not all that it reads
    try:
        return tfds.builder_from_directory(path)
    except Exception as error:  # TFDS raises whatever its JSON readers raise
        raise DatasetError(
            f"{path} has TFDS's files but TFDS cannot read them ({error}): delete the "
            "folder and prepare the dataset again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def is_prepared(path: Path) -> bool:
    """Whether a folder VERSION is whole: TFDS's two JSON files are there."""
    return VERSION.fullmatch(path.name) is not None and all(
        (path / file).is_file() for file in METADATA
    )


def _version_of(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))
