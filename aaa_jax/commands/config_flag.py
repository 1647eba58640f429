"""What follows `--config`: a preset's name or a file, its argument, what it changes."""

import difflib
import inspect
import os
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

import aaa_jax
from aaa_jax.experiments import key_names
from aaa_jax.runtime import paths

HINT = "--config=configs/NAME.py[:ARGUMENT], or the name alone: --config=digits:random"
# In a checkout a link to configs/; a wheel has the files themselves.
PRESETS = pathlib.Path(aaa_jax.__file__).parent / "configs"
NO_PRESETS = ("__init__", "arguments", "default", "table")


class UsageError(ValueError):
    """The command line cannot work; each argument names one problem."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(p.stem for p in PRESETS.glob("*.py") if p.stem not in NO_PRESETS)


def find_config(given: str) -> str:
    """`NAME[:ARGUMENT]` or `PATH[:ARGUMENT]` as the path of a file, with its argument.

    Raises:
        UsageError: there is no such file or preset.
    """
    path, colon, argument = given.partition(":")
    preset = PRESETS / f"{path}.py"
    is_name = re.fullmatch(r"\w+", path) is not None and path not in NO_PRESETS
    if is_name and preset.is_file():
        return f"{preset}{colon}{argument}"
    path = paths.expand(path)
    if os.path.isfile(path):
        return f"{path}{colon}{argument}"
    known = preset_names()
    near = difflib.get_close_matches(pathlib.Path(path).stem, known, n=1)
    meant = f": did you mean {near[0]}?" if near else ";"
    raise UsageError(
        f"--config: there is no file {path!r}{meant} presets: {', '.join(known)}"
    )


def normalize(given: Sequence[str]) -> list[str]:
    """The words with `--a_b` for `--a-b` and `-a_b`, and the path of the config's file.

    Raises:
        UsageError: the config's file is not there.
    """
    words, left = [], list(given)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not re.match(r"--?[A-Za-z]", name):
            words.append(word)
            continue
        name = f"--{name.lstrip('-').replace('-', '_')}"
        is_config = name == "--config" or name.startswith("--config.")
        if is_config and not equals and left and not left[0].startswith("--"):
            equals, value = "=", left.pop(0)
        if name == "--config":
            value = find_config(value)
        elif word == "--list":
            equals, value = "=", "cells"
        words.append(f"{name}{equals}{value}")
    return words


def define(values: flags.FlagValues, words: Sequence[str]) -> None:
    """Defines `--config`, and what the words change in it."""
    config_flags.DEFINE_config_file(
        "config", None, HINT, flag_values=values, sys_argv=["", *words]
    )


def require_config(values: flags.FlagValues) -> ConfigDict:
    """The config that was given.

    Raises:
        UsageError: the file makes none.
    """
    if not isinstance(values.config, ConfigDict):
        path = filename(values).split(":")[0]
        raise UsageError(f"--config: {path} has no get_config that returns a config")
    changed = overrides(values)
    # One's own network does not get the options of the preset's; a table's cells see
    # to that themselves.
    is_own = "model.name" in changed and ":" in values.config.model.name
    if is_own and not any(key.startswith("model.options") for key in changed):
        with values.config.unlocked():
            values.config.model.options = ConfigDict()
    return values.config


def filename(values: flags.FlagValues) -> str:
    """PATH[:ARGUMENT] of the config."""
    flag: Any = values["config"]
    return flag.config_filename


def overrides(values: flags.FlagValues) -> list[str]:
    """The keys that the command line changes."""
    flag: Any = values["config"]
    return sorted(flag.override_values)


def origin(values: flags.FlagValues) -> dict[str, Any]:
    """What a report is told of a run: where its config and its overrides are from."""
    path, _, argument = filename(values).partition(":")
    # The module that config_flags loaded stands under this name.
    get_config = sys.modules["config_config"].get_config
    parameters = inspect.signature(get_config).parameters.values()
    defaults = [p.default for p in parameters if isinstance(p.default, str)]
    return {
        "preset": pathlib.Path(path).stem,
        "argument": argument or "".join(defaults[:1]),
        "overrides": overrides(values),
    }


def problems(error: Exception, words: Sequence[str]) -> list[str]:
    """What is wrong with the words, of which the flags or a config file said `error`.

    Each change of the config is tried by itself; the sound ones then all together.
    """
    config = [word for word in words if word.startswith("--config=")]
    changes = [word for word in words if word.startswith(("--config.", "--noconfig."))]
    try:
        plain = _config_of(config)
    except Exception as of_file:  # anything: a config file is a program
        return [_what_is_wrong(of_file)]
    found, sound = [], []
    for word in changes:
        try:
            _config_of([*config, word])
            sound.append(word)
        except Exception as wrong:
            found.append(_what_is_wrong(wrong, word, plain))
    if not found:
        return [_what_is_wrong(error)]
    return found + _wrong_values(_config_of([*config, *sound]))


def _config_of(words: Sequence[str]) -> ConfigDict:
    values = flags.FlagValues()
    define(values, words)
    values(["", *words])
    return require_config(values)


def _wrong_values(config: ConfigDict) -> list[str]:
    """What else is wrong with a config, so that nobody mends one thing a start."""
    if "table" in config:
        return []
    from aaa_jax.experiments import build

    try:
        build.check_config(config)
    except build.ConfigError as error:
        return list(error.args)
    return []


def _what_is_wrong(
    error: Exception, word: str = "", config: ConfigDict | None = None
) -> str:
    """What an error of the flags or of a config file says, in one line."""
    lines = lines_of(error)
    if isinstance(error, UsageError):
        return lines[0]
    if isinstance(error, flags.Error):
        # absl quotes the traceback of a config file before its last line.
        return f"{'--config: ' if lines[1:] else ''}{lines[-1]}"
    if config is not None and isinstance(error, AttributeError | LookupError):
        name = word.split("=")[0]
        key = name.removeprefix("--config.")
        meant = key_names.did_you_mean(
            key, key_names.dotted_keys(config), prefix="--config."
        )
        return f"the config has no such key as in {name}{meant}"
    return f"--config: {type(error).__name__}: {' '.join(lines)}"


def lines_of(error: Exception) -> list[str]:
    """The lines of an error, also of one that quotes another; at least one."""
    text = str(error).replace("\\n", "\n")
    return [line.strip() for line in text.splitlines() if line.strip()] or [""]
