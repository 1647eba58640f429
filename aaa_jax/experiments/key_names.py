"""The dotted keys of a config, and those that a person may have meant by another."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any


def dotted_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted key of nested mappings; the options of a network are one key."""
    for name in config:
        key, value = f"{prefix}{name}", config[name]
        if hasattr(value, "keys") and not key.endswith("model.options"):
            yield from dotted_keys(value, f"{key}.")
        else:
            yield key


def did_you_mean(word: str, keys: Iterable[str], prefix: str = "") -> str:
    """The end of a message about an unknown key; empty where none is like it.

    At most three keys are named that are like the word or end like it. The initials of
    a last part count as the part: `lr` is `optimizer.learning_rate`.
    """
    places: dict[str, list[str]] = {}
    for key in keys:
        last = key.rpartition(".")[2]
        initials = "".join(part[:1] for part in last.split("_"))
        for form in {key, last, initials} if "_" in last else {key, last}:
            places.setdefault(form, []).append(key)
    last = word.rpartition(".")[2]
    near = [last] if last in places else difflib.get_close_matches(word, places)
    near = near or difflib.get_close_matches(last, places)
    meant = list(dict.fromkeys(prefix + key for form in near for key in places[form]))
    return f": did you mean {' or '.join(meant[:3])}?" if meant else ""
