"""Ends a process that hangs, with the stacks of all its threads.

A device, a network file system or a lost peer can keep a program inside one call for
ever, and no exception comes of it. Python's `faulthandler` ends such a process from a
thread in C, whatever Python does; the checkpoints are untouched, as after a kill. The
caller says what counts as moving: it beats.
"""

import contextlib
import faulthandler
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import jax

EXIT_CODE = 1  # faulthandler's

_STANDARD_ERROR = 2


class Watchdog:
    """Ends the process when no `beat` came for too long. A class: it owns a timer.

    Use it as a context manager: it watches inside, from the beginning. First one line
    says what has hung and what to do then. The stacks and the end with `EXIT_CODE`
    follow within two seconds, also where the line is missing, because a call keeps
    Python's lock.

    Args:
        seconds: without a beat, before the process is ended; 0: never.
        hint: what to do then.
    """

    def __init__(self, seconds: float, *, hint: str = "") -> None:
        self._seconds = seconds
        self._hint = hint
        self._slack = min(1.0, seconds / 10)  # between settings of the timer
        self._last = "the beginning"
        self._last_beat = self._armed_at = time.monotonic()
        self._pauses = 0
        self._closed = threading.Event()

    def beat(self, what: str) -> None:
        """Notes that something, such as "step 12", has moved: costs next to nothing."""
        self._last = what
        self._last_beat = time.monotonic()
        if self._last_beat - self._armed_at >= self._slack:
            self._arm()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Does not watch inside, where something may take as long as it likes."""
        self._pauses += 1
        self._arm()
        try:
            yield
        finally:
            self._last_beat = time.monotonic()
            self._pauses -= 1
            self._arm()

    def skip_first_call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function; its first call, which compiles, is not watched."""
        calls = itertools.count()

        def call(*args: Any) -> Any:
            if next(calls):
                return function(*args)
            with self.pause():
                return jax.block_until_ready(function(*args))

        return call

    def __enter__(self) -> Self:
        if self._seconds:
            self._last_beat = time.monotonic()
            self._arm()
            threading.Thread(target=self._announce, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._seconds:
            self._closed.set()
            faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        """Sets the timer anew; takes it away during a pause and after the end."""
        if not self._seconds or self._closed.is_set():
            return
        self._armed_at = time.monotonic()
        if self._pauses:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(
                self._seconds + 2 * self._slack, exit=True, file=_STANDARD_ERROR
            )

    def _announce(self) -> None:
        """Says what faulthandler cannot say, just before it ends the process."""
        while not self._closed.wait(self._slack / 4):
            idle = time.monotonic() - self._last_beat
            if idle >= self._seconds and not self._pauses:
                line = (
                    f"\nhang: nothing has moved for {self._seconds:g} s, since "
                    f"{self._last}. {self._hint} The process ends with exit code "
                    f"{EXIT_CODE}; its threads were doing:\n"
                )
                with contextlib.suppress(OSError):
                    os.write(_STANDARD_ERROR, line.encode())
                return
