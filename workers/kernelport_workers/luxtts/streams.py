"""Several jobs at a time on one CPU, each on few threads: less is lost to waiting than with all cores on one job."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

T = TypeVar("T")

MAX_STREAMS = 8
"""Most streams on one machine: each takes memory of its own."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream_count() -> int:
    """Streams that keep this machine busy."""
    return min(cores(), MAX_STREAMS)


def threads_per_stream() -> int:
    """Threads that each of :func:`stream_count` streams may use."""
    return max(1, cores() // stream_count())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread meanwhile: the sums of small products differ by how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_streams(work: Sequence[Callable[[], T]], streams: int) -> Iterator[T]:
    """Yield the results of ``work`` as they are finished, ``streams`` calls at a time, begun in order.

    What a call raises propagates; calls that have not begun by then never do.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(streams, initializer=torch.set_num_threads, initargs=(threads_per_stream(),)) as pool:
        futures = [pool.submit(each) for each in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
            pool.shutdown()
            # The streams' setting reached into libraries that keep one for the whole process.
            torch.set_num_threads(threads)
