"""What happens when: a plan that depends on nothing but its seed."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# Seconds between two events; also before the first and after the last.
SHORTEST_GAP_S, LONGEST_GAP_S = 0.5, 4.0
# A paused process stops for this many leases.
SHORTEST_PAUSE, LONGEST_PAUSE = 1.1, 1.6
# Redis answers with an error for this many leases.
REFUSAL = 1.25
# How long Redis is left alone after it was hit.
REDIS_RESTS_S = 1.0


class Kind(StrEnum):
    """A kind of disturbance."""

    KILL_WORKER = "kill-worker"
    KILL_FRONT_DOOR = "kill-front-door"
    KILL_REDIS = "kill-redis"
    RESTART_REDIS = "restart-redis"
    PAUSE_WORKER = "pause-worker"
    PAUSE_FRONT_DOOR = "pause-front-door"
    PAUSE_REDIS = "pause-redis"
    PAUSE_CALLERS = "pause-callers"
    DRAIN_WORKER = "drain-worker"
    FULL_QUEUE = "full-queue"
    READONLY = "redis-readonly"
    MISCONF = "redis-misconf"
    NOREPLICAS = "redis-noreplicas"
    OOM = "redis-oom"
    LOADING = "redis-loading"
    DENIED = "redis-denied"


# Redis answers with an error of this name.
REFUSALS = {Kind.READONLY, Kind.MISCONF, Kind.NOREPLICAS, Kind.OOM, Kind.LOADING, Kind.DENIED}
PAUSES = {Kind.PAUSE_WORKER, Kind.PAUSE_FRONT_DOOR, Kind.PAUSE_REDIS, Kind.PAUSE_CALLERS}
OF_REDIS = {Kind.KILL_REDIS, Kind.RESTART_REDIS, Kind.PAUSE_REDIS} | REFUSALS
OF_FRONT_DOOR = {Kind.KILL_FRONT_DOOR, Kind.PAUSE_FRONT_DOOR}
OF_WORKER = {Kind.KILL_WORKER, Kind.PAUSE_WORKER, Kind.DRAIN_WORKER}
_SQUEEZED = 0.95
# Killed workers are what leases are for: they come up more often.
ALL = (*Kind, Kind.KILL_WORKER, Kind.KILL_WORKER)


@dataclass(frozen=True)
class Step:
    """One disturbance to come.

    Attributes:
        at_s: seconds after the start of the run.
        worker: which worker it hits, when it hits one.
        pause_s: for how long a paused process stands still, or Redis refuses, in seconds.
    """

    at_s: float
    kind: Kind
    worker: int
    pause_s: float


def plan(
    seed: int,
    seconds: float,
    workers: int,
    lease_s: float,
    kinds: Sequence[Kind] = ALL,
    redis_rests_s: float = REDIS_RESTS_S,
) -> list[Step]:
    """The disturbances of a run of `seconds` seconds: every kind comes up before any comes up again. Those of Redis
    follow one another; others hit whatever else is under way.
    """
    dice = random.Random(seed)  # noqa: S311 - a plan must repeat
    gaps = [dice.uniform(SHORTEST_GAP_S, LONGEST_GAP_S) for _ in range(round(seconds / SHORTEST_GAP_S) + len(kinds))]
    # A short run squeezes one whole bag in, as far as Redis lets it.
    squeeze = min(1.0, _SQUEEZED * seconds / sum(gaps[: len(kinds)]))
    steps: list[Step] = []
    bag: list[Kind] = []
    redis_is_free_at_s = 0.0
    for at_s in itertools.accumulate(squeeze * gap for gap in gaps):
        if at_s >= seconds:
            break
        bag = bag or dice.sample(kinds, len(kinds))
        kind = next((each for each in bag if each not in OF_REDIS or at_s >= redis_is_free_at_s), None)
        if kind is None:
            continue
        bag.remove(kind)
        pause_s = lease_s * (REFUSAL if kind in REFUSALS else dice.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
        if kind in OF_REDIS:
            redis_is_free_at_s = at_s + pause_s + redis_rests_s
        steps.append(Step(at_s, kind, dice.randrange(workers), pause_s))
    return steps
