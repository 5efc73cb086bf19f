"""Consumes the worker's queues: Celery brings the first message, and this takes those that follow.

Celery and kombu cost a worker about a millisecond and four round trips to Redis a message. An idle worker gets its
message that way. From then on the thread that runs it takes the next one itself, in the same formats and with one round
trip (a second one goes on beside), until the queues have been empty for a while. To people it looks the same: each
message is a task in `celery inspect` and in the events that Flower shows.

While more messages wait, what is left of one when the model is done with it (its answer) is done by another thread,
beside the next one's run. What is left of a slice of a job (its files) may take as long as storage does, and is done by
a third. While two slices are kept there the worker takes calls alone.
"""

import contextlib
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import scripts
from kernelport.broker.clock import clock
from kernelport.broker.connections import RETRY_S, outage, passes, until_done
from kernelport.broker.dedicated import DedicatedClient
from kernelport.broker.queues import (
    JOB_TASK_NAME,
    TASK_NAME,
    MessageError,
    QueuedTask,
    check_arguments,
    deployment_of,
    job_queue_key,
    queue_keys,
    read_message,
)
from kernelport.broker.scripts import ReadDeliveryState
from kernelport.telemetry import logs
from kernelport.v1.dead_letter_pb2 import Attempt
from kernelport_workers.consumer.celery_events import ActiveTask
from kernelport_workers.consumer.unacked import UnackedRecord
from kernelport_workers.execution.execution import Epilogue
from kernelport_workers.execution.stepper import Stepper

log = logging.getLogger(__name__)

# The queues have been empty for so long when the worker goes back to waiting in Celery.
LINGER_S = 1
# Slices of jobs that may be on their way to storage: one that is written, and one that is made meanwhile.
KEPT_SLICES = 2
# How long the worker waits for one of them to be done, and then for calls alone, before it looks again.
SOON_S, CALLS_ALONE_S = 0.05, 0.1
# What a record said of the rest of its list holds for so long: after a longer run the worker looks before it waits.
EMPTY_FOR_S = 0.002


@dataclass
class Delivered:
    """A message in this worker's hands.

    Attributes:
        give_back: tells Celery that it is done, or to deliver it again (True); None for one that Celery does not know.
        waited: it was there before the worker asked for it.
        read_state: says what was counted when its delivery was noted; None for a message that came through Celery.
        failed: running it raised, which no message should make it do.
    """

    queued: QueuedTask
    give_back: Callable[[bool], None] | None = None
    waited: bool = False
    read_state: ReadDeliveryState | None = None
    failed: bool = False


