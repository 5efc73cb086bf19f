"""Ways of scaling to replay."""

import math
from dataclasses import dataclass, field

from kernelport.config.scaling import Scaling
from kernelport_ops.autoscale.policy import Observation, State, decide


@dataclass
class Policy:
    """KernelPort's own."""

    scaling: Scaling
    state: State = field(default_factory=State)

    def workers(self, seen: Observation, now: float) -> int:
        decision, self.state = decide(self.scaling, seen, self.state, now)
        return decision.workers


@dataclass
class Fixed:
    """The same number, always."""

    count: int

    def workers(self, seen: Observation, now: float) -> int:
        return self.count


@dataclass
class Threshold:
    """A rule on the length of the queue, as alarms on queues have it.

    More than `high` items waiting for each worker: one more, or `step` for each time that the queue is over `high`.
    Fewer than `low` for each worker: one less. After a change, none for `cool_down_s` seconds.
    """

    max: int
    high: float
    low: float
    cool_down_s: float
    in_steps: bool = False
    changed_at: float = -math.inf

    def workers(self, seen: Observation, now: float) -> int:
        waiting = seen.demand.waiting + seen.demand.job_items
        count = seen.workers
        if now - self.changed_at < self.cool_down_s:
            return count
        if waiting > self.high * count:
            more = math.ceil(waiting / self.high) - count if self.in_steps else 1
            wanted = min(self.max, count + max(1, more))
        elif count and waiting <= self.low * count:
            wanted = count - 1
        else:
            return count
        if wanted != count:
            self.changed_at = now
        return wanted
