"""What arrives: requests by the second, and jobs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOUR_S = 3600
# Items a second of one worker, in every trace.
SERVICE_RATE = 10.0


@dataclass(frozen=True)
class Trace:
    """Arrivals by the second.

    Attributes:
        requests: requests that arrive in each second, shape [seconds].
        items: job items that arrive in each second, shape [seconds].
    """

    name: str
    about: str
    requests: NDArray[np.int64]
    items: NDArray[np.int64]

    @property
    def arrivals(self) -> NDArray[np.int64]:
        """Requests and items together, shape [seconds]."""
        return self.requests + self.items


def steady(seed: int) -> Trace:
    """The same rate for six hours."""
    return _requests("steady", "24/s for 6 h", seed, 6 * HOUR_S, lambda at_s: 24.0)


def daily(seed: int) -> Trace:
    """A sine over a day, low at its ends."""
    about = "2/s at night to 60/s at noon"
    return _requests("daily", about, seed, 24 * HOUR_S, lambda at_s: 31 - 29 * math.cos(2 * math.pi * at_s / 86400))


def bursts(seed: int) -> Trace:
    """Nothing but bursts of 10 to 40 minutes and 20 to 60 a second, about one an hour, for twelve hours."""
    random = np.random.default_rng(seed)
    rates = np.zeros(12 * HOUR_S)
    for hour in range(12):
        start = hour * HOUR_S + int(random.integers(0, 1200))
        rates[start : start + int(random.integers(600, 2400))] = random.uniform(20, 60)
    return _requests("bursts", "20 to 60/s for 10 to 40 min, nothing between", seed, len(rates), lambda s: rates[s])


def one_job(seed: int) -> Trace:
    """A hundred thousand items at once, and nothing else."""
    items = np.zeros(6 * HOUR_S, np.int64)
    items[600] = 100_000
    return Trace("one job", "100,000 items at once", np.zeros_like(items), items)


def night(seed: int) -> Trace:
    """A working day with a lunch break, and nothing for the night."""

    def rate(at_s: int) -> float:
        hour = at_s / HOUR_S
        return 35.0 if 9 <= hour < 12.5 else 18.0 if 12.5 <= hour < 13.5 else 42.0 if 13.5 <= hour < 18 else 0.0

    return _requests("night", "18 to 42/s from 9 to 18 h, nothing for the night", seed, 24 * HOUR_S, rate)


TRACES = (steady, daily, bursts, one_job, night)


def _requests(name: str, about: str, seed: int, seconds: int, rate: Callable[[int], float]) -> Trace:
    rates = np.array([rate(second) for second in range(seconds)])
    requests = np.random.default_rng(seed).poisson(rates).astype(np.int64)
    return Trace(name, about, requests, np.zeros_like(requests))
