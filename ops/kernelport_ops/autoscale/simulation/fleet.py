"""Workers in virtual time: they boot, serve, and are paid for from launch to end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernelport_ops.autoscale.policy import Demand, Observation
from kernelport_ops.autoscale.rates import Rate
from kernelport_ops.autoscale.simulation.traces import SERVICE_RATE, Trace

TICK_S = 10
# Boots as operators saw them: half within two and a half minutes, the slowest of many 857 s.
BOOT_MEDIAN_S, BOOT_SPREAD, BOOT_LEAST_S, BOOT_MOST_S = 150.0, 0.4, 60.0, 857.0


class Scaler(Protocol):
    """Says how many workers there should be."""

    def workers(self, seen: Observation, now: float) -> int: ...


@dataclass(frozen=True)
class Outcome:
    """What came of a replay.

    Attributes:
        gpu_s: seconds of workers, from launch to end.
        waits: a wait for each item that arrived, in seconds, in order of arrival.
        workers: paid for in each second, shape [seconds].
        boots: how many were launched.
    """

    gpu_s: float
    waits: NDArray[np.float64]
    workers: NDArray[np.int64]
    boots: int

    def wait_s(self, quantile: float) -> float:
        """A quantile of the waits, in seconds."""
        return float(np.quantile(self.waits, quantile)) if len(self.waits) else 0.0


def boot_times(seed: int) -> Callable[[], float]:
    """Draws boots, in seconds; every way of scaling draws the same ones in the same order."""
    random = np.random.default_rng(seed)
    return lambda: float(np.clip(random.lognormal(np.log(BOOT_MEDIAN_S), BOOT_SPREAD), BOOT_LEAST_S, BOOT_MOST_S))


def mean_boot_s() -> float:
    """The mean of what `boot_times` draws, in seconds."""
    draw = boot_times(0)
    return float(np.mean([draw() for _ in range(20_000)]))


@dataclass
class _Fleet:
    boot_s: Callable[[], float]
    launched: list[float] = field(default_factory=list)
    ready_at: list[float] = field(default_factory=list)
    boots: int = 0

    def resize(self, workers: int, now: float) -> None:
        """Launches, or ends: those that are still starting first, and of those the youngest."""
        while len(self.launched) < workers:
            self.launched.append(now)
            self.ready_at.append(now + self.boot_s())
            self.boots += 1
        while len(self.launched) > workers:
            last = max(range(len(self.launched)), key=lambda i: (self.ready_at[i] > now, self.launched[i]))
            del self.launched[last], self.ready_at[last]

    def ready(self, now: float) -> int:
        return sum(ready_at <= now for ready_at in self.ready_at)

    def starting(self, now: float) -> tuple[float, ...]:
        return tuple(now - at for at, ready in zip(self.launched, self.ready_at, strict=True) if ready > now)


def replay(trace: Trace, scaler: Scaler, seed: int, tail_s: int = 7200) -> Outcome:
    """Replays a trace second by second until everything is answered and every worker is gone.

    One queue, served in order. A worker answers `SERVICE_RATE` items a second once it is ready; requests go before job
    items; a decision is made every `TICK_S` seconds.

    Args:
        tail_s: the seconds after the trace in which the fleet must have come to an end.
    """
    seconds = len(trace.requests) + tail_s
    fleet, rate = _Fleet(boot_times(seed)), Rate()
    served = np.zeros(seconds, np.float64)
    workers = np.zeros(seconds, np.int64)
    requests = items = credit = 0.0
    arrived = 0
    boot_s = BOOT_MEDIAN_S
    for now in range(seconds):
        new = int(trace.requests[now]) if now < len(trace.requests) else 0
        arrived += new
        requests += new
        items += int(trace.items[now]) if now < len(trace.items) else 0
        if now % TICK_S == 0:
            rate.note(now, arrived)
            demand = Demand(requests, 0, items, rate.per_second(), SERVICE_RATE)
            seen = Observation(demand, fleet.ready(now), fleet.starting(now), boot_s)
            fleet.resize(scaler.workers(seen, now), now)
        workers[now] = len(fleet.launched)
        credit = fleet.ready(now) * SERVICE_RATE
        from_requests = min(requests, credit)
        from_items = min(items, credit - from_requests)
        requests -= from_requests
        items -= from_items
        served[now] = from_requests + from_items
    arrivals = np.concatenate([trace.arrivals, np.zeros(tail_s, np.int64)])
    return Outcome(float(workers.sum()), waits(arrivals, served), workers, fleet.boots)


def waits(arrivals: NDArray[np.int64], served: NDArray[np.float64]) -> NDArray[np.float64]:
    """The wait of each item in seconds, first come first served; what is never served waits to the end."""
    arrived_at = np.repeat(np.arange(len(arrivals)), arrivals)
    order = np.arange(1, len(arrived_at) + 1)
    served_at = np.searchsorted(np.cumsum(served) + 1e-6, order)
    result: NDArray[np.float64] = np.maximum(0, served_at - arrived_at).astype(np.float64)
    return result