class MessageConsumer:
    """The messages of one worker process: one at a time, but for those that are answered in pieces.

    Attributes:
        stepper: what makes the pieces; None unless a model that makes some is loaded.
    """

    def __init__(self, redis: Redis, worker_id: str) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._lock = threading.Lock()
        self._handed_over: deque[Delivered] = deque()
        self._in_session = False
        self._stopping = False
        self._turns = itertools.count()
        self._overlap_thread = ThreadPoolExecutor(1, "finish")
        self._keep_thread = ThreadPoolExecutor(1, "keep")
        self._kept: list[Future[None]] = []
        self._alone = False
        self._left: Callable[[], None] | None = None
        self._finishing: Future[None] | None = None
        self._unacked: UnackedRecord | None = None
        self._empty_until = 0.0
        self._session_of: tuple[Any, Any] | None = None
        self.stepper: Stepper | None = None

    @cached_property
    def _connection(self) -> DedicatedClient:
        """One connection for the thread that runs messages."""
        return DedicatedClient.of(self._redis)

    def strategy(self, task: Any, app: Any, consumer: Any) -> Callable[..., None]:
        """What Celery's consumer does with a message of `task`: a `Task.Strategy`."""

        def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
            arguments = str(message.headers.get("argsrepr") or "")
            errors = consumer.connection_errors
            try:
                args = message.decode()[0]
                check_arguments(task.name, args)
            except (KombuError, MessageError, LookupError, TypeError) as error:
                log.error("dropped a message that cannot be read: %s", error)
                ack(log, errors)
                return
            queued = QueuedTask(task.name, message.delivery_tag, arguments, args)

            def give_back(failed: bool) -> None:
                reject(log, errors, True) if failed else ack(log, errors)

            with self._lock:
                self._handed_over.append(Delivered(queued, give_back))
                if self._in_session:
                    return
                self._in_session = True
            consumer.pool.apply_async(self._session, (app, consumer), callback=lambda _: None)

        return on_message

    def stop(self) -> None:
        """Takes nothing more; the message in hand is finished."""
        self._stopping = True

    def begin(self) -> None:
        """Begins with what the last message left to do."""
        if self._left is not None:
            self._finishing = self._overlap_thread.submit(self._left)
            self._left = None

    def alone(self) -> None:
        """Ends with what earlier messages left to do: nothing is beside the one in hand."""
        self._finish_last()
        self._finish_kept()
        self._alone = True

    def _session(self, app: Any, consumer: Any) -> None:
        """Runs what Celery has handed over, then what follows on the queues."""
        try:
            self._run_until_empty(app, consumer)
        # The thread's pool would keep it to itself, and this worker would live on and take nothing.
        except BaseException:
            log.critical("the thread that runs messages failed; ending this worker", exc_info=True)
            logging.shutdown()
            os._exit(1)

    def _run_until_empty(self, app: Any, consumer: Any) -> None:
        self._session_of = app, consumer
        give_back: list[Delivered] = []
        while (delivered := self._next(app)) is not None:
            self._run(delivered, app, consumer)
            if delivered.give_back is not None:
                give_back.append(delivered)
        self._finish_last()
        self._finish_kept()
        # Not before: Celery would fetch its next message at once, and keep it from other workers meanwhile.
        for delivered in give_back:
            if delivered.give_back is not None:
                delivered.give_back(delivered.failed)

    def _next(self, app: Any) -> Delivered | None:
        """The next message, or None when the session is over."""
        while not self._handed_over and (self._is_stepping or not self._stopping):
            if self._stopping:
                self._step_or_hand_over()
                continue
            has_room = not self._is_wanted and self._has_room()
            keys = self._queue_keys(app, has_room)
            if not keys and not self._is_stepping:
                break
            waiting = self._take_next(keys) if keys and time.monotonic() >= self._empty_until else None
            if waiting is None and self._is_stepping:
                if not self._step():
                    time.sleep(SOON_S)  # none of them can go on
                continue
            found = waiting or self._wait(keys, LINGER_S if has_room else CALLS_ALONE_S)
            if found is None:
                if self._is_keeping():
                    continue  # Celery would take a job's message, too
                break
            entry, read_state = found
            try:
                return Delivered(read_message(entry), waited=waiting is not None, read_state=read_state)
            except MessageError as error:
                log.error("dropped a message that cannot be read: %s", error)
                self._acknowledge(scripts.unacked_tag(entry))
        with self._lock:
            self._in_session = bool(self._handed_over)
            return self._handed_over.popleft() if self._in_session else None

    @property
    def _is_wanted(self) -> bool:
        """Whether somebody waits for a piece."""
        return self.stepper is not None and self.stepper.is_wanted

    @property
    def _is_stepping(self) -> bool:
        """Whether there are requests in hand that are answered in pieces."""
        return self.stepper is not None and self.stepper.has_work

    def _step(self) -> bool:
        return self.stepper is not None and self.stepper.step()

    def _step_or_hand_over(self) -> None:
        """The worker stops: others go on with what it has in hand; where there are none, it goes on itself."""
        if self.stepper is not None and not self.stepper.hand_over() and not self.stepper.step():
            time.sleep(SOON_S)

    def give_way(self, on_step: Callable[[], None]) -> None:
        """Runs what callers want before the slice of a job goes on.

        Args:
            on_step: called after each step.
        """
        if self.stepper is None or self._session_of is None or self._alone or self._stopping:
            return
        app, consumer = self._session_of
        while True:
            keys = [queue_keys(name)[0] for name in self.stepper.deployments_with_room()]
            found = self._take_next(keys) if keys else None
            if found is not None:
                entry, read_state = found
                with contextlib.suppress(MessageError):
                    self._run(Delivered(read_message(entry), waited=True, read_state=read_state), app, consumer)
            elif self.stepper.is_wanted:
                self.stepper.step()
                on_step()
            else:
                return

    def _take_next(self, keys: list[str]) -> tuple[bytes, ReadDeliveryState] | None:
        attempt = self._attempt()
        found = until_done(lambda: scripts.take_next(self._connection, keys, attempt))
        if found is None:
            return None
        entry, state = found
        return entry, lambda: state

    def _wait(self, keys: list[str], timeout_s: float) -> tuple[bytes, ReadDeliveryState] | None:
        self.begin()
        try:
            popped: Any = self._connection.brpop(keys, timeout_s)
        except RedisError as error:
            if not passes(error):
                raise
            outage.tell(error)
            time.sleep(RETRY_S)
            return None
        if popped is None:
            return None
        key, entry = popped
        self._unacked = UnackedRecord(self._connection, key.decode(), entry, self._attempt())
        return entry, self._unacked.wait

    def _record_unacked(self) -> None:
        if self._unacked is not None:
            self._unacked.wait()
            self._empty_until = 0.0 if self._unacked.more_wait else self._unacked.sent_at + EMPTY_FOR_S
            self._unacked = None

    def _acknowledge(self, tag: str | bytes) -> None:
        self._record_unacked()  # it must not come after this
        until_done(lambda: scripts.acknowledge(self._connection, tag))

    def _attempt(self) -> Attempt:
        return Attempt(worker=self._worker_id, unix_us=clock.now_us())

    def _queue_keys(self, app: Any, with_jobs: bool) -> list[str]:
        """The lists of the queues that are consumed now, most urgent first; each queue gets its turn at being first."""
        deployments = [deployment_of(name) for name in app.amqp.queues.consume_from]
        if not deployments:
            return []
        turn = next(self._turns) % len(deployments)
        full: set[str] = set()
        if self.stepper is not None:
            full = self.stepper.deployments - self.stepper.deployments_with_room()
        in_turn = [name for name in deployments[turn:] + deployments[:turn] if name is not None and name not in full]
        keys = [key for step in zip(*map(queue_keys, in_turn), strict=True) for key in step]
        if with_jobs:
            return keys
        without = {job_queue_key(name) for name in deployments if name is not None}
        return [key for key in keys if key not in without]

    def _run(self, delivered: Delivered, app: Any, consumer: Any) -> None:
        queued = delivered.queued
        task = app.tasks[queued.name]
        active = ActiveTask(queued, task, consumer)
        self._alone = False
        epilogue: Epilogue | None = None
        try:
            with _failing(delivered, active):
                if queued.name == TASK_NAME:
                    epilogue = task.run(*queued.args, read_state=delivered.read_state)
                else:
                    self._record_unacked()
                    epilogue = task.run(*queued.args)
        except MessageError as error:
            log.error("dropped a message that cannot be read: %s", error)
            self._acknowledge(queued.tag)
        self._record_unacked()
        self._finish_last()
        if epilogue is None:
            return
        left = partial(_run_epilogue, delivered, active, epilogue)
        if self._alone:
            left()
        elif queued.name == JOB_TASK_NAME:
            self._kept.append(self._keep_thread.submit(left))
        elif delivered.waited:
            self._left = left
        else:
            left()

    def _has_room(self) -> bool:
        """Whether another slice of a job can be kept, at once or soon."""
        self._kept = [each for each in self._kept if not each.done()]
        return len(self._kept) < KEPT_SLICES or bool(wait(self._kept, SOON_S, FIRST_COMPLETED).done)

    def _is_keeping(self) -> bool:
        """Whether slices of jobs are on their way to storage."""
        return any(not each.done() for each in self._kept)

    def _finish_kept(self) -> None:
        """Waits until nothing is left of slices of jobs."""
        kept, self._kept = self._kept, []
        for each in kept:
            each.result()

    def _finish_last(self) -> None:
        """Waits until nothing is left of the last message."""
        self.begin()
        if self._finishing is not None:
            self._finishing.result()
            self._finishing = None


def _run_epilogue(delivered: Delivered, active: ActiveTask, epilogue: Epilogue) -> None:
    with _failing(delivered, active):
        active.succeeded(epilogue())


@contextlib.contextmanager
def _failing(delivered: Delivered, active: ActiveTask) -> Iterator[None]:
    """A message that fails stays where a dead worker's messages stay: it is delivered again, its attempts counted."""
    try:
        yield
    except MessageError as error:
        active.failed(error)
        raise
    # Whatever it is: it must not end the thread that runs messages.
    except BaseException as error:
        log.exception("%s%s failed", delivered.queued.name, delivered.queued.arguments, extra=logs.WITHOUT_TEXT)
        delivered.failed = True
        active.failed(error)
