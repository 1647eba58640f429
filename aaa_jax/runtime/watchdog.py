"""Ends a process that hangs, with the stacks of all its threads, rather than wait.

A device, a network file system or a lost peer can keep a program inside one call for
ever, and no exception comes of it. A thread of its own sees that nothing has moved for
too long and ends the process; the checkpoints are untouched, as after a kill. What
counts as moving is the caller's business: it beats.
"""

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import jax

EXIT_CODE = 1

_STANDARD_ERROR = 2
_TICKS = 10  # how often within the allowed seconds the thread looks, at least


class Watchdog:
    """Ends the process when no `beat` came for too long. A class: it owns a thread.

    Use it as a context manager: it watches inside, from the beginning. Time in which
    the whole process stood still (SIGSTOP) counts as one tick.

    The thread needs the interpreter's lock, which JAX gives up while it waits. Against
    a call that keeps it, a timer of `faulthandler` stands behind, with twice the
    seconds (the process standing still counts there): the stacks and the exit code are
    the same, the message is "Timeout (h:mm:ss)!".

    Args:
        seconds: without a beat, before the process is ended; 0: never.
        hint: what to do then, printed after the stacks.
    """

    def __init__(self, seconds: float, *, hint: str = "") -> None:
        if not seconds >= 0:
            raise ValueError(f"seconds must be at least 0, got {seconds}")
        self._seconds = seconds
        self._hint = hint
        self._last = "the beginning"
        self._beaten = False
        self._pauses = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self, what: str) -> None:
        """Notes that something has moved: costs next to nothing.

        Args:
            what: for the message, such as "step 12".
        """
        self._last = what
        self._beaten = True

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Does not watch inside, where something may take as long as it likes."""
        with self._lock:
            self._pauses += 1
            self._arm()
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                self._beaten = True
                self._arm()

    def but_for_the_first_call(self, function: Callable[..., Any]) -> Callable:
        """The function; its first call, which compiles, is not watched."""
        if not self._seconds:
            return function
        was_called = False

        def call(*args: Any) -> Any:
            nonlocal was_called
            if was_called:
                return function(*args)
            with self.pause():
                result = jax.block_until_ready(function(*args))
            was_called = True
            return result

        return call

    def close(self) -> None:
        """Stops watching. May be called again."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            faulthandler.cancel_dump_traceback_later()

    def __enter__(self) -> Self:
        if self._seconds:
            with self._lock:
                self._arm()
            self._thread = threading.Thread(
                target=self._watch, name="watchdog", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        tick = min(1.0, self._seconds / _TICKS)
        idle, looked = 0.0, time.monotonic()
        while not self._stopped.wait(tick):
            now = time.monotonic()
            idle += min(now - looked, 2 * tick)
            looked = now
            with self._lock:
                if self._beaten or self._pauses:
                    self._beaten = False
                    idle = 0.0
                self._arm()
            if idle >= self._seconds:
                self._end()

    def _arm(self) -> None:
        """Starts the timer behind anew, or takes it away during a pause."""
        if self._pauses:
            faulthandler.cancel_dump_traceback_later()
        elif self._seconds:
            faulthandler.dump_traceback_later(
                2 * self._seconds, exit=True, file=_STANDARD_ERROR
            )

    def _end(self) -> None:
        """Says what is known, past every lock and buffer of Python, and ends."""
        _print(
            f"\nhang: nothing has moved for {self._seconds:g} s, since {self._last}. "
            f"The process ends with exit code {EXIT_CODE}. What its threads were doing:"
        )
        faulthandler.dump_traceback(file=_STANDARD_ERROR, all_threads=True)
        _print(f"hang: nothing has moved since {self._last}. {self._hint}".rstrip())
        os._exit(EXIT_CODE)


def _print(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(_STANDARD_ERROR, f"{line}\n".encode())
