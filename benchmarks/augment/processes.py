"""Starts what runs on the host, in this process or in one process per core."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.augment import libraries, torch_libraries
from benchmarks.augment.work import Draws, Library, Work, draw

MAKERS: dict[str, Callable[[Work], Library]] = {
    "Pillow": libraries.pillow,
    "OpenCV": libraries.opencv,
    "albumentations": libraries.albumentations,
    "torchvision v2": torch_libraries.torchvision,
    "kornia": torch_libraries.kornia,
}
THREADED = {"kornia"}  # uses all cores by itself


class Started(NamedTuple):
    """A library ready to run.

    Attributes:
        run: seed -> the whole batch, augmented and normalised; in worker processes it
            stays there: nothing is charged for bringing it back.
        replay: draws -> uint8 [N M, H, W, 3].
        stop: ends the workers, if any.
    """

    run: Callable[[int], Any]
    replay: Callable[[Draws], np.ndarray]
    stop: Callable[[], None]


def start(name: str, work: Work, cores: str) -> Started:
    """A library on one core ("one") or all; ImportError where it is not installed."""
    library = MAKERS[name](work)
    rows = range(work.num_rows)

    def replay(draws: Draws) -> np.ndarray:
        return library.pixels(library.augment(draws, rows))

    if cores == "one" or name in THREADED:
        return Started(lambda seed: _whole(library, work, seed, rows), replay, _nothing)
    run, stop = _spread(name, work)
    return Started(run, replay, stop)


def _whole(library: Library, work: Work, seed: int, rows: Sequence[int]) -> Any:
    return library.finish(library.augment(draw(seed, work), rows))


def _nothing() -> None:
    pass


def start_engine(work: Work) -> Started:
    """This engine's driver "map", a process pinned to each core.

    Policies are shared out, as the libraries of the host share the rows.
    """
    from benchmarks.augment import engine

    cores = sorted(os.sched_getaffinity(0))
    shares = [
        (work._replace(ops=ops, magnitudes=magnitudes), core)
        for core, ops, magnitudes in zip(
            cores,
            np.array_split(work.ops, len(cores)),
            np.array_split(work.magnitudes, len(cores)),
            strict=True,
        )
        if len(ops)
    ]
    run, stop = _processes(_serve_engine, shares)
    apply = engine.engine(work, "map")
    return Started(run, lambda draws: engine.replay(work, apply, draws), stop)


def _spread(name: str, work: Work) -> tuple[Callable[[int], None], Callable[[], None]]:
    """(run, stop) of as many processes as there are cores, each with its share."""
    number = len(os.sched_getaffinity(0))
    rows = [range(place, work.num_rows, number) for place in range(number)]
    return _processes(_serve, [(name, work, share) for share in rows])


def _processes(
    serve: Callable[..., None], shares: Sequence[tuple[Any, ...]]
) -> tuple[Callable[[int], None], Callable[[], None]]:
    """(run, stop) of a process for each share."""
    context = multiprocessing.get_context("spawn")
    connections, workers = [], []
    for share in shares:
        here, there = context.Pipe()
        worker = context.Process(target=serve, args=(there, *share), daemon=True)
        worker.start()
        connections.append(here)
        workers.append(worker)

    def run(seed: int) -> None:
        for connection in connections:
            connection.send(seed)
        for connection in connections:
            connection.recv()

    def stop() -> None:
        for connection, worker in zip(connections, workers, strict=True):
            connection.send(None)
            worker.join()

    return run, stop


def _serve(connection: Connection, name: str, work: Work, rows: Sequence[int]) -> None:
    """A worker: augments its rows for every seed that comes, until None comes."""
    library = MAKERS[name](work)
    while (seed := connection.recv()) is not None:
        _whole(library, work, seed, rows)
        connection.send(seed)


def _serve_engine(connection: Connection, work: Work, core: int) -> None:
    """As `_serve`; JAX is imported where it sees one core."""
    os.sched_setaffinity(0, {core})
    os.environ["XLA_FLAGS"] = ""
    import jax

    from benchmarks.augment import engine

    compiled = engine.compile_candidate(work, engine.engine(work, "map"), 1)
    while (seed := connection.recv()) is not None:
        jax.block_until_ready(compiled.run(seed))
        connection.send(seed)
