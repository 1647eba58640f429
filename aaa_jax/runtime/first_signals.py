"""Ends a command in one line on a signal, until the loop notes signals to save first.

Imports nothing that takes its time: it is called before anything else is imported.
"""

import os
import signal
from typing import Any


def end_in_one_line(program: str) -> None:
    """Makes a signal that stops a run end the process with 128 + n, and say so.

    No exception: one that is raised in an import or a callback of JAX gets lost. SIGHUP
    stays ignored where `nohup` said so.
    """

    def end(number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        try:
            os.write(2, f"{program}: ended by {name}; nothing was lost\n".encode())
        finally:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:
            signal.signal(number, end)
