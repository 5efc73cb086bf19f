"""For what reasons a caller may be told something other than an answer, by the chaos in force."""

from collections.abc import Sequence

from kernelport_ops.chaos.plan import OF_FRONT_DOOR, OF_REDIS, OF_WORKER, Kind
from kernelport_ops.chaos.records import Call, Event
from kernelport_ops.chaos.system import HEARTBEAT_TTL_S

# Seconds for which an event may still be felt after what it hit is back.
_WORKERS_KNOWN_S = HEARTBEAT_TTL_S + 2
_REDIS_USED_S = 4.0
# A gRPC channel waits longer and longer between two tries to connect.
_CHANNEL_BACK_S = 15.0
# A front door that died counts until its record expires, with what waited at it.
_QUEUE_DRAINED_S = 10.0
# A deadline is up this much early at most: clocks tick.
_EARLY = 0.9


def why_allowed(call: Call, events: Sequence[Event], runs: int, max_attempts: int) -> str | None:
    """Why the caller of a call without an answer may be told what it was told; None when there is no reason.

    Args:
        runs: how often the request was run.
        max_attempts: workers that may die over a request before it is given up.
    """
    match call.code:
        case "UNAVAILABLE":
            return _unavailable(call, events)
        case "RESOURCE_EXHAUSTED" if "requests wait" in call.message:
            full = _felt(call, events, {Kind.FULL_QUEUE}, _QUEUE_DRAINED_S)
            return full or _felt(call, events, OF_FRONT_DOOR | OF_REDIS | OF_WORKER, _QUEUE_DRAINED_S)
        case "RESOURCE_EXHAUSTED" if "memory" in call.message:
            return _felt(call, events, {Kind.OOM}, _REDIS_USED_S)
        case "DEADLINE_EXCEEDED" if call.kind == "short" and call.ended - call.started >= _EARLY * call.deadline_s:
            return "deadline"
        case "CANCELLED" if call.kind == "hang-up":
            return "hung up"
        case "INTERNAL" if "dead letter" in call.message and runs >= max_attempts:
            return "dead letter"
    return None


def _unavailable(call: Call, events: Sequence[Event]) -> str | None:
    if "no live worker" in call.message:
        return _felt(call, events, OF_WORKER | OF_REDIS | {Kind.PAUSE_FRONT_DOOR}, _WORKERS_KNOWN_S)
    if "queue cannot be reached" in call.message:
        return _felt(call, events, OF_REDIS | {Kind.PAUSE_FRONT_DOOR}, _REDIS_USED_S)
    return _felt(call, events, OF_FRONT_DOOR, _CHANNEL_BACK_S)


def _felt(call: Call, events: Sequence[Event], kinds: set[Kind], after_s: float) -> str | None:
    """The first event of these kinds that the call may have felt."""
    return next(
        (event.kind for event in events if event.kind in kinds and event.touches(call.started, call.ended, after_s)),
        None,
    )
