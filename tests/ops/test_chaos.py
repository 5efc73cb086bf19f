"""A short chaos run whose counts must add up, and a verdict that does notice when they do not."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kernelport.internal.v1.queue_pb2 import Completion, Reply
from kernelport_ops.chaos.allowed_errors import why_allowed
from kernelport_ops.chaos.checks import Evidence, judge
from kernelport_ops.chaos.memory import Samples, growth
from kernelport_ops.chaos.plan import OF_REDIS, REFUSALS, Kind, plan
from kernelport_ops.chaos.records import OK, Call, Event, Run
from kernelport_ops.chaos.reply_monitor import ReplyMonitor
from kernelport_ops.chaos.run import run

SECONDS, LEASE_S = 20.0, 2.0
# Whether it was in time depends on who else uses the machine.
OF_TIME = {"a killed worker's requests are back within the lease and 10 s"}


@pytest.mark.thorough
def test_in_a_short_storm_every_request_is_accounted_for(tmp_path: Path) -> None:
    outcome = run(tmp_path / "run", SECONDS, seed=7, workers=2, lease_s=LEASE_S, tell=lambda line: None)
    evidence = outcome.evidence
    kinds = {event.kind for event in evidence.events}
    assert kinds >= {Kind.KILL_WORKER, Kind.KILL_FRONT_DOOR, Kind.KILL_REDIS}
    assert kinds & REFUSALS
    assert sum(call.code == OK for call in evidence.calls) > 50
    assert any(call.kind == "steady" and call.code == OK for call in evidence.calls)
    assert outcome.leftovers["kp:quota-day"], "calls were counted"
    broken = {p.name: p.broken_by for p in judge(evidence) if not p.kept and p.name not in OF_TIME}
    assert broken == {}


def test_a_plan_depends_on_its_seed_alone_and_has_every_kind() -> None:
    steps = plan(5, 60.0, workers=3, lease_s=4.0)
    assert steps == plan(5, 60.0, workers=3, lease_s=4.0)
    assert steps != plan(6, 60.0, workers=3, lease_s=4.0)
    assert {step.kind for step in plan(5, 90.0, workers=3, lease_s=4.0)} == set(Kind)
    assert all(0 < step.at_s < 60 and step.pause_s > 4.0 for step in steps)


def test_what_hits_redis_comes_one_after_the_other() -> None:
    steps = [step for step in plan(5, 90.0, workers=3, lease_s=4.0) if step.kind in OF_REDIS]
    assert all(first.at_s + first.pause_s < second.at_s for first, second in itertools.pairwise(steps))


def test_refusals_alone_leave_time_to_see_what_came_of_each() -> None:
    steps = plan(5, 180.0, workers=3, lease_s=4.0, kinds=sorted(REFUSALS), redis_rests_s=8.0)
    assert {step.kind for step in steps} == REFUSALS
    assert all(first.at_s + first.pause_s + 8.0 <= second.at_s for first, second in itertools.pairwise(steps))


CALL = Call(1, "small", "", 100.0, 101.0, 60.0, OK, token=7)
RUN = Run(1, 11, 7, 100.1, 100.2)
CALM = Evidence([CALL], {1: [RUN]}, [], [], {}, [], [], lease_s=4.0, max_attempts=3)
NAMED = replace(CALL, request_id="id-1")
KILL = Event(Kind.KILL_WORKER, "chaos-0", 11, 100.15, 102.0)
REFUSED = Event(Kind.OOM, "redis", 1, 100.5, 101.5)
CUT_OFF = Event(Kind.KILL_FRONT_DOOR, "front-door", 1, 100.5, 101.0)


def test_a_calm_run_keeps_every_promise() -> None:
    assert all(promise.kept for promise in judge(CALM))


@pytest.mark.parametrize(
    ("evidence", "broken"),
    [
        (replace(CALM, calls=[replace(CALL, code="HUNG")]), "every call was answered once, or its caller was told"),
        (replace(CALM, calls=[replace(CALL, right=False)]), "every answer is right, and of a run of that request"),
        (replace(CALM, calls=[replace(CALL, token=8)]), "every answer is right, and of a run of that request"),
        (
            replace(CALM, calls=[replace(CALL, code="UNAVAILABLE")]),
            "whoever was told something, was told for a reason",
        ),
        (replace(CALM, answered_twice=["a-1"]), "no reply was delivered twice"),
        (
            replace(CALM, calls=[NAMED, replace(NAMED, token=8)], runs={1: [RUN, replace(RUN, token=8)]}),
            "a request id never has two results",
        ),
        (
            replace(
                CALM,
                calls=[replace(CALL, ended=130.0)],
                events=[KILL],
                runs={1: [replace(RUN, ended=None), replace(RUN, pid=12, started=129.0)]},
            ),
            "a killed worker's requests are back within the lease and 10 s",
        ),
        (
            replace(CALM, calls=[replace(CALL, kind="steady")], runs={1: [RUN, RUN]}),
            "a task five times as long as the lease runs once",
        ),
        (
            replace(CALM, calls=[replace(CALL, ended=104.0)], events=[REFUSED]),
            "work is taken up within 2 s of Redis's taking writes again",
        ),
        (
            replace(CALM, calls=[replace(CALL, ended=102.0), replace(CALL, ended=110.0)], events=[REFUSED]),
            "what was in flight when Redis refused is answered within 8 s of its end",
        ),
        (replace(CALM, left_behind={"kp:unacked": 1}), "nothing is left in a queue or delivered and open"),
        (replace(CALM, reserved={"kp:quota-calls:a": 1}), "nothing counts against a quota once nothing is in flight"),
        (replace(CALM, lasting_keys=["kp:claim:1"]), "every Redis key expires or is a permanent one"),
        (replace(CALM, events=[replace(KILL, until=None)]), "everything that was hit serves again"),
    ],
)
def test_a_broken_promise_is_named(evidence: Evidence, broken: str) -> None:
    assert [promise.name for promise in judge(evidence) if not promise.kept] == [broken]


@pytest.mark.parametrize(
    ("code", "message", "events", "reason"),
    [
        ("UNAVAILABLE", 'no live worker serves "chaos"', [KILL], "kill-worker"),
        ("UNAVAILABLE", "the queue cannot be reached: refused", [KILL], None),
        (
            "UNAVAILABLE",
            "Socket closed",
            [Event(Kind.KILL_FRONT_DOOR, "front-door", 1, 100.5, 101.0)],
            "kill-front-door",
        ),
        ("UNAVAILABLE", "Socket closed", [replace(CUT_OFF, at=50.0, until=51.0)], None),
        ("RESOURCE_EXHAUSTED", '"chaos" is full: Redis is near its memory limit', [REFUSED], "redis-oom"),
        ("RESOURCE_EXHAUSTED", "the queue is full: Redis is out of memory", [KILL], None),
        ("DEADLINE_EXCEEDED", "", [KILL], None),
        ("INTERNAL", "given up as dead letter 1", [KILL], None),
        ("INTERNAL", "the request's data is gone from Redis", [KILL], None),
    ],
)
def test_only_the_chaos_in_force_excuses_what_a_caller_was_told(
    code: str, message: str, events: Sequence[Event], reason: str | None
) -> None:
    assert why_allowed(replace(CALL, code=code, message=message), events, runs=1, max_attempts=3) == reason


def test_the_tap_counts_completions_in_what_redis_shows() -> None:
    reply = Reply(completions=[Completion(id=b"a-1", response=b'"\x00\\\n'), Completion(id=b"a-2")]).SerializeToString()
    shown = "".join(f"\\x{byte:02x}" for byte in reply).encode()
    tap = ReplyMonitor(port=0)
    tap.take(b'+1.0 [0 lua] "LPUSH" "kp:replies:a" "' + shown + b'"\r\n')
    assert tap.answers == {b"a-1": 1, b"a-2": 1}
    assert tap.twice == []
    tap.take(b'+1.0 [0 lua] "LPUSH" "kp:replies:a" "' + shown + b'"\r\n')
    assert sorted(tap.twice) == ["a-1", "a-2"]
    tap.take(b'+1.0 [0 127.0.0.1:1] "LPUSH" "kp.chaos" "..."\r\n')
    assert sum(tap.answers.values()) == 4


def test_growth_is_measured_after_the_warm_up() -> None:
    steps = [float(step) for step in range(101)]
    warming = Samples(steps, [100 if step < 10 else 200 for step in range(101)], steps)
    leaking = Samples(steps, [100 + step for step in range(101)], steps)
    assert growth(warming, warm_up=0.2, window=0.2) == 0.0
    assert growth(leaking, warm_up=0.2, window=0.2) == pytest.approx(190 / 130 - 1)
