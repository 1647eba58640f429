"""Finds and opens TFDS folders (`DATA_DIR/NAME/[CONFIG/]VERSION`).

A folder counts as prepared when it has TFDS's two JSON files, since TFDS and our
preparers give a folder its name when everything is in it. TFDS's own look-up is not
used: it imports the dataset's code, insists on that code's version, and answers a
missing folder with messages about file formats.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from aaa_jax.data.errors import DatasetError
from aaa_jax.runtime import paths

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
PREFIX = "folder:"  # of the name of a dataset that is a folder of images
SOURCE = "source.json"  # of a prepared folder of images: what lay in it
METADATA = ("dataset_info.json", "features.json")


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the datasets.

    It is the one that is given, or that of the environment variable TFDS_DATA_DIR, or
    ~/tensorflow_datasets, as in TFDS.

    Raises:
        DatasetError: it is not on this machine's disks.
    """
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return local_path(os.fspath(chosen), "the data folder")


def find_prepared(name: str, folder: Path) -> Path | None:
    """The folder of the newest prepared version of a dataset, or None.

    A name is `name` or `name/config`, either also with `:version`; or `folder:PATH`.
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
    source = source_folder(name)
    word = re.sub(r"\W+", "_", source.name.lower(), flags=re.ASCII).strip("_")
    digest = hashlib.sha256(str(source).encode()).hexdigest()
    return f"folder_{word}_{digest[:8]}"


def source_folder(name: str) -> Path:
    """The PATH of `folder:PATH`, absolute."""
    path = local_path(name.removeprefix(PREFIX), f"the folder of images of {name!a}")
    return path.resolve()


def local_path(given: str, what: str) -> Path:
    """A path on this machine's disks, in which ~ is the user's home.

    Raises:
        DatasetError: it is no such path; the message says what it is for.
    """
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{what} has a name that is not UTF-8 ({os.fsencode(given)!r}): rename it"
        ) from error
    if "://" in given:
        raise DatasetError(
            f"{what} {given!r} is not a local path: files are read from local (or "
            "mounted) disks only"
        )
    try:
        return Path(paths.expand(given))
    except paths.PathError as error:  # no HOME, and no user of that number
        raise DatasetError(f"{what}: {error}") from error


def open_prepared(path: Path) -> Any:
    """The read-only `tfds.core.DatasetBuilder` of a prepared folder."""
    tfds = import_tfds()
    try:
        with _logging_at_most(logging.WARNING):  # not all that it reads
            return tfds.builder_from_directory(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error})") from error
    except ImportError as error:
        raise _missing_package(error) from error
    except Exception as error:  # TFDS raises whatever its JSON readers raise
        raise DatasetError(
            f"{path} has TFDS's files but TFDS cannot read them ({error}): delete the "
            "folder and prepare the dataset again"
        ) from error


def import_tfds() -> Any:
    """TFDS, which of itself hides that a package is missing, and is then empty.

    Raises:
        DatasetError: it cannot be imported, naming the package.
    """
    try:
        with _logging_at_most(logging.FATAL):  # a traceback
            import tensorflow_datasets as tfds
            import tensorflow_datasets.public_api  # raises what it has hidden
    except ImportError as error:
        raise _missing_package(error) from error
    except Exception as error:  # versions of packages that do not fit together
        raise DatasetError(f"TFDS cannot be imported: {error}") from error
    return tfds


def _missing_package(error: ImportError) -> DatasetError:
    return DatasetError(
        f"a package that is needed for datasets cannot be imported ({error}): install "
        f"it, such as by pip install {error.name or 'PACKAGE'}"
    )


@contextlib.contextmanager
def _logging_at_most(level: int) -> Iterator[None]:
    verbosity = logging.get_verbosity()
    logging.set_verbosity(min(verbosity, level))
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def is_prepared(path: Path) -> bool:
    """Whether a folder VERSION is whole: TFDS's two JSON files are there."""
    return VERSION.fullmatch(path.name) is not None and all(
        (path / file).is_file() for file in METADATA
    )


def _version_of(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))
