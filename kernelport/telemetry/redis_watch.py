"""What one process sees of Redis: whether it does its work, for metrics and the health of a front door; its time."""

import threading
import time

from redis.exceptions import RedisError

from kernelport.broker.clock import clock
from kernelport.broker.connections import connect, problem
from kernelport.broker.memory import full
from kernelport.telemetry import metrics

# Beside what waits for Redis longer: a look is to end soon.
TIMEOUT_S = 2.0
INTERVAL_S = 5.0


class RedisWatch:
    """Looks from `start` on, from a thread of its own, and sets the metrics.

    Args:
        interval_s: seconds between two looks.
    """

    def __init__(self, url: str, interval_s: float = INTERVAL_S) -> None:
        self._redis = connect(url, TIMEOUT_S)
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._down_since: float | None = None
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name="redis-watch", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the look that it is at."""
        self._stopped.set()

    def down(self, longer_than_s: float) -> str:
        """Why Redis does not take calls, when it has not for so many seconds; empty when it does."""
        since = self._down_since
        return self._reason if since is not None and time.monotonic() - since >= longer_than_s else ""

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.ask()
            self._stopped.wait(self._interval_s)

    def ask(self) -> None:
        """Asks Redis once."""
        began = time.monotonic()
        why_not = problem(self._redis)
        metrics.REDIS_UP.set(0 if why_not else 1)
        if why_not:
            metrics.REDIS_SECONDS.forget()
        else:
            metrics.REDIS_SECONDS.set(time.monotonic() - began)
        is_full = self._look_at_memory()  # of one that refuses writes, too: perhaps by that
        if reason := why_not or is_full:
            self._reason = reason
            self._down_since = self._down_since or began
        else:
            self._down_since = None
        self._measure_clock()

    def _look_at_memory(self) -> str:
        """Shows what Redis holds; gives why it takes no calls by that, empty when it takes them."""
        try:
            memory = self._redis.info("memory")
        except RedisError:
            for gauge in (metrics.REDIS_MEMORY, metrics.REDIS_MEMORY_LIMIT, metrics.REDIS_MEMORY_USED):
                gauge.forget()
            return ""
        used, limit = memory["used_memory"], memory["maxmemory"]
        metrics.REDIS_MEMORY.set(used)
        metrics.REDIS_MEMORY_LIMIT.set(limit)
        if limit:
            metrics.REDIS_MEMORY_USED.set(used / limit)
        else:
            metrics.REDIS_MEMORY_USED.forget()
        return full(memory)

    def _measure_clock(self) -> None:
        try:
            clock.measure(self._redis)
        except RedisError:
            metrics.CLOCK_AHEAD.forget()
            return
        metrics.CLOCK_AHEAD.set(clock.machine_ahead_s())
