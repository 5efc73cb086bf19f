"""A busy worker takes its messages without Celery's consumer, and to people it still looks like any Celery worker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from kernelport import DeadlineExceededError
from kernelport.broker.queues import celery_config
from tests.data_plane.conftest import Plane, running, shared_plane  # noqa: F401
from tests.stack.models import HELD
from tests.waiting import wait_for

# With a limit, Celery does not wait for the answers of others.
ASKING: dict[str, Any] = {"timeout": 30, "limit": 1}


@pytest.fixture
def control(running: Plane) -> Iterator[Any]:  # noqa: F811
    """What somebody who looks at the running plane uses of Celery."""
    app = Celery("onlooker", set_as_current=False)
    app.config_from_object(celery_config(running.stack.settings))
    yield app.control
    app.close()


def test_every_batch_is_an_active_task_while_it_runs(running: Plane, control: Any) -> None:  # noqa: F811
    inspect = control.inspect(**ASKING)
    before = _count(inspect)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, 0.5)
        wait_for(lambda: running.entries() == [1])
        second = pool.submit(running.infer, 2, HELD)
        wait_for(lambda: running.entries() == [1, 2])
        ((active,),) = inspect.active().values()
        assert active["name"] == "kernelport.infer"
        assert active["args"] == "('journal', 1 request)"
        running.release()
        assert (first.result(), second.result()) == (1, 2)
    assert _count(inspect) == before + 2


def _count(inspect: Any) -> int:
    """The batches that the worker has begun."""
    (stats,) = inspect.stats().values()
    return int(stats["total"].get("kernelport.infer", 0))


def test_a_queue_that_people_cancel_is_left_alone(running: Plane, control: Any) -> None:  # noqa: F811
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        assert control.cancel_consumer("kp.journal", reply=True, **ASKING)
        running.release()
        assert first.result() == 1
        with pytest.raises(DeadlineExceededError):
            running.infer(2, timeout_s=2.0)
        waiting = pool.submit(running.infer, 3)
        assert control.add_consumer("kp.journal", reply=True, **ASKING)
        assert waiting.result() == 3
    assert running.entries() == [1, 3]


def test_a_message_that_cannot_be_read_is_dropped_and_the_rest_goes_on(running: Plane) -> None:  # noqa: F811
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, HELD)
        wait_for(lambda: running.entries() == [1])
        redis: Redis = running.redis
        redis.lpush("kp.journal", b'{"properties": {"delivery_tag": "odd"}}', b"no JSON at all")
        second = pool.submit(running.infer, 2)
        running.release()
        assert (first.result(), second.result()) == (1, 2)
    wait_for(lambda: running.unanswered() == 0)


def test_what_is_said_to_all_workers_and_cannot_be_read_ends_none(running: Plane, control: Any) -> None:  # noqa: F811
    inspect = control.inspect(**ASKING)
    (before,) = inspect.stats().values()
    assert running.redis.publish("/0.kernelport.pidbox", b"[" * 100_000) == 1
    (after,) = inspect.stats().values()
    assert after["pid"] == before["pid"]
    assert running.infer(1) == 1
