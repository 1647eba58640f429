"""The processes of one run: how they find each other, agree, stop and end.

A pod, or several processes on one machine, are one JAX program: process 0 leads (it
alone writes), and all take the same decisions at the same step. Where there is one
process, everything here answers at once. JAX finds Slurm, Open MPI and TPU pods, tells
the processes when one of them dies (its message, its exit code 134), and brings a
SIGTERM to all of them.
"""

import glob
import importlib.util
import json
import os
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

MODES = ("auto", "on", "off")
CONNECT_SECONDS = 300
HEARTBEAT_SECONDS = 60
END_SECONDS = 10  # how long a process that ends waits for the others

NOT_ALIKE = "all processes of a run must be started alike, with equal data"
GO_ON = (
    "Checkpoints are untouched: start the same command in every process again, and the "
    "run goes on from the newest."
)

T = TypeVar("T")

_MARGIN = 30  # our message comes before JAX, at its own time-out, aborts
_LEAST_BYTES = 1024  # of a message, so that few programs are compiled


class ProcessError(RuntimeError):
    """The processes of a run do not find each other, or do not fit together."""


def initialize(
    distributed: str = "auto",
    *,
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    connect_seconds: float = CONNECT_SECONDS,
    heartbeat_seconds: int = HEARTBEAT_SECONDS,
) -> bool:
    """Joins the processes of a run; before JAX touches any device.

    What is not given is what the environment says: JAX's variables, Slurm, Open MPI or
    a TPU machine. Where nothing shows several processes, ``auto`` joins none. After
    `connect_seconds` without the others the process ends with exit code 2, since JAX
    would abort it; one that is not heard of for `heartbeat_seconds` counts as dead.

    Returns:
        Whether this process is one of a distributed run.

    Raises:
        ProcessError: the arguments do not make a run.
    """
    if distributed not in MODES:
        raise ProcessError(
            f"--distributed is {distributed!r}; allowed: {', '.join(MODES)} (auto: "
            "when the environment or --coordinator says so)"
        )
    if distributed == "off":
        return False
    given, on_tpu = _given(coordinator, num_processes, process_id), _has_tpu()
    if distributed == "auto" and not (given or on_tpu or _has_tasks()):
        return False
    timer = threading.Timer(connect_seconds, _give_up, (given, connect_seconds))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=round(connect_seconds) + _MARGIN,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=END_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        is_alone = on_tpu and not given and isinstance(error, ValueError)
        if distributed == "auto" and is_alone:
            return False
        raise ProcessError(
            f"the processes of the run cannot be joined ({error}): give "
            "--coordinator=host:port (a port that is free in process 0), "
            "--num_processes and --process_id, or --distributed=off to run alone"
        ) from error
    finally:
        timer.cancel()
    return True


