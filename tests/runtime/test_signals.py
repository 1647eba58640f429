"""One signal is noted, a second one ends the process, wherever it is."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from aaa_jax.runtime.signals import noted_signals

WAITING = """
import ctypes, signal
from aaa_jax.runtime.signals import noted_signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # not as the tests' own nohup left it
with noted_signals() as noted:
    print("ready", flush=True)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):  # the second time for ever, and not woken by a signal
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize(
    ("first", "number"),
    [
        ([signal.SIGTERM], signal.SIGTERM),
        ([signal.SIGINT, signal.SIGHUP], signal.SIGINT),
        ([signal.SIGHUP] * 2, signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_a_process_that_waits_in_c_plus_plus(first, number):
    """SIGHUP never counts as the second: a terminal that closes sends it twice."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(first[0])
            assert process.stderr.readline() == "\n"
            assert process.stderr.readline().startswith("saving; a second signal")
            for more in first[1:]:
                process.send_signal(more)
                time.sleep(0.2)
            assert process.poll() is None
            process.send_signal(number)
            assert process.wait(timeout=60) == 128 + number
        finally:
            process.kill()


def test_a_signal_is_noted_and_everything_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with noted_signals() as noted:
        signal.raise_signal(signal.SIGTERM)
        assert noted == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_a_run_under_nohup_stays_deaf_to_sighup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_signals() as noted:
            signal.raise_signal(signal.SIGHUP)
        assert noted == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_and_other_signals_are_left_alone():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        with noted_signals() as noted:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [signal.SIGUSR1] * 3
        assert noted == []
    finally:
        signal.signal(signal.SIGUSR1, before)

    def inside() -> None:
        with noted_signals() as noted:
            seen.append(noted)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen[-1] == []
