"""When a machine gives itself back."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kernelport.broker import keys
from kernelport.broker.registry import ask_to_drain, note_drained
from kernelport.supervisor.stack import Stack
from kernelport_ops.autoscale.providers.lambda_cloud.watchdog import watch
from tests.ops.fake_lambda.clocks import VirtualClock

FLEET, WORKERS = "watched", ["machine.0", "machine.1"]


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    with Redis.from_url(stack.settings.redis_url) as connected:
        yield connected
        connected.delete(keys.autoscale_lock(FLEET), *(keys.drain(worker) for worker in WORKERS))


def watched(redis: Redis, clock: VirtualClock, idle_s: float = 300.0, **events: float) -> tuple[str, float]:
    """The reason to give the machine back, and after how many seconds; events are done at their seconds."""
    started, due = clock.now, dict(events)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        for name in [name for name, at in due.items() if clock.now - started >= at]:
            del due[name]
            match name:
                case "autoscaler_dies":
                    redis.delete(keys.autoscale_lock(FLEET))
                case "first_worker_ends":
                    note_drained(redis, WORKERS[0])
                case "second_worker_ends":
                    note_drained(redis, WORKERS[1])

    reason = watch(redis, WORKERS, "identity-onnx", FLEET, idle_s, clock.monotonic, sleep)
    return reason, clock.now - started


def test_a_machine_without_work_and_without_an_autoscaler_goes_after_its_time(redis: Redis) -> None:
    assert watched(redis, VirtualClock()) == ("nothing to do for 300 s", 300.0)


def test_an_autoscaler_at_work_keeps_it(redis: Redis) -> None:
    redis.set(keys.autoscale_lock(FLEET), 1, ex=60)
    reason, after_s = watched(redis, VirtualClock(), autoscaler_dies=600)
    assert reason == "nothing to do for 300 s"
    assert 600 + 300 - 30 <= after_s <= 600 + 300 + 30


def test_it_goes_when_all_its_workers_have_finished_as_they_were_asked_to(redis: Redis) -> None:
    redis.set(keys.autoscale_lock(FLEET), 1, ex=60)
    for worker in WORKERS:
        ask_to_drain(redis, worker)
    reason, after_s = watched(redis, VirtualClock(), first_worker_ends=30, second_worker_ends=120)
    assert reason == "its workers have finished"
    assert after_s == 120


def test_a_redis_that_is_away_counts_as_nothing_to_do() -> None:
    with Redis(port=1, retry=Retry(NoBackoff(), 0)) as away:
        assert watched(away, VirtualClock(), idle_s=60) == ("nothing to do for 60 s", 60.0)
