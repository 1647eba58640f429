"""SIGTERM and SIGINT as a list that the loop looks at; a second one ends the process.

What is saved before the run ends is the loop's business.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class RunInterrupted(RuntimeError):
    """A signal asked the run to stop; it was saved first."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT; a second one ends the process at once."""
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    handled = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, note) for number in handled}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
