"""How a worker goes from one message to the next."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from kernelport.broker import keys
from kernelport.broker.queues import TASK_NAME, celery_message, queue_name, read_message
from kernelport.broker.scripts import ReadDeliveryState, acknowledge
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.supervisor.stack import Stack
from kernelport_workers.consumer.consumer import EMPTY_FOR_S, MessageConsumer
from kernelport_workers.execution.execution import Epilogue
from tests.waiting import wait_for

DEPLOYMENT = "nobodys"
QUEUE = queue_name(DEPLOYMENT)
CLIENT = "consuming"


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """The shared stack's, on which nobody else serves the deployment."""
    with Redis.from_url(stack.settings.redis_url, client_name=CLIENT) as client:
        yield client
        client.delete(QUEUE)


class Answering:
    """A task whose model takes a while; what it does during a message's run is up to the test."""

    name = TASK_NAME
    send_events = False

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.during: dict[str, Any] = {}
        self.answered_by: dict[str, str] = {}

    def run(self, body: bytes, read_state: ReadDeliveryState | None = None) -> Epilogue:
        batch = Batch.FromString(body)
        if read_state is not None:
            read_state()
        time.sleep(2 * EMPTY_FOR_S)
        self.during.get(batch.id, lambda: None)()

        def finish() -> None:
            self.answered_by[batch.id] = threading.current_thread().name
            acknowledge(self._redis, batch.id)

        return finish


def test_what_came_during_a_run_is_answered_beside_the_next(redis: Redis) -> None:
    task = Answering(redis)
    task.during["second"] = lambda: redis.lpush(QUEUE, _message("third"))
    session = _session(redis, task)
    wait_for(lambda: _blocked(redis) and "first" in task.answered_by, what="waiting for a message")
    redis.lpush(QUEUE, _message("second"))
    session.join(30)
    assert task.answered_by == {"first": "session", "second": "session", "third": "finish_0"}
    assert not any(redis.hexists(keys.UNACKED, tag) for tag in ("second", "third"))


def test_a_message_that_would_end_the_thread_fails_and_the_next_one_runs(redis: Redis) -> None:
    task = Answering(redis)

    def leave() -> None:
        redis.lpush(QUEUE, _message("second"))
        sys.exit("from deep inside")

    task.during["first"] = leave
    given_back: list[str] = []
    _session(redis, task, given_back).join(30)
    assert set(task.answered_by) == {"second"}
    assert given_back == ["rejected"]


def test_a_worker_that_cannot_go_on_with_its_messages_ends(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    redis.set(QUEUE, "not a list")
    _session(redis, Answering(redis)).join(30)
    assert ended == [1]
    assert "ending this worker" in caplog.text
    assert "WRONGTYPE" in caplog.text


def _session(redis: Redis, task: Answering, given_back: list[str] | None = None) -> threading.Thread:
    """The thread that runs the message `first`, which Celery hands over, and those that follow it."""
    session: list[threading.Thread] = []
    said = [] if given_back is None else given_back

    def begin_session(run: Any, arguments: Any, callback: Any) -> None:
        session.append(threading.Thread(target=run, args=arguments, name="session"))
        session[0].start()

    consumer = SimpleNamespace(
        event_dispatcher=None,
        hostname="here",
        connection_errors=(),
        pool=SimpleNamespace(apply_async=begin_session),
    )
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=[QUEUE])), tasks={TASK_NAME: task})
    first = read_message(_message("first"))
    handed = SimpleNamespace(headers={}, delivery_tag="first", decode=lambda: (first.args, {}, {}))
    on_message = MessageConsumer(redis, "worker").strategy(task, app, consumer)
    on_message(handed, None, lambda *_: said.append("done"), lambda *_: said.append("rejected"), [])
    return session[0]


def _message(batch_id: str) -> bytes:
    return celery_message(Batch(id=batch_id, deployment=DEPLOYMENT))


def _blocked(redis: Redis) -> bool:
    """Whether the worker waits for a message."""
    return any(client["name"] == CLIENT and "b" in client["flags"] for client in redis.client_list())
