"""Paired rounds: both sides carry the same load in turn, until the ratio of their CPU time is known well enough.

A shared machine's speed drifts by half within minutes, so only figures of the same round are compared. The ratio's
interval is that of Student's t over the logarithms of the rounds' ratios.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

NEW, BASE = "new", "base"
CONFIDENCE = 0.95
# A side's CPU time a request may be this much more than the other's before it counts as slower.
SLOWER_FROM = 1.03
# How far the interval of CPU time may reach to either side of its middle for a decision.
PRECISION = 0.02
# Fewer rounds may agree by chance.
LEAST_ROUNDS = 6


class Verdict(StrEnum):
    """What the rounds say of the new side."""

    NO_SLOWER = "no slower"
    SLOWER = "slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Measurement:
    """What one side did in one round.

    Attributes:
        requests: answered requests, or items of a job; at least 1.
        seconds: from the first request to the last answer.
        cpu_s: CPU seconds by process: `stack` for all of the side's own, `redis` for what Redis took meanwhile.
    """

    requests: int
    seconds: float
    cpu_s: dict[str, float]

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU time a request, over all processes."""
        return 1000 * sum(self.cpu_s.values()) / self.requests

    @property
    def stack_cpu_ms(self) -> float:
        """The same without that of Redis."""
        return 1000 * self.cpu_s["stack"] / self.requests


@dataclass(frozen=True)
class Round:
    """Both sides under the same load, one right after the other."""

    new: Measurement
    base: Measurement


@dataclass(frozen=True)
class Interval:
    """A ratio, and where it lies with 95 % confidence."""

    middle: float
    low: float
    high: float

    @property
    def reach(self) -> float:
        """How far the farther end is from the middle."""
        return max(self.high - self.middle, self.middle - self.low)


def ratio_interval(ratios: Sequence[float]) -> Interval:
    """The geometric mean of the rounds' ratios with its interval.

    Args:
        ratios: two or more, each above 0.
    """
    logarithms = [math.log(ratio) for ratio in ratios]
    middle = statistics.fmean(logarithms)
    error = statistics.stdev(logarithms) / math.sqrt(len(logarithms))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logarithms) - 1)) * error
    return Interval(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))


@dataclass(frozen=True)
class Comparison:
    """What two or more rounds of one load say.

    Attributes:
        cpu, stack_cpu, throughput: new over base; the second without Redis.
    """

    rounds: Sequence[Round]
    cpu: Interval
    stack_cpu: Interval
    throughput: Interval

    @classmethod
    def of(cls, rounds: Sequence[Round]) -> "Comparison":
        """The comparison of these rounds."""
        return cls(
            rounds,
            cpu=ratio_interval([each.new.cpu_ms / each.base.cpu_ms for each in rounds]),
            stack_cpu=ratio_interval([each.new.stack_cpu_ms / each.base.stack_cpu_ms for each in rounds]),
            throughput=ratio_interval([each.new.per_second / each.base.per_second for each in rounds]),
        )

    @property
    def is_decided(self) -> bool:
        """Whether the interval is narrow enough, from enough rounds, with as many in one order as in the other."""
        count = len(self.rounds)
        return count >= LEAST_ROUNDS and count % 2 == 0 and self.cpu.reach <= PRECISION

    @property
    def verdict(self) -> Verdict:
        """A wide interval decides nothing, unless all of it is above the limit."""
        if self.cpu.low > SLOWER_FROM or (self.is_decided and self.cpu.middle > SLOWER_FROM):
            return Verdict.SLOWER
        return Verdict.NO_SLOWER if self.is_decided else Verdict.UNDECIDED


def compare(
    measure: Callable[[str], Measurement],
    limit_s: float,
    notify: Callable[[Comparison], None],
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Rounds until they decide, or until the time is over; at least two. Base and new take turns in going first.

    Args:
        measure: runs the load on the side `NEW` or `BASE`.
        limit_s: seconds after which no further round starts.
        notify: told what the rounds say so far, after each from the second on.
    """
    rounds: list[Round] = []
    stop_at = clock() + limit_s
    while True:
        order = (NEW, BASE) if len(rounds) % 2 else (BASE, NEW)
        measured = {side: measure(side) for side in order}
        rounds.append(Round(measured[NEW], measured[BASE]))
        if len(rounds) < 2:
            continue
        comparison = Comparison.of(tuple(rounds))
        notify(comparison)
        if comparison.is_decided or clock() >= stop_at:
            return comparison
