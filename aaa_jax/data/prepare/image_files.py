"""Which files below a folder are images, and why the others are left out.

Links are followed, except one that leads back to a folder round it. Nothing vanishes:
a file is an image, or named under the reason why it is left out.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aaa_jax.data.errors import DatasetError

SUFFIXES = {
    *(".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
}
# Folders that systems put among a person's own, besides those that begin with a dot.
SYSTEM_FOLDERS = {
    *("@eaDir", "@Recycle", "#recycle", "#snapshot", "$RECYCLE.BIN", "lost+found"),
    *("__MACOSX", "System Volume Information"),
}
HIDDEN, SYSTEM = "hidden", "of a system folder"
BROKEN, LOOP, OTHER = "broken link", "link to a folder round it", "not an image"
MOST_NAMED = 3  # files of a reason in a line


class Listing(NamedTuple):
    """What lies below a folder; names are paths in it, with slashes."""

    # name -> size in bytes and time of the last change in ns
    images: dict[str, list[int]]
    left_out: dict[str, str]  # name of a file -> why it is left out


def list_images(folder: Path) -> Listing:
    """The images below a folder, at any depth.

    Raises:
        DatasetError: a folder cannot be read.
    """
    listing = Listing({}, {})
    with reading(folder):
        _walk(folder, "", [_identity(folder.stat())], listing)
    return listing


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turns an error of the file system below a folder into one line.

    Raises:
        DatasetError: for any OSError.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{error.filename or folder} cannot be read ({error.strerror or error})"
        ) from error


def is_own_folder(path: Path) -> bool:
    """Whether it is a folder that a person made, or a link to one."""
    name = path.name
    return path.is_dir() and not name.startswith(".") and name not in SYSTEM_FOLDERS


def say_left_out(left_out: Mapping[str, str]) -> str:
    """Of files and their reasons, such as ", 2 left out: hidden (a/.b, a/.c)"."""
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return "".join(
        f", {len(some)} left out: {reason} ({first_few(some)})"
        for reason, some in names.items()
    )


def shown(name: str) -> str:
    """A name for a message: as it is, or escaped where it cannot be printed."""
    if not is_utf8(name):
        return repr(os.fsencode(name))
    return name if name.isprintable() else ascii(name)


def first_few(names: Sequence[str], show: Callable[[str], str] = shown) -> str:
    """The first of some names in a line, each as `show` makes it."""
    some = [show(name) for name in names[:MOST_NAMED]]
    return ", ".join(some + ["..."] * (len(names) > MOST_NAMED))


def spelled(name: str) -> str:
    """A name in quotes, with its escaped form where two can look the same."""
    if not is_utf8(name):
        return repr(os.fsencode(name))
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def is_utf8(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(
    folder: Path, prefix: str, around: Sequence[tuple[int, int]], listing: Listing
) -> None:
    """Lists what lies below a folder, whose names get a prefix.

    `around` are the identities of this folder and of those round it.
    """
    for path in sorted(folder.iterdir()):
        name = prefix + path.name
        reason = HIDDEN if path.name.startswith(".") else ""
        reason = SYSTEM if path.name in SYSTEM_FOLDERS else reason
        try:
            found = path.stat()
        except OSError:
            if not path.is_symlink():
                raise
            listing.left_out[name] = reason or BROKEN
            continue
        is_folder, identity = stat.S_ISDIR(found.st_mode), _identity(found)
        if is_folder and reason:
            for root, _, files in os.walk(path):
                below = Path(root).relative_to(folder).as_posix()
                listing.left_out.update({f"{prefix}{below}/{f}": reason for f in files})
        elif is_folder and identity in around:
            listing.left_out[name] = LOOP
        elif is_folder:
            _walk(path, f"{name}/", [*around, identity], listing)
        elif reason:
            listing.left_out[name] = reason
        elif stat.S_ISREG(found.st_mode) and path.suffix.lower() in SUFFIXES:
            listing.images[name] = [found.st_size, found.st_mtime_ns]
        else:
            listing.left_out[name] = OTHER


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
