"""Signals that stop a run: first they end the command, in the loop they are noted.

A second SIGTERM or SIGINT ends the process at once. SIGHUP, of a terminal that closes,
often comes twice or behind another: it stops a run, and never hurries it. Where `nohup`
said so it stays ignored. Nothing slow is imported here: `end_in_one_line` is called
before anything else.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunInterrupted(RuntimeError):
    """A signal asked the run to stop; it was saved first."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def end_in_one_line(program: str) -> None:
    """Makes a signal that stops a run end the process with 128 + n, and say so.

    No exception: one that is raised in an import or a callback of JAX gets lost.
    """

    def end(number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        try:
            os.write(2, f"{program}: ended by {name}; nothing was lost\n".encode())
        finally:
            os._exit(128 + number)

    for number in stopping_signals():
        signal.signal(number, end)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Collects SIGTERM, SIGINT and SIGHUP; a second one ends the process at once.

    Python calls a handler when its main thread comes back from C++, where it compiles
    or waits for a device. The second signal does not wait for that: a thread is told
    of it through a pipe, and ends the process with the exit code 128 + n. In a run of
    several processes SIGTERM is left to JAX, which tells the others (`processes.Stop`).
    """
    import jax

    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_end_at_second, args=(reading,), daemon=True)
    thread.start()
    left_to_jax = {signal.SIGTERM} if jax.process_count() > 1 else set()
    before = {
        number: signal.signal(number, lambda received, _: noted.append(received))
        for number in stopping_signals() - left_to_jax
    }
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield noted
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        thread.join()
        os.close(reading)


def stopping_signals() -> set[signal.Signals]:
    """The signals that stop a run: without SIGHUP where `nohup` ignores it."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return set(_HANDLED) - ({signal.SIGHUP} if is_ignored else set())


def _end_at_second(reading: int) -> None:
    """Reads a byte for each signal, until the other end of the pipe is closed."""
    count = 0
    while number := os.read(reading, 1):
        if number[0] not in _HANDLED or (count and number[0] == signal.SIGHUP):
            continue
        count += 1
        if count == 1:
            with suppress(OSError):
                os.write(2, b"\nsaving; a second signal ends the process without\n")
        elif count == 2:
            os._exit(128 + number[0])
