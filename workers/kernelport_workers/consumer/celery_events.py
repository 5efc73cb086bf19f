"""Shows a message that this worker runs to people: in `celery inspect`, and in the events that Flower collects."""

import os
import time
from typing import Any

from celery.worker import state

from kernelport.broker.queues import QueuedTask


class ActiveTask:
    """What Celery's worker state and events know of one message, from now until it succeeded or failed.

    Args:
        task: the Celery task that runs it.
        consumer: Celery's consumer.
    """

    # The message is acknowledged elsewhere; Celery must not cancel it when its own connection breaks.
    acknowledged = True

    def __init__(self, queued: QueuedTask, task: Any, consumer: Any) -> None:
        self.id = queued.tag
        self.name = queued.name
        self.task = task
        self._arguments = queued.arguments
        self._consumer = consumer
        self._started_at = time.time()
        # All events or none: of a task whose end alone is told, nobody learns the name.
        events = consumer.event_dispatcher
        self._events = events if events is not None and events.enabled and task.send_events else None
        state.task_accepted(self)
        self._send("task-received", name=self.name, args=self._arguments, kwargs="{}", root_id=self.id, retries=0)
        self._send("task-started")

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `celery inspect active` prints."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self._arguments,
            "kwargs": "{}",
            "type": self.name,
            "hostname": self._consumer.hostname,
            "time_start": self._started_at,
            "acknowledged": self.acknowledged,
            "delivery_info": {},
            "worker_pid": os.getpid(),
        }

    def succeeded(self, result: str | None) -> None:
        """It is done; `result` is for people."""
        state.task_ready(self, successful=True)
        self._send("task-succeeded", result=repr(result), runtime=time.time() - self._started_at)

    def failed(self, error: BaseException) -> None:
        """It is over, and will be delivered again."""
        state.task_ready(self, successful=False)
        self._send("task-failed", exception=repr(error))

    def _send(self, event: str, **fields: Any) -> None:
        if self._events is not None:
            self._events.send(event, uuid=self.id, **fields)
