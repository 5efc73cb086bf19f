"""How many workers a deployment should have: a pure function of what is observed, what was before, and the time.

It buys a wait as close to the target as it can without paying for machines that boot, work for a moment and go:

- **More** when the requests that will wait by the time a new worker can serve, would wait longer than `target_wait_s`
  with the workers that serve or start already; or when the items of jobs will take longer than `job_wait_s`. Then
  enough for what arrives, and to work off what waits within the target or `WORTH_BOOTS` boots, whichever is longer:
  a further worker that finds less to do than that costs more than it saves.
- **Fewer** when some have had nothing to do for `idle_s`. A worker that is busy is never given up: the same work later
  costs the same.

Rates are in items a second, and requests and job items are both items: whatever one answer is for.
"""

import math
from dataclasses import dataclass, replace

from kernelport.config.scaling import Scaling
from kernelport.counting import counted

# A worker that is added to work off a backlog should find this many boots' worth of work.
WORTH_BOOTS = 5.0
# One that has not come up after this many usual boots is not counted on any more.
LATE_BOOTS = 2.0
# Work for this long keeps a worker.
KEEP_BUSY_S = 40.0


@dataclass(frozen=True)
class Demand:
    """What is asked of a deployment.

    Attributes:
        waiting: requests without an answer that no worker has in hand.
        in_flight: items that workers have in hand.
        job_items: items of jobs that wait.
        arrival_rate: requests a second, over the last half minute or so.
        service_rate: items a second that one busy worker answers; None until it has been measured.
    """

    waiting: float = 0
    in_flight: float = 0
    job_items: float = 0
    arrival_rate: float = 0.0
    service_rate: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing at all is asked."""
        return not (self.waiting or self.in_flight or self.job_items)


@dataclass(frozen=True)
class Observation:
    """A deployment at one moment.

    Attributes:
        ready: workers that take work.
        starting: for each worker that does not take work yet, the seconds since its launch.
        boot_s: how long a worker usually takes from launch to its first work, in seconds.
    """

    demand: Demand
    ready: int
    starting: tuple[float, ...]
    boot_s: float

    @property
    def workers(self) -> int:
        """Those that serve and those that start."""
        return self.ready + len(self.starting)


@dataclass(frozen=True)
class State:
    """What the policy remembers. The empty state is a good one after a restart: workers stay a while longer.

    Attributes:
        useful: how many workers were of use at recent moments, by their time; only those that none later outdid.
        since: when it began to look; None when it has not.
        added_at, removed_at: when workers last came and went.
    """

    useful: tuple[tuple[float, int], ...] = ()
    since: float | None = None
    added_at: float = -math.inf
    removed_at: float = -math.inf


@dataclass(frozen=True)
class Decision:
    """How many workers there should be, and why, in words for people."""

    workers: int
    reason: str


def decide(scaling: Scaling, seen: Observation, state: State, now: float) -> tuple[Decision, State]:
    """How many workers the deployment should have now.

    Args:
        now: seconds; only differences count.
    """
    useful = _useful(seen)
    since = now if state.since is None else state.since
    recent = [entry for entry in state.useful if entry[0] > now - scaling.idle_s and entry[1] > useful]
    state = replace(state, useful=(*recent, (now, useful)), since=since)

    wanted = _wanted(scaling, seen)
    if wanted.workers > seen.workers:
        if seen.workers and now - state.removed_at < scaling.cool_down_s:
            return Decision(seen.workers, f"{wanted.reason}; cooling down"), state
        return wanted, replace(state, added_at=now)
    if seen.workers > scaling.max:
        return Decision(scaling.max, f"at most {scaling.max}"), replace(state, removed_at=now)

    needed = max(scaling.min, state.useful[0][1])
    surplus = seen.workers - needed
    if surplus <= 0:
        return Decision(seen.workers, wanted.reason), state
    if now - since < scaling.idle_s:
        return Decision(seen.workers, f"{needed} would do, but not for {scaling.idle_s:g} s yet"), state
    if now - state.added_at < scaling.cool_down_s:
        return Decision(seen.workers, f"{needed} would do; cooling down"), state
    return Decision(needed, f"{surplus} had nothing to do for {scaling.idle_s:g} s"), replace(state, removed_at=now)


def _useful(seen: Observation) -> int:
    """How many workers have something to do."""
    demand = seen.demand
    if demand.service_rate is None:
        return 0 if demand.idle and not demand.arrival_rate else seen.workers
    items = demand.waiting + demand.in_flight + demand.job_items
    return math.ceil((demand.arrival_rate + items / KEEP_BUSY_S) / demand.service_rate)


def _wanted(scaling: Scaling, seen: Observation) -> Decision:
    """How many workers it takes, and never fewer than there are but for `max`."""
    demand, rate = seen.demand, seen.demand.service_rate
    expected = tuple(age for age in seen.starting if age < LATE_BOOTS * seen.boot_s)
    workers = seen.ready + len(expected)
    late = seen.workers - workers
    least = max(scaling.min, seen.workers)
    if (rate is None or seen.workers == 0) and (demand.idle or seen.workers):
        return Decision(least, "nothing waits" if demand.idle else "no rate measured yet")
    if rate is None:
        return _at_most(scaling, max(1, least), "something waits, and nobody serves")

    # What the workers will have left undone by the time that a new one could help.
    ahead_s = seen.boot_s
    work_s = seen.ready * ahead_s + sum(min(ahead_s, age) for age in expected)
    requests = max(0.0, demand.waiting + demand.arrival_rate * ahead_s - rate * work_s)
    items = max(0.0, demand.job_items - max(0.0, rate * work_s - demand.waiting - demand.arrival_rate * ahead_s))
    wait_s = requests / (workers * rate) if workers else math.inf if requests else 0.0
    job_s = items / (workers * rate) if workers else math.inf if items else 0.0
    if wait_s <= scaling.target_wait_s and job_s <= scaling.job_wait_s:
        return Decision(least, f"{counted(workers, 'worker keeps', 'workers keep')} the wait at {wait_s:.0f} s")
    worth_s = WORTH_BOOTS * seen.boot_s
    needed = demand.arrival_rate / rate
    needed += requests / rate / max(scaling.target_wait_s, worth_s)
    needed += items / rate / max(scaling.job_wait_s, worth_s)
    waiting = counted(round(requests + items), "item")
    reason = f"{waiting} will wait {max(wait_s, job_s):.0f} s with {counted(workers, 'worker')}"
    return _at_most(scaling, max(least, math.ceil(needed) + late), reason)


def _at_most(scaling: Scaling, workers: int, reason: str) -> Decision:
    if workers > scaling.max:
        return Decision(scaling.max, f"{reason}; {workers} would do, at most {scaling.max} may run")
    return Decision(workers, reason)
