"""A path as a person wrote it: every door that takes one calls `expand`, once."""

import argparse
import os
import pathlib


class PathError(ValueError, argparse.ArgumentTypeError):
    """There is no such home directory."""


def expand(path: str | os.PathLike[str]) -> str:
    """The path with `~` and `~user` spelled out; all else, also a bucket, stays.

    A shell does so only at the beginning of a word, not in `--workdir=~/runs`.

    Raises:
        PathError: there is no such home directory.
    """
    expanded = os.path.expanduser(os.fspath(path))
    if expanded.startswith("~"):
        raise PathError(
            f"{os.fspath(path)!r}: there is no such home directory; ./~ is a folder of "
            "that name"
        )
    return expanded


def local(text: str) -> pathlib.Path:
    """The same as a path on this machine: the `type` of an argument of argparse.

    Raises:
        PathError: there is no such home directory; argparse says so in one line.
    """
    return pathlib.Path(expand(text))
