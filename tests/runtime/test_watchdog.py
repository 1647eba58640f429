"""A process that hangs is ended with its stacks; one that moves or may wait is not."""

import subprocess
import sys
import textwrap
import time

from aaa_jax.runtime.watchdog import EXIT_CODE, Watchdog

BEGINNING = """
import ctypes, sys, time
import jax, jax.numpy as jnp
from aaa_jax.runtime.watchdog import Watchdog

def stand_still(seconds):
    time.sleep(seconds)

def in_xla(seconds):
    '''The main thread waits in C++ for a program that waits for a callback.'''
    def slow(x):
        time.sleep(seconds)
        return x
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    function = jax.jit(lambda x: jax.pure_callback(slow, shape, x))
    function(jnp.float32(1)).block_until_ready()

with Watchdog({seconds}, hint="The same command goes on.") as watchdog:
"""


def _run(body: str, after="", *, seconds: float = 1.0) -> subprocess.CompletedProcess:
    """A process that is watched while it does something, and not after it."""
    watched = BEGINNING.replace("{seconds}", str(seconds))
    watched += textwrap.indent(body.strip(), "    ")
    return subprocess.run(
        [sys.executable, "-c", f"{watched}\n{after}"],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_main_thread_stuck_in_c_plus_plus_is_ended_with_all_stacks():
    ended = _run("watchdog.beat('step 12')\nin_xla(600)")
    assert ended.returncode == EXIT_CODE
    said, stacks = ended.stderr.split("Timeout (0:00:01")
    assert "hang: nothing has moved for 1 s, since step 12. The same command" in said
    assert f"ends with exit code {EXIT_CODE}" in said
    assert "in in_xla" in stacks  # the main thread
    assert "in slow" in stacks  # the thread of the callback


def test_a_call_that_keeps_the_interpreters_lock_is_ended_too():
    """In the second call of a function, the first of which was not watched."""
    began = time.monotonic()
    ended = _run(
        """
sleep = watchdog.skip_first_call(ctypes.PyDLL(None).sleep)
sleep(1)
print("first", flush=True)
sleep(600)
""",
        seconds=0.5,
    )
    assert ended.returncode == EXIT_CODE
    assert ended.stdout == "first\n"
    assert "Timeout (0:00:00" in ended.stderr
    assert "in <module>" in ended.stderr
    assert time.monotonic() - began < 60


def test_what_moves_or_may_wait_is_left_alone():
    """Beats, a pause, a first call, and the time after the end: all beyond 1 s."""
    left = _run(
        """
for _ in range(6):
    stand_still(0.25)
    watchdog.beat("a step")
with watchdog.pause():
    stand_still(1.5)
first = watchdog.skip_first_call(in_xla)
first(1.5)
print("went through", flush=True)
""",
        after="stand_still(2.5)\nprint('and on', flush=True)",
    )
    assert left.returncode == 0, left.stderr
    assert left.stdout == "went through\nand on\n"
    assert left.stderr == ""


def test_zero_seconds_watch_nothing():
    with Watchdog(0) as watchdog:
        watchdog.skip_first_call(time.sleep)(0)
        with watchdog.pause():
            watchdog.beat("nothing")
