"""SIGTERM and SIGINT as a list that the loop looks at; a second one ends the process.

What is saved before the run ends is the loop's business.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_HANDLED = (signal.SIGTERM, signal.SIGINT)


class RunInterrupted(RuntimeError):
    """A signal asked the run to stop; it was saved first."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT; a second one ends the process at once.

    Python calls a handler when its main thread comes back from C++, where it compiles
    or waits for a device. The second signal does not wait for that: a thread is told
    of it through a pipe, and ends the process with the exit code 128 + n.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return

    def note(number: int, frame: Any) -> None:
        noted.append(number)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_end_at_second, args=(reading,), daemon=True)
    thread.start()
    before = {number: signal.signal(number, note) for number in _HANDLED}
    told = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield noted
    finally:
        signal.set_wakeup_fd(told)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        thread.join()
        os.close(reading)


def _end_at_second(reading: int) -> None:
    """Reads a byte for each signal, until the other end of the pipe is closed."""
    count = 0
    while number := os.read(reading, 1):
        count += number[0] in _HANDLED
        if count == 1:
            _print("saving; a second signal ends the process without")
        elif count == 2:
            os._exit(128 + number[0])


def _print(line: str) -> None:
    with suppress(OSError):
        os.write(2, f"\n{line}\n".encode())
