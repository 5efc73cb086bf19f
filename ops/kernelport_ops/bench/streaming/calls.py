"""Calls of one sentence, alone and beside listeners and a job on the same worker."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kernelport import Client
from kernelport_ops.bench.streaming.listeners import LINES, MODEL, WARM_UP, Level, heard_aside, streamed

LISTENERS, ITEMS, ALONE = 30, 2000, 40
# Between two calls of the one caller.
PAUSE_S = 0.1


@dataclass(frozen=True)
class Calls:
    """How long calls of one sentence take.

    Attributes:
        p95_alone_ms: with nothing beside them.
        p95_beside_ms: with LISTENERS listeners and a job of ITEMS sentences beside them.
        underruns: of these listeners.
        items_meanwhile: of the job, that were made.
    """

    p95_alone_ms: float
    p95_beside_ms: float
    underruns: int
    items_meanwhile: int

    @property
    def finding(self) -> str:
        """What follows from it, in a sentence."""
        return (
            f"A call of one sentence takes {self.p95_alone_ms:.0f} ms alone (p95), and {self.p95_beside_ms:.0f} ms"
            f" beside {LISTENERS} listeners and a job of {ITEMS:,} items, of which {self.items_meanwhile} are made"
            " meanwhile."
        )


def measure_calls(target: str, seconds: float, sentence_s: float) -> Calls:
    """Calls one after the other, for the seconds of a level behind its warm-up."""
    level = Level(LISTENERS, seconds, sentence_s)
    with Client(target, timeout_s=600) as client, ThreadPoolExecutor(1) as aside:
        alone = [_call_s(client, number) for number in range(ALONE)]
        job = client.jobs.submit(MODEL, [LINES[number % len(LINES)] for number in range(ITEMS)])
        listening = aside.submit(heard_aside, target, streamed, level)
        time.sleep(seconds * WARM_UP)
        beside: list[float] = []
        while not listening.done():
            beside.append(_call_s(client, len(beside)))
            time.sleep(PAUSE_S)
        run = listening.result()
        made = client.jobs.get(job.id).progress.succeeded
        client.jobs.cancel(job.id)
        client.jobs.wait(job.id)
    p95_alone, p95_beside = (float(np.percentile(times, 95)) * 1000 for times in (alone, beside))
    underruns = sum(at >= run.since for each in run.heard for at in each.underruns)
    return Calls(p95_alone, p95_beside, underruns, made)


def _call_s(client: Client, number: int) -> float:
    began = time.monotonic()
    client.speak(MODEL, LINES[number % len(LINES)])
    return time.monotonic() - began
