"""The load generator: a process of its own that runs jobs in a closed loop.

It reads one job a line from standard input and writes one line of figures to standard output; both are JSON.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from kernelport_ops.bench.cells import Figures, Job
from kernelport_ops.bench.processes import cpu_seconds
from kernelport_ops.bench.transports import CallError, RedisCalls, connect

WARM_UP_REQUESTS = 32


class Tally:
    """Hands out requests until the job is over, and notes what became of each. Safe to share between threads."""

    def __init__(self, job: Job) -> None:
        self.latencies_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self._left = job.requests
        self._lock = threading.Lock()
        self._processes = job.processes
        self._cpu_s = self._cpu()
        self._started = time.perf_counter()
        self._stop_at = self._started + job.seconds

    def take(self) -> bool:
        """Whether another request is to be sent."""
        with self._lock:
            self._left -= 1
            return self._left >= 0 and time.perf_counter() < self._stop_at

    def figures(self, counts: Counter[int]) -> Figures:
        """What came of it; call it when the last answer is in."""
        seconds = time.perf_counter() - self._started
        cpu_s = {label: after - self._cpu_s[label] for label, after in self._cpu().items()}
        p50, p95, p99 = np.percentile(self.latencies_s, [50, 95, 99]) * 1000 if self.latencies_s else (0, 0, 0)
        return Figures(
            answered=len(self.latencies_s),
            errors=dict(self.errors),
            seconds=seconds,
            p50_ms=float(p50),
            p95_ms=float(p95),
            p99_ms=float(p99),
            cpu_s=cpu_s,
            counts={str(value): count for value, count in sorted(counts.items())},
        )

    def _cpu(self) -> dict[str, float]:
        return {
            "client": time.process_time(),
            **{label: cpu_seconds(pids) for label, pids in self._processes.items()},
        }


async def run(job: Job) -> Figures:
    """Runs a job, after a warm-up that is not counted."""
    transport = connect(job)
    try:
        await _callers(transport.call, _warm_up(job))
        transport.counts.clear()
        tally = await _callers(transport.call, job)
        return tally.figures(transport.counts)
    finally:
        await transport.close()


def run_redis(job: Job) -> Figures:
    """The same with blocking calls, a thread a caller."""
    calls = RedisCalls(job)
    try:
        _threads(calls.call, _warm_up(job))
        return _threads(calls.call, job).figures(Counter())
    finally:
        calls.close()


def _warm_up(job: Job) -> Job:
    return replace(job, requests=min(job.requests, job.concurrency, WARM_UP_REQUESTS), processes={})


async def _callers(call: Callable[[], Awaitable[None]], job: Job) -> Tally:
    tally = Tally(job)

    async def caller() -> None:
        while tally.take():
            started = time.perf_counter()
            try:
                await call()
            except CallError as error:
                tally.errors[error.what] += 1
                await asyncio.sleep(error.retry_after_s)
            else:
                tally.latencies_s.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(job.concurrency):
            group.create_task(caller())
    return tally


def _threads(call: Callable[[int], None], job: Job) -> Tally:
    tally = Tally(job)

    def caller(number: int) -> None:
        while tally.take():
            started = time.perf_counter()
            call(number)
            tally.latencies_s.append(time.perf_counter() - started)

    with ThreadPoolExecutor(job.concurrency) as pool:
        list(pool.map(caller, range(job.concurrency)))
    return tally


def main() -> None:
    """Runs jobs until standard input ends."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        figures = run_redis(job) if job.transport == "redis" else asyncio.run(run(job))
        values = {name: getattr(figures, name) for name in Figures.__dataclass_fields__}
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
