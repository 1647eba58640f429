"""The processes of one run: how they find each other, agree, and leave.

A pod, or several processes on one machine, are one JAX program: process 0 leads (it
alone writes), all take the same decisions at the same step. Everything here does
nothing, or answers at once, where there is one process. Which device does which share
of a step is the business of `devices`.
"""

import ctypes
import functools
import glob
import importlib.util
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MODES = ("auto", "on", "off")
CONNECT_SECONDS = 300
HEARTBEAT_SECONDS = 60
LEAVE_SECONDS = 10  # how long a process that leaves waits for the others

NOT_ALIKE = "all processes of a run must be started alike, with equal data"
GO_ON = (
    "Checkpoints are untouched: start the same command in every process again, and the "
    "run goes on from the newest."
)

T = TypeVar("T")

_MARGIN = 30  # our message comes before JAX, at its own time-out, aborts
_LEAST_BYTES = 1024  # of a message, so that few programs are compiled
_leaving: list[int] = []  # the exit code, once this process is on its way out


class ProcessError(RuntimeError):
    """The processes of a run do not find each other, or do not fit together."""


def initialize(
    mode: str = "auto",
    *,
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    seconds: float = CONNECT_SECONDS,
    heartbeat_seconds: int = HEARTBEAT_SECONDS,
) -> bool:
    """Joins the processes of a run; before JAX touches any device.

    Args:
        mode: ``off``; ``on``; ``auto``: when told by the other arguments, by
            JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or when
            Slurm, Open MPI or a TPU machine shows several processes.
        coordinator: ``host:port`` of process 0; "": what the environment says.
        num_processes: of the run; 0: what the environment says.
        process_id: of this one, from 0; -1: what the environment says.
        seconds: to wait for the others; then the process ends with exit code 2, since
            JAX would abort it.
        heartbeat_seconds: after which a process that is not heard of counts as dead.

    Returns:
        Whether this process is one of a distributed run.

    Raises:
        ProcessError: the arguments do not make a run, or the others are not found.
    """
    if mode not in MODES:
        raise ProcessError(
            f"--distributed is {mode!r}; allowed: {', '.join(MODES)} (auto: when the "
            "environment or --coordinator says so)"
        )
    if mode == "off":
        return False
    told = _told(coordinator, num_processes, process_id)
    detected = _detected()
    if mode == "auto" and not told and not detected:
        return False
    _check_told(told)
    # Signals are the business of `signals`: JAX would swallow SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    timer = threading.Timer(seconds, _give_up, (told, seconds))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **told,
            initialization_timeout=round(seconds) + _MARGIN,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
    except ValueError as error:
        if mode == "auto" and not told and detected == "TPU":
            return False  # a machine on its own
        raise ProcessError(_not_found(told, str(error))) from error
    except RuntimeError as error:
        raise ProcessError(_not_found(told, str(error))) from error
    finally:
        timer.cancel()
    if told or detected != "TPU":  # which may be a machine on its own
        _explain_aborts()
    return True


def count() -> int:
    """How many processes the run has."""
    return jax.process_count()


def is_first() -> bool:
    """Whether this is process 0, the one that writes."""
    return jax.process_index() == 0


def from_first(make: Callable[[], Any]) -> Any:
    """What ``make`` returns in process 0, in every process; also a barrier.

    Args:
        make: called in process 0 only; its result goes through JSON.

    Raises:
        ProcessError: in the others, when ``make`` raised; process 0 raises that error.
    """
    if count() == 1:
        return make()
    _explain_aborts()
    error: Exception | None = None
    answer: dict[str, Any] = {}
    if is_first():
        try:
            answer = {"value": make()}
        except Exception as caught:
            error, answer = caught, {"error": str(caught)}
    answer = json.loads(_broadcast(json.dumps(answer).encode()))
    if error is not None:
        raise error
    if "error" in answer:
        raise ProcessError(f"process 0 says: {answer['error']}")
    return answer["value"]


