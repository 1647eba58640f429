"""Writes a dataset that is not on this machine yet, once.

    python -m aaa_jax prepare NAME [--data-dir=FOLDER] [--archive=PATH]

NAME is a row of PREPARERS, or `folder:PATH` for a folder of images. The dataset's
folder appears under its name by one rename at the end: a run that was killed leaves
nothing that counts as a dataset, and of two at once the second waits for the first.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from aaa_jax.data.errors import DatasetError, DatasetNotPrepared, DownloadFailed
from aaa_jax.data.prepare.cifar import prepare_cifar
from aaa_jax.data.prepare.digits import prepare_digits
from aaa_jax.data.prepare.folder import prepare_folder, warn_if_changed
from aaa_jax.data.prepare.imagenet import prepare_imagenet
from aaa_jax.data.stream import counted, open_stream
from aaa_jax.data.tfds_folder import (
    PREFIX,
    data_folder,
    find_prepared,
    import_tfds,
    local_path,
    open_prepared,
)

# Each takes the folder of all datasets, and the original archive or None.
PREPARERS: dict[str, Callable[[Path, Path | None], Path]] = {
    "digits": lambda folder, archive: prepare_digits(folder, "digits", 4, 1 / 3),
    "digits_few": lambda folder, archive: prepare_digits(
        folder, "digits_few", 2, 5 / 6
    ),
    "cifar10": lambda folder, archive: prepare_cifar("cifar10", folder, archive),
    "cifar100": lambda folder, archive: prepare_cifar("cifar100", folder, archive),
    "imagenet2012": prepare_imagenet,
}


def prepare_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    archive: str | os.PathLike[str] | None = None,
) -> Path:
    """The dataset's folder, written first if it is not there.

    Args:
        name: a key of PREPARERS, "folder:PATH", or anything that is prepared already.
        data_dir: folder of the datasets; see `tfds_folder.data_folder`.
        archive: CIFAR's original file, or the folder with ImageNet's two tar files.

    Raises:
        DatasetNotPrepared: it cannot be written now; the message says what to run.
        DatasetError: the name is unknown, or the folder cannot be written to.
    """
    folder = data_folder(data_dir)
    is_folder = name.startswith(PREFIX)
    path = find_prepared(name, folder)
    if path is not None:
        if is_folder:
            warn_if_changed(path)
        return path
    if name not in PREPARERS and not is_folder:
        raise _unknown_dataset(name, folder)
    import_tfds()
    print(f"preparing {name} in {folder}", file=sys.stderr)
    try:
        if is_folder:
            return prepare_folder(name, folder)
        return PREPARERS[name](folder, _found(archive))
    except DownloadFailed as error:
        raise DatasetNotPrepared(_what_to_run(name, folder, error)) from error
    except OSError as error:
        raise DatasetError(
            f"{name} cannot be written to {folder} ({error}): make room there, and the "
            "same command goes on; or choose another folder by TFDS_DATA_DIR or "
            "--config.data.dir"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="aaa-jax prepare")
    parser.add_argument("name", help=f"folder:PATH, or {', '.join(PREPARERS)}")
    where = "default: TFDS_DATA_DIR or TFDS's own"
    parser.add_argument("--data-dir", "--data_dir", help=where)
    what = "CIFAR's original file, or the folder with ImageNet's two tar files"
    parser.add_argument("--archive", help=what)
    options = parser.parse_args(arguments)
    try:
        name, folder = options.name, options.data_dir
        path = prepare_dataset(name, data_dir=folder, archive=options.archive)
        found = [
            counted(open_stream(name, split, data_dir=folder), split)
            for split in open_prepared(path).info.splits
        ]
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{name} is prepared in {path}", *found, sep="\n")
    return 0


def _found(archive: str | os.PathLike[str] | None) -> Path | None:
    """The path of the original archive, which must be there."""
    if archive is None:
        return None
    path = local_path(os.fspath(archive), "the archive")
    if not path.exists():
        raise DatasetError(f"there is no archive {path}")
    return path


def _what_to_run(name: str, folder: Path, reason: Exception) -> str:
    return (
        f"{name} is not prepared in {folder}, and {reason}. Where there is a network, "
        f"run\n    python -m aaa_jax prepare {name} --data-dir={folder}\n"
        "(--archive=FILE takes the original archive instead), or point TFDS_DATA_DIR "
        "or --config.data.dir at a folder that has it"
    )


def _unknown_dataset(name: str, folder: Path) -> DatasetError:
    """The error for a name that nothing here can prepare."""
    tfds = import_tfds()
    base = name.partition(":")[0].partition("/")[0]
    known = [*PREPARERS, *tfds.list_builders(with_community_datasets=False)]
    if base not in known:
        near = difflib.get_close_matches(base, known, n=1)
        meant = f": did you mean {near[0]!r}?" if near else ""
        return DatasetError(
            f"there is no dataset {name!r} in {folder}, and neither this package nor "
            f"TFDS knows it{meant}"
        )
    found = (folder / base).glob("*/*/dataset_info.json")  # of CONFIG/VERSION
    configs = sorted(path.parent.parent.name for path in found)
    hint = f" (there are the configurations {', '.join(configs)})" if configs else ""
    return DatasetNotPrepared(
        f"{name} is not prepared in {folder}{hint}. TFDS prepares it, with TensorFlow "
        f"installed, on any machine:\n    tfds build {name} "
        f"--file_format=array_record --data_dir={folder}"
    )
