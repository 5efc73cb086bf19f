"""Holds what happened against what is promised."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kernelport_ops.chaos.allowed_errors import why_allowed
from kernelport_ops.chaos.plan import OF_WORKER, REFUSALS, Kind
from kernelport_ops.chaos.records import OK, Call, Event, Run

# A killed worker's requests run again within the lease and this many seconds.
RECOVERY_S = 10.0
# After Redis has refused, new work is answered within the one, and what was in flight within the other, in seconds.
TAKEN_UP_S, ANSWERED_S = 2.0, 8.0
_EXAMPLES = 5
_IMPATIENT = {"short", "hang-up"}


@dataclass
class Promise:
    """One promise, whether it was kept, and what was found.

    Attributes:
        found: what was counted, for people.
        broken_by: a few examples of what broke it.
    """

    name: str
    found: str
    broken_by: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether nothing broke it."""
        return not self.broken_by


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    Attributes:
        runs: by number, in order.
        answered_twice: requests that more than one completion was pushed for.
        left_behind: entries of the queues and of the record of deliveries once nothing was under way any more.
        reserved: what quotas count as in flight then.
        lasting_keys: keys that neither expire nor are on the permanent list.
        unserved: processes that did not serve at the end.
        lease_s: seconds of a lease; `max_attempts` is how many workers may die over a request.
    """

    calls: Sequence[Call]
    runs: Mapping[int, Sequence[Run]]
    events: Sequence[Event]
    answered_twice: Sequence[str]
    left_behind: Mapping[str, int]
    lasting_keys: Sequence[str]
    unserved: Sequence[str]
    lease_s: float
    max_attempts: int
    reserved: Mapping[str, int] = field(default_factory=dict)


def judge(evidence: Evidence) -> list[Promise]:
    """Every promise."""
    judges: list[Callable[[Evidence], Promise]] = [
        _answered_or_told,
        _right,
        _told_for_a_reason,
        _one_reply,
        _one_result,
        _recovered,
        _taken_up,
        _answered_after_refusal,
        _long_tasks,
        _nothing_left,
        _nothing_reserved,
        _keys,
        _serving_again,
    ]
    return [each(evidence) for each in judges]


def _answered_or_told(evidence: Evidence) -> Promise:
    hung = [call for call in evidence.calls if call.code == "HUNG"]
    codes = Counter(call.code for call in evidence.calls)
    found = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    return Promise("every call was answered once, or its caller was told", found, _shown(hung))


def _right(evidence: Evidence) -> Promise:
    answered = [call for call in evidence.calls if call.code == OK]
    tokens = {run.token for runs in evidence.runs.values() for run in runs}
    wrong = [call for call in answered if not call.right or call.token not in tokens]
    return Promise("every answer is right, and of a run of that request", f"{len(answered)} answers", _shown(wrong))


def _told_for_a_reason(evidence: Evidence) -> Promise:
    why: Counter[str] = Counter()
    not_allowed = []
    for call in evidence.calls:
        if call.code in (OK, "HUNG"):
            continue
        reason = why_allowed(call, evidence.events, len(evidence.runs.get(call.number, ())), evidence.max_attempts)
        if reason is None:
            not_allowed.append(call)
        else:
            why[f"{call.code} ({reason})"] += 1
    found = ", ".join(f"{count} {reason}" for reason, count in why.most_common()) or "nobody was told anything"
    return Promise("whoever was told something, was told for a reason", found, _shown(not_allowed))


def _one_reply(evidence: Evidence) -> Promise:
    twice = list(evidence.answered_twice)
    return Promise("no reply was delivered twice", f"{len(twice)} twice", twice[:_EXAMPLES])


def _one_result(evidence: Evidence) -> Promise:
    tokens: dict[str, set[int]] = defaultdict(set)
    for call in evidence.calls:
        if call.request_id and call.code == OK:
            tokens[call.request_id].add(call.token)
    several = [f"{request_id}: {len(found)} results" for request_id, found in tokens.items() if len(found) > 1]
    calls = sum(1 for call in evidence.calls if call.request_id)
    return Promise(
        "a request id never has two results", f"{calls} calls with {len(tokens)} answered ids", several[:_EXAMPLES]
    )


def _recovered(evidence: Evidence) -> Promise:
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in evidence.calls:
        calls[call.number].append(call)
    slow, longest, count = [], 0.0, 0
    for event in (event for event in evidence.events if event.kind is Kind.KILL_WORKER):
        for number, runs in evidence.runs.items():
            if not any(run.pid == event.pid and run.ended is None for run in runs):
                continue
            took_s = _recovery_s(event, runs, calls[number])
            if took_s is None:
                continue
            count, longest = count + 1, max(longest, took_s)
            allowed_s = evidence.lease_s + RECOVERY_S + _held_up_s(event, event.at, event.at + took_s, evidence)
            if took_s > allowed_s:
                slow.append(f"{number}: back {took_s:.1f} s after {event.target} was killed, allowed {allowed_s:.1f} s")
    name = f"a killed worker's requests are back within the lease and {RECOVERY_S:g} s"
    return Promise(name, f"{count} requests, the last after {longest:.1f} s", slow[:_EXAMPLES])


def _recovery_s(event: Event, runs: Sequence[Run], calls: Sequence[Call]) -> float | None:
    """Seconds until a request in hand ran again; None when its caller did not wait for that."""
    again = min((run.started for run in runs if run.started > event.at), default=None)
    waited_until = max((call.ended for call in calls if call.kind not in _IMPATIENT), default=None)
    if waited_until is None or (again is None and calls[-1].code != OK):
        return None
    return (waited_until if again is None else min(again, waited_until)) - event.at


def _held_up_s(cause: Event, started: float, ended: float, evidence: Evidence) -> float:
    """Seconds between two times that other events than the cause may have added: their own, and a lease where the next
    worker was hit too.
    """
    held_up_s = 0.0
    for event in evidence.events:
        if event is cause or not event.touches(started, ended):
            continue
        held_up_s += min(ended, event.until or ended) - max(started, event.at)
        held_up_s += evidence.lease_s if event.kind in OF_WORKER else 0.0
    return held_up_s


def _refusals(evidence: Evidence) -> list[tuple[Event, float]]:
    """The times in which Redis answered with errors, each with its end."""
    return [(event, event.until) for event in evidence.events if event.kind in REFUSALS and event.until is not None]


def _taken_up(evidence: Evidence) -> Promise:
    slow, longest, refusals = [], 0.0, _refusals(evidence)
    for event, until in refusals:
        answered = min((call.ended for call in evidence.calls if call.code == OK and call.ended >= until), default=None)
        if answered is None:
            slow.append(f"{event.kind}: nothing was answered after it")
            continue
        longest = max(longest, answered - until)
        if answered - until > TAKEN_UP_S + _held_up_s(event, until, answered, evidence):
            slow.append(f"{event.kind}: the first answer after {answered - until:.1f} s")
    name = f"work is taken up within {TAKEN_UP_S:g} s of Redis's taking writes again"
    return Promise(name, f"{len(refusals)} times, the last after {longest:.1f} s", slow[:_EXAMPLES])


def _answered_after_refusal(evidence: Evidence) -> Promise:
    slow, longest, count = [], 0.0, 0
    for event, until in _refusals(evidence):
        for call in evidence.calls:
            if call.kind == "steady" or not call.started < event.at < until < call.ended:
                continue
            took_s = call.ended - until
            count, longest = count + 1, max(longest, took_s)
            if took_s > ANSWERED_S + _held_up_s(event, until, call.ended, evidence):
                slow.append(f"{call.number} ({call.kind}): ended {took_s:.1f} s after {event.kind}")
    name = f"what was in flight when Redis refused is answered within {ANSWERED_S:g} s of its end"
    return Promise(name, f"{count} calls, the last after {longest:.1f} s", slow[:_EXAMPLES])


def _long_tasks(evidence: Evidence) -> Promise:
    answered = {call.number for call in evidence.calls if call.kind == "steady" and call.code == OK}
    often = [
        f"{number}: {len(evidence.runs.get(number, ()))} runs"
        for number in sorted(answered)
        if len(evidence.runs.get(number, ())) != 1
    ]
    unanswered = {call.number for call in evidence.calls if call.kind == "steady"} - answered
    often += [f"{number}: never answered" for number in sorted(unanswered)]
    found = f"{len(answered)} tasks of {5 * evidence.lease_s:g} s"
    return Promise("a task five times as long as the lease runs once", found, often[:_EXAMPLES])


def _nothing_left(evidence: Evidence) -> Promise:
    left = [f"{key}: {count}" for key, count in evidence.left_behind.items() if count]
    return Promise("nothing is left in a queue or delivered and open", f"{len(left)} keys with entries", left)


def _nothing_reserved(evidence: Evidence) -> Promise:
    held = [f"{key}: {count}" for key, count in evidence.reserved.items() if count]
    return Promise("nothing counts against a quota once nothing is in flight", f"{len(held)} with calls", held)


def _keys(evidence: Evidence) -> Promise:
    lasting = list(evidence.lasting_keys)
    found = f"{len(lasting)} keys beside the permanent ones"
    return Promise("every Redis key expires or is a permanent one", found, lasting[:_EXAMPLES])


def _serving_again(evidence: Evidence) -> Promise:
    away = [f"{event.kind} of {event.target}" for event in evidence.events if event.until is None]
    took = max((event.until - event.at for event in evidence.events if event.until), default=0.0)
    found = f"{len(evidence.events)} events, the longest absence {took:.1f} s"
    return Promise("everything that was hit serves again", found, [*away, *evidence.unserved])


def _shown(calls: Sequence[Call]) -> list[str]:
    return [
        f"{call.number} ({call.kind}) at {call.started:.2f}, after {call.ended - call.started:.2f} s: "
        f"{call.code} {call.message[:120]}"
        for call in calls[:_EXAMPLES]
    ] + ([f"... {len(calls)} in all"] if len(calls) > _EXAMPLES else [])
