"""A busy worker takes its messages without Celery's consumer, and to people it still looks like any Celery worker."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from kernelport import DeadlineExceededError
from kernelport.queues import celery_config
from tests.data_plane.conftest import Plane, plane  # noqa: F401
from tests.waiting import wait_for

Start = Callable[..., Plane]


@pytest.fixture
def celery(request: pytest.FixtureRequest) -> Callable[[Plane], Any]:
    """A Celery app of somebody who looks at a running plane."""

    def connect(running: Plane) -> Any:
        app = Celery("onlooker", set_as_current=False)
        app.config_from_object(celery_config(running.stack.settings))
        request.addfinalizer(app.close)
        return app

    return connect


def test_every_batch_is_an_active_task_while_it_runs(plane: Start, celery: Callable[[Plane], Any]) -> None:  # noqa: F811
    running = plane()
    inspect = celery(running).control.inspect(timeout=5)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, 0.5)
        wait_for(lambda: running.entries() == [1])
        second = pool.submit(running.infer, 2, 5.0)
        wait_for(lambda: running.entries() == [1, 2])
        ((active,),) = inspect.active().values()
        assert active["name"] == "kernelport.infer"
        assert active["args"] == "('journal', 1 requests)"
        assert (first.result(), second.result()) == (1, 2)
    (stats,) = inspect.stats().values()
    assert stats["total"]["kernelport.infer"] == 2


def test_a_queue_that_people_cancel_is_left_alone(plane: Start, celery: Callable[[Plane], Any]) -> None:  # noqa: F811
    running = plane()
    control = celery(running).control
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, 2.0)
        wait_for(lambda: running.entries() == [1])
        control.cancel_consumer("kp.journal", reply=True, timeout=5)
        assert first.result() == 1
        with pytest.raises(DeadlineExceededError):
            running.infer(2, timeout_s=2.0)
        waiting = pool.submit(running.infer, 3)
        control.add_consumer("kp.journal", reply=True, timeout=5)
        assert waiting.result() == 3
    assert running.entries() == [1, 3]


def test_a_message_that_cannot_be_read_is_dropped_and_the_rest_goes_on(plane: Start) -> None:  # noqa: F811
    running = plane()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(running.infer, 1, 1.0)
        wait_for(lambda: running.entries() == [1])
        redis: Redis = running.redis
        redis.lpush("kp.journal", b'{"properties": {"delivery_tag": "odd"}}', b"no JSON at all")
        assert running.infer(2) == 2
        assert first.result() == 1
    wait_for(lambda: running.unanswered() == 0)
