"""What the policy decides: one promise a test."""

import pytest

from kernelport.config.scaling import Scaling
from kernelport_ops.autoscale.policy import Demand, Observation, State, decide
from kernelport_ops.autoscale.simulation.fleet import replay
from kernelport_ops.autoscale.simulation.scalers import Policy
from kernelport_ops.autoscale.simulation.traces import bursts, one_job

SCALING = Scaling(max=8, target_wait_s=60, job_wait_s=1800, idle_s=60, cool_down_s=30)
BUSY = Demand(waiting=100, arrival_rate=25, service_rate=10)
IDLE = Demand(service_rate=10)


def seen(demand: Demand, ready: int = 0, starting: tuple[float, ...] = (), boot_s: float = 150) -> Observation:
    return Observation(demand, ready, starting, boot_s)


def wanted(demand: Demand, ready: int = 0, starting: tuple[float, ...] = (), scaling: Scaling = SCALING) -> int:
    return decide(scaling, seen(demand, ready, starting), State(), 0.0)[0].workers


def test_nothing_is_launched_for_nothing() -> None:
    assert wanted(IDLE) == 0


def test_the_first_request_calls_a_worker_even_before_any_rate_was_measured() -> None:
    assert wanted(Demand(waiting=1)) == 1


def test_a_burst_gets_enough_for_what_arrives_and_what_waits_by_the_time_they_serve() -> None:
    assert 3 <= wanted(BUSY) <= 4


def test_workers_that_start_are_counted_and_not_launched_again() -> None:
    assert wanted(BUSY, starting=(10.0, 10.0, 10.0, 10.0)) == 4


def test_a_worker_that_is_late_is_not_counted_on() -> None:
    assert wanted(Demand(waiting=100, service_rate=10), starting=(400.0,)) == 2


def test_a_wait_within_the_target_adds_nobody() -> None:
    assert wanted(Demand(waiting=500, arrival_rate=9, service_rate=10), ready=1) == 1


def test_a_job_gets_the_workers_that_finish_it_in_its_time() -> None:
    assert wanted(Demand(job_items=100_000, service_rate=10)) == 6


def test_never_more_than_max_and_never_fewer_than_min() -> None:
    assert wanted(Demand(job_items=10_000_000, service_rate=1)) == 8
    assert wanted(IDLE, scaling=Scaling(min=2, max=8)) == 2
    assert wanted(IDLE, ready=9) == 8


def test_workers_without_work_go_after_the_grace_and_not_before() -> None:
    state, counts = State(), []
    for now in range(0, 70, 10):
        decision, state = decide(SCALING, seen(IDLE, ready=3), state, float(now))
        counts.append(decision.workers)
    assert counts == [3, 3, 3, 3, 3, 3, 0]


def test_a_moment_of_work_starts_the_grace_anew() -> None:
    state = State()
    for now in range(0, 120, 10):
        demand = Demand(in_flight=1, service_rate=10) if now == 50 else IDLE
        decision, state = decide(SCALING, seen(demand, ready=1), state, float(now))
        assert decision.workers == (1 if now < 110 else 0)


def test_busy_workers_stay_though_fewer_could_finish_the_job_in_time() -> None:
    state = State()
    for now in range(0, 200, 10):
        decision, state = decide(SCALING, seen(Demand(job_items=5000, service_rate=10), ready=6), state, float(now))
        assert decision.workers == 6


@pytest.mark.parametrize(("make", "longest_s"), [(bursts, 900), (one_job, 3000)])
def test_a_replay_ends_with_everything_answered_and_nobody_left(make: object, longest_s: float) -> None:
    trace = make(1)  # type: ignore[operator]
    outcome = replay(trace, Policy(SCALING), seed=1)
    assert outcome.wait_s(1.0) < longest_s
    assert outcome.workers[-1] == 0
    work_s = trace.arrivals.sum() / 10
    assert work_s < outcome.gpu_s < 1.5 * work_s
