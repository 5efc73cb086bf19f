"""The plain loop: processes that load the voice and speak, with nothing between them and the texts but a counter."""

import multiprocessing
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelport_ops.bench.processes import BenchError

START_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 1800.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Spoken:
    """What came of a run.

    Attributes:
        items: texts spoken.
        seconds: from the first text to the last.
        audio_s: seconds of speech.
        cpu_s: CPU seconds by process.
    """

    items: int
    seconds: float
    audio_s: float
    cpu_s: dict[str, float]


def run_plain_loop(texts: Sequence[str], processes: int) -> Spoken:
    """Speaks the texts with so many processes. Each takes the next text when it is done with one.

    Loading is not counted.

    Raises:
        BenchError: when a process ends early or takes too long.
    """
    context = multiprocessing.get_context("spawn")
    following, ready, go = context.Value("i", 0), context.Semaphore(0), context.Event()
    results: Any = context.Queue()
    workers = [
        context.Process(target=_speak, args=(list(texts), following, ready, go, results), daemon=True)
        for _ in range(processes)
    ]
    try:
        for worker in workers:
            worker.start()
        for _ in workers:
            if not ready.acquire(timeout=START_TIMEOUT_S):
                raise BenchError(f"the plain loop did not load the voice within {START_TIMEOUT_S:g} s")
        started = time.perf_counter()
        go.set()
        shares = [_result(results, workers, started + RUN_TIMEOUT_S) for _ in workers]
        seconds = time.perf_counter() - started
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
    return Spoken(
        items=sum(share[0] for share in shares),
        seconds=seconds,
        audio_s=sum(share[1] for share in shares),
        cpu_s={f"process-{number}": share[2] for number, share in enumerate(shares, 1)},
    )


def _result(results: Any, workers: Sequence[Any], deadline: float) -> tuple[int, float, float]:
    while True:
        try:
            share: tuple[int, float, float] = results.get(timeout=_POLL_S)
            return share
        except queue.Empty:
            if any(worker.exitcode for worker in workers) or time.perf_counter() > deadline:
                raise BenchError("a process of the plain loop ended early, or takes too long") from None


def _speak(texts: list[str], following: Any, ready: Any, go: Any, results: Any) -> None:
    """One process: the steps that the worker's pipeline takes, written out as a loop."""
    from hibari import Hibari

    tts = Hibari(threads=1)
    tts("Warm up.", seed=0)
    ready.release()
    go.wait()
    items, samples, cpu_s = 0, 0, time.process_time()
    while True:
        with following.get_lock():
            index = following.value
            following.value += 1
        if index >= len(texts):
            break
        rng = np.random.default_rng(0)
        pieces = [tts.from_ids(tts.ids(phonemes), 1.0, rng) for phonemes in tts.phonemize(texts[index])]
        samples += len(np.concatenate(pieces))
        items += 1
    results.put((items, samples / tts.sample_rate, time.process_time() - cpu_s))
