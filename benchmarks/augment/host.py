"""Starts a library, here or in a process on each core. Imports no JAX."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.augment import dali, libraries, torch_libraries
from benchmarks.augment.work import Candidate, Draws, Library, Work, draw

MAKERS: dict[str, Callable[[Work], Library]] = {
    "Pillow": libraries.pillow,
    "OpenCV": libraries.opencv,
    "albumentations": libraries.albumentations,
    "torchvision v2": torch_libraries.torchvision,
    "torchvision v2 in batches": torch_libraries.torchvision_batches,
    "kornia": torch_libraries.kornia,
    "DALI TrivialAugment twice": dali.trivial_augment_twice,
}
# Use all cores by themselves, or the GPU.
THREADED = {"torchvision v2 in batches", "kornia", "DALI TrivialAugment twice"}


def start(name: str, work: Work, *, is_spread: bool) -> Candidate:
    """A library in this process, or spread over the cores; or ImportError."""
    library = MAKERS[name](work)
    rows = range(work.num_rows)

    def replay(draws: Draws) -> np.ndarray | None:
        return library.pixels(library.augment(draws, rows))

    if is_spread and name not in THREADED:
        run, stop = _spread(name, work)
        return Candidate(run, replay, {}, stop)
    return Candidate(lambda seed: _batch(library, work, seed, rows), replay, {})


def _spread(name: str, work: Work) -> tuple[Callable[[int], None], Callable[[], None]]:
    """(run, stop) of as many processes as there are cores, each with its share."""
    context = multiprocessing.get_context("spawn")
    number = len(os.sched_getaffinity(0))
    connections, workers = [], []
    for place in range(number):
        here, there = context.Pipe()
        share = range(place, work.num_rows, number)
        arguments = (there, name, work, share)
        worker = context.Process(target=_serve, args=arguments, daemon=True)
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
        _batch(library, work, seed, rows)
        connection.send(seed)


def _batch(library: Library, work: Work, seed: int, rows: Sequence[int]) -> Any:
    return library.finish(library.augment(draw(seed, work), rows))
