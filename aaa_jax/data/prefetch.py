"""Batches made ahead in the background, by threads.

Two kinds of threads: Grain's, of which each waits for a whole batch, and a pool that
does the work of all batches, image by image, so that the batches in the making are few
and the threads many. What a batch is does not belong here.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import cv2

T = TypeVar("T")
Spread = Callable[[Callable[..., None], list[tuple[Any, ...]]], None]
BATCHES_AT_ONCE = 2  # so that threads have work while a batch's last image decodes


class Batches(Iterator[T], Generic[T]):
    """Batches in order, made ahead by threads.

    `close`, or leaving a `with` block, stops the threads.
    """

    def __init__(
        self, batches: Any, pool: ThreadPoolExecutor, stopped: threading.Event
    ) -> None:
        self._batches, self._pool, self._stopped = batches, pool, stopped

    def __next__(self) -> T:
        if self._stopped.is_set():
            raise StopIteration
        return next(self._batches)

    def close(self) -> None:
        """Stops the threads; to be called once the batches are no longer wanted."""
        self._stopped.set()
        self._batches.close()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> "Batches[T]":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def made_ahead(
    make: Callable[[int, Spread], T],
    first: int,
    last: int,
    *,
    num_threads: int,
    prefetch: int,
) -> Batches[T]:
    """The batches first to last - 1, made in the background.

    Args:
        make: (number of a batch, spread) -> the batch, where spread(job, arguments)
            runs a job for each tuple of arguments on the threads, and returns when all
            are done.
        first: number of the first batch.
        last: number after that of the last one.
        num_threads: that do the jobs; 0: one for each core the process may use.
        prefetch: batches that are made ahead, at least 1.
    """
    import grain  # takes a second

    cv2.setNumThreads(1)  # the threads are ours
    threads = num_threads or len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    stopped = threading.Event()

    def spread(job: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
        def unless_stopped(each: tuple[Any, ...]) -> None:
            if not stopped.is_set():
                job(*each)

        for _ in pool.map(unless_stopped, arguments):
            pass

    def batch(number: int) -> T:
        return make(number, spread)

    dataset = grain.MapDataset.range(last).map(batch)[first:]
    reading = grain.ReadOptions(
        num_threads=min(BATCHES_AT_ONCE, prefetch),
        prefetch_buffer_size=prefetch,
    )
    batches = iter(dataset.to_iter_dataset(reading))
    batches.start_prefetch()
    return Batches(batches, pool, stopped)