def first_then_others(make: Callable[[], T]) -> T:
    """``make()`` in process 0; once that has worked, in the others.

    Raises:
        ProcessError: in the others, when ``make`` raised; process 0 raises that error.
    """
    made: list[T] = []
    from_first(lambda: made.append(make()))
    return made[0] if made else make()


def anywhere(flag: bool) -> bool:
    """Whether it is so in any process."""
    if count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def require_equal(values: Mapping[str, Any], complaint: str = NOT_ALIKE) -> None:
    """Refuses to go on when a process has other values than process 0.

    Args:
        values: by name; compared as JSON.
        complaint: what it means when they differ.

    Raises:
        ProcessError: in every process, with the names of what differs and where.
    """
    if count() == 1:
        return
    own = {name: json.dumps(value) for name, value in values.items()}
    first = from_first(lambda: own)
    differs = [own.get(name) != value for name, value in first.items()]
    differs.append(bool(own.keys() - first.keys()))
    names = [*first, "what there is besides"]
    table = np.asarray(multihost_utils.process_allgather(np.asarray(differs)))
    if not table.any():
        return
    lines = [
        f"process {process}: {', '.join(names[k] for k in np.flatnonzero(row))}"
        for process, row in enumerate(table)
        if row.any()
    ]
    here = [
        f"{name} is {own.get(name)} here (process {jax.process_index()}) and {value} "
        "in process 0"
        for name, value in first.items()
        if own.get(name) != value
    ]
    raise ProcessError(
        f"{complaint}; other than in process 0 are: {'; '.join(lines)}. "
        f"{'; '.join(here[:5])}".rstrip()
    )


class Stop:
    """Lets all processes stop at the same step. A class: it keeps compiled arrays.

    Every process votes with the signal it got; the largest counts. The vote is taken
    on the devices, in line with the steps, so that nobody waits for it: `ask` returns
    at once, and the answer is there when the step before it is. Alone, a signal counts
    at once.

    Args:
        signals: the numbers of those that this process got; it may grow.
        devices: of the run, of all processes.
    """

    def __init__(self, signals: list[int], devices: Sequence[jax.Device]) -> None:
        self._signals = signals
        self._agreed = 0
        self._alone = count() == 1
        if self._alone:
            return
        mesh = Mesh(np.asarray(devices), ("devices",))
        self._shape = (len(devices),)
        self._split = NamedSharding(mesh, PartitionSpec("devices"))
        whole = NamedSharding(mesh, PartitionSpec())
        self._largest = jax.jit(lambda votes: votes.max(), out_shardings=whole)
        self._no = self._vote(0)

    def ask(self) -> jax.Array | None:
        """Begins a vote, to be given to `hear`; at the same steps everywhere."""
        if self._alone:
            return None
        return self._largest(
            self._vote(self._signals[0]) if self._signals else self._no
        )

    def hear(self, vote: jax.Array | None) -> None:
        """Waits for a vote's outcome; at the same steps everywhere."""
        if vote is not None:
            self._agreed = self._agreed or int(vote)

    def signal(self) -> int:
        """The signal on which all stop now, or 0."""
        if self._alone:
            return self._signals[0] if self._signals else 0
        return self._agreed

    def _vote(self, value: int) -> jax.Array:
        def share(index: Any) -> np.ndarray:
            return np.full(self._shape, value, np.int32)[index]

        return jax.make_array_from_callback(self._shape, self._split, share)


def leave(code: int) -> None:
    """Leaves the run, with the others where they leave too; the last thing to call.

    A process that leaves alone, because something failed in it, ends the others
    within `LEAVE_SECONDS`. Does not return but for the exit code 0.
    """
    if not jax.distributed.is_initialized():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    _leaving.append(code)
    timer = threading.Timer(2 * LEAVE_SECONDS, os._exit, (code,))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.shutdown()
    except RuntimeError:
        os._exit(code or 1)
    timer.cancel()
    if code:
        os._exit(code)


