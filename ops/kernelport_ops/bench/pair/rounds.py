"""Paired rounds: both sides carry the same loads in turn, until the ratio of their CPU time is known well enough.

A shared machine's speed drifts by half within minutes, so only figures of the same round are compared. Of the same code
one start takes up to a twentieth more CPU time than the next, as its memory happens to lie: in each round both sides
start anew. The ratio's interval is that of Student's t over the logarithms of the rounds' ratios.
"""

import functools
import itertools
import math
import operator
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
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
    """What one side did in one turn, or in those of a round.

    Attributes:
        requests: answered requests, or items of a job; at least 1.
        seconds: from the first request to the last answer.
        cpu_s: CPU seconds by process: `stack` for all of the side's own, `redis` for what Redis took meanwhile.
    """

    requests: int
    seconds: float
    cpu_s: dict[str, float]

    def __add__(self, other: "Measurement") -> "Measurement":
        cpu_s = {label: seconds + other.cpu_s[label] for label, seconds in self.cpu_s.items()}
        return Measurement(self.requests + other.requests, self.seconds + other.seconds, cpu_s)

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
        """A wide interval decides nothing, unless all of it is on one side of the limit."""
        if self.cpu.low > SLOWER_FROM or (self.is_decided and self.cpu.middle > SLOWER_FROM):
            return Verdict.SLOWER
        is_below = len(self.rounds) >= LEAST_ROUNDS and self.cpu.high <= SLOWER_FROM
        return Verdict.NO_SLOWER if self.is_decided or is_below else Verdict.UNDECIDED


def take_turns(measure: Callable[[str], Measurement], turns: int, number: int) -> Round:
    """One round of a load. Base and new take turns in going first.

    Args:
        measure: runs the load on the side `NEW` or `BASE`.
        turns: of each side.
        number: of the round.
    """
    taken: dict[str, list[Measurement]] = {NEW: [], BASE: []}
    for turn in range(number, number + turns):
        for side in (NEW, BASE) if turn % 2 else (BASE, NEW):
            taken[side].append(measure(side))
    new, base = (functools.reduce(operator.add, taken[side]) for side in (NEW, BASE))
    return Round(new, base)


def compare(
    start: Callable[[Sequence[str], int], Iterable[tuple[str, Round]]],
    loads: Sequence[str],
    limit_s: float,
    notify: Callable[[str, Comparison], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Rounds until they decide of each load, or until the time is over; at least two.

    Args:
        start: starts both sides, and carries out a round of each load that it is given, by the round's number.
        loads: their names.
        limit_s: seconds after which no further round starts.
        notify: told what the rounds of a load say so far, after each from the second on.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in loads}
    undecided = list(loads)
    stop_at = clock() + limit_s
    for number in itertools.count():
        for name, one in start(tuple(undecided), number):
            rounds[name].append(one)
            if number == 0:
                continue
            comparison = Comparison.of(tuple(rounds[name]))
            notify(name, comparison)
            if comparison.is_decided:
                undecided.remove(name)
        if not undecided or (number > 0 and clock() >= stop_at):
            return
