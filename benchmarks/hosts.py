"""Starts the libraries of the host, in this process or one process per core."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks import libraries, torch_libraries
from benchmarks.work import Draws, Library, Work, draw

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


def _spread(name: str, work: Work) -> tuple[Callable[[int], None], Callable[[], None]]:
    """(run, stop) of as many processes as there are cores, each with its share."""
    context = multiprocessing.get_context("spawn")
    num_workers = len(os.sched_getaffinity(0))
    connections, workers = [], []
    for place in range(num_workers):
        here, there = context.Pipe()
        rows = range(place, work.num_rows, num_workers)
        worker = context.Process(
            target=_serve, args=(there, name, work, rows), daemon=True
        )
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