def _told(coordinator: str, num_processes: int, process_id: int) -> dict[str, Any]:
    """What the arguments and JAX's variables say, as JAX's arguments."""
    environment = os.environ
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS", "")
    told: dict[str, Any] = {"coordinator_address": coordinator} if coordinator else {}
    try:
        total = num_processes or int(environment.get("JAX_NUM_PROCESSES", 0))
        own = process_id
        if own < 0:
            own = int(environment.get("JAX_PROCESS_ID", -1))
    except ValueError as error:
        raise ProcessError(
            f"JAX_NUM_PROCESSES and JAX_PROCESS_ID must be numbers: {error}"
        ) from error
    if total:
        told["num_processes"] = total
    if own >= 0:
        told["process_id"] = own
    return told


def _check_told(told: Mapping[str, Any]) -> None:
    """Refuses what cannot be a run, before a socket is opened."""
    address = told.get("coordinator_address", "host:1")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ProcessError(
            f"--coordinator is {address!r}; it must be host:port of process 0, such as "
            "10.0.0.1:8476"
        )
    total, own = told.get("num_processes"), told.get("process_id")
    if total is not None and own is not None and not 0 <= own < total:
        raise ProcessError(
            f"--process_id is {own}; of --num_processes={total} it must be one of 0 to "
            f"{total - 1}"
        )


def _detected() -> str:
    """What may hold several processes of a run: Slurm, Open MPI, TPU; or nothing."""
    environment = os.environ
    if "SLURM_STEP_NODELIST" in environment:
        return "Slurm" if int(environment.get("SLURM_NTASKS", 1)) > 1 else ""
    if int(environment.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return "Open MPI"
    if "tpu" not in environment.get("JAX_PLATFORMS", "tpu"):
        return ""
    has_chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return "TPU" if has_chips and importlib.util.find_spec("libtpu") else ""


def _not_found(told: Mapping[str, Any], why: str) -> str:
    if "should be defined" in why or "must be defined" in why:
        return (
            f"not enough is known of the run's processes ({_first_line(why)}): give "
            "--coordinator=host:port, --num_processes and --process_id, or "
            "--distributed=off to run alone"
        )
    where = told.get("coordinator_address", "the coordinator")
    return (
        f"the run's processes cannot be joined at {where} ({_first_line(why)}): is "
        "the port free in process 0, and the same --coordinator given everywhere?"
    )


def _give_up(told: Mapping[str, Any], seconds: float) -> None:
    """Ends a process that waits for others; from the timer's thread."""
    where = told.get("coordinator_address", "found by JAX")
    own, total = told.get("process_id", "?"), told.get("num_processes", "?")
    _print(
        f"launch.py: process {own} of {total} on {socket.gethostname()} has waited "
        f"{seconds:g} s for the others (coordinator {where}): start all of them, with "
        "the same --coordinator, and see that process 0's port can be reached; "
        "--connect_seconds waits longer, --distributed=off runs alone"
    )
    os._exit(2)


@functools.cache  # keeps the C function as long as it may be called
def _explain_aborts() -> Any:
    """Says what it means when JAX aborts this process because another one died.

    JAX logs the reason and calls abort(); Python is not told. A handler in C's sense
    is the one place to add what the reader needs, and to end with our exit code.
    """

    def explain(number: int) -> None:
        if _leaving:
            os._exit(_leaving[0])
        _print(
            "launch.py: JAX ended this process (the reason is above); most likely "
            f"another process of the run died or cannot be reached. {GO_ON}"
        )
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(explain)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)
    return handler


def _broadcast(message: bytes) -> bytes:
    """Process 0's message, everywhere."""
    length = multihost_utils.broadcast_one_to_all(np.int32(len(message)))
    size = _LEAST_BYTES
    while size < int(length):
        size *= 2
    buffer = np.zeros(size, np.uint8)
    if is_first():
        buffer[: len(message)] = np.frombuffer(message, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(buffer))
    return received[: int(length)].astype(np.uint8).tobytes()


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _print(line: str) -> None:
    os.write(2, f"{line}\n".encode())