def count() -> int:
    """How many processes the run has."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is process 0, the one that writes."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """What every process gives, through JSON, in their order; also a barrier."""
    if count() == 1:
        return [value]
    message = json.dumps(value).encode()
    longest = multihost_utils.process_allgather(np.int32(len(message))).max()
    size = _LEAST_BYTES
    while size < longest:
        size *= 2
    padded = np.frombuffer(message.ljust(size), np.uint8)  # JSON may end in spaces
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(row.tobytes()) for row in rows]


def from_first(make: Callable[[], Any]) -> Any:
    """What ``make`` returns in process 0, through JSON, in all; also a barrier.

    Raises:
        ProcessError: in the others, when ``make`` raised; process 0 raises that error.
    """
    if count() == 1:
        return make()
    error: Exception | None = None
    answer: dict[str, Any] = {}
    if is_first():
        try:
            answer = {"value": make()}
        except Exception as caught:
            error, answer = caught, {"error": str(caught)}
    answer = gather(answer)[0]
    if error is not None:
        raise error
    if "error" in answer:
        raise ProcessError(f"process 0 says: {answer['error']}")
    return answer["value"]


def first_then_others(make: Callable[[], T]) -> T:
    """``make()`` in process 0, by `from_first`; once that has worked, in the others."""
    made: list[T] = []
    from_first(lambda: made.append(make()))
    return made[0] if made else make()


def anywhere(flag: bool) -> bool:
    """Whether it is so in any process."""
    return any(gather(flag))


def require_equal(values: Mapping[str, Any], complaint: str = NOT_ALIKE) -> None:
    """Refuses to go on when a process has other values than process 0, as JSON.

    Raises:
        ProcessError: in every process, with the complaint, what differs and where.
    """
    first, *others = gather({name: json.dumps(v) for name, v in values.items()})
    differing = []
    for index, own in enumerate(others, start=1):
        for name in [*first, *(own.keys() - first.keys())]:
            here, there = own.get(name, "nothing"), first.get(name, "nothing")
            if here != there:
                differing.append(f"{name} is {here} in process {index}, {there} in 0")
    if differing:
        listed = textwrap.shorten("; ".join(differing), 1000)
        raise ProcessError(f"{complaint}; these differ from process 0: {listed}")


class Stop:
    """Lets all processes stop at the same step. A class: it counts what it is asked.

    Alone, a signal counts at once. In several processes JAX takes SIGTERM before Python
    sees it, tells the others, and lets all of them stop at the same question; a SIGINT
    is passed on to JAX as SIGTERM.
    """

    def __init__(self, signals: list[int]) -> None:
        self._signals = signals  # that this process got; it grows
        self._asked = 0
        self._agreed = 0

    def is_due(self) -> bool:
        """Whether the run stops now; to be asked at the same steps in all processes."""
        if count() > 1:
            if self._signals:
                self._signals.clear()
                os.kill(os.getpid(), signal.SIGTERM)
            self._asked += 1
            if multihost_utils.reached_preemption_sync_point(self._asked):
                self._agreed = signal.SIGTERM
        return bool(self.signal())

    def signal(self) -> int:
        """The signal on which the run stops now, or 0."""
        if count() > 1:
            return self._agreed
        return self._signals[0] if self._signals else 0


def disconnect(code: int) -> None:
    """Disconnects this process from the run, just before it ends with an exit code.

    The processes wait here for each other. One that fails alone waits in vain, and ends
    with its own code before JAX ends all of them.
    """
    if not jax.distributed.is_initialized():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    timer = threading.Timer(END_SECONDS - 1, os._exit, (code,))
    timer.daemon = True
    timer.start()
    jax.distributed.shutdown()


def _given(coordinator: str, num_processes: int, process_id: int) -> dict[str, Any]:
    """What the arguments and JAX's variables say, as JAX's arguments."""
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS", "")
    try:
        total = num_processes or int(os.environ.get("JAX_NUM_PROCESSES", 0))
        own = process_id
        if own < 0:
            own = int(os.environ.get("JAX_PROCESS_ID", -1))
    except ValueError as error:
        raise ProcessError(
            f"JAX_NUM_PROCESSES and JAX_PROCESS_ID must be numbers: {error}"
        ) from error
    host, _, port = coordinator.rpartition(":")
    if coordinator and not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise ProcessError(
            f"--coordinator is {coordinator!r}; it must be host:port of process 0, "
            "such as 10.0.0.1:8476"
        )
    given: dict[str, Any] = {"coordinator_address": coordinator} if coordinator else {}
    given |= {"num_processes": total} if total else {}
    return given | ({"process_id": own} if own >= 0 else {})


def _has_tasks() -> bool:
    """Whether Slurm or Open MPI has started several tasks."""
    is_slurm = "SLURM_STEP_NODELIST" in os.environ
    slurm = int(os.environ.get("SLURM_NTASKS", 1)) if is_slurm else 1
    return max(slurm, int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1))) > 1


def _has_tpu() -> bool:
    """Whether JAX will use TPU chips here, which may be part of a pod."""
    if "tpu" not in os.environ.get("JAX_PLATFORMS", "tpu"):
        return False
    chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None


def _give_up(given: Mapping[str, Any], seconds: float) -> None:
    """Ends a process that waits for others; from the timer's thread."""
    own, total = given.get("process_id", "?"), given.get("num_processes", "?")
    text = (
        f"launch.py: process {own} of {total} on {socket.gethostname()} has waited "
        f"{seconds:g} s for the others (coordinator "
        f"{given.get('coordinator_address', 'found by JAX')}): start all of them, with "
        "the same --coordinator, and see that process 0's port can be reached; "
        "--connect_seconds waits longer, --distributed=off runs alone\n"
    )
    try:
        os.write(2, text.encode())
    finally:
        os._exit(2)
