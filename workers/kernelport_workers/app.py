"""The Celery app of a worker.

    celery -A kernelport_workers.app worker -Q kp.identity-onnx -P threads -c 1

The queues given with -Q say which deployments the worker serves. Their models are loaded before it takes work. One
thread runs them: a process per GPU (or core) and no fork, since a CUDA context does not survive one.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready, worker_shutting_down
from redis import Redis

from kernelport import keys
from kernelport.deployments import load_deployments
from kernelport.internal.v1.queue_pb2 import Batch, Reply
from kernelport.queues import TASK_NAME, celery_config, deployment_of
from kernelport.schema import ConfigError
from kernelport.settings import Settings, SettingsError
from kernelport_workers import backends
from kernelport_workers.backends.base import Backend, LoadError
from kernelport_workers.heartbeat import Heartbeat
from kernelport_workers.runner import run_batch

log = logging.getLogger(__name__)

try:
    settings = Settings.from_environment()
except SettingsError as error:
    sys.exit(f"kernelport worker: {error}")

app = Celery("kernelport")
app.config_from_object(celery_config(settings))


class Process:
    """What one worker process holds: its loaded models, its Redis client and its heartbeat."""

    def __init__(self) -> None:
        self.redis = Redis.from_url(settings.redis_url)
        self.backends: dict[str, Backend] = {}
        self.heartbeat: Heartbeat | None = None

    def load(self, queues: list[str]) -> None:
        """Loads the models of the deployments whose queues are consumed.

        Raises:
            LoadError: when a queue is no deployment's, or a model cannot be loaded here.
            ConfigError: when the deployments file is not valid.
        """
        deployments = load_deployments(settings.deployments_file)
        for queue in queues:
            name = deployment_of(queue)
            if name not in deployments:
                known = ", ".join(f"kp.{known}" for known in sorted(deployments))
                raise LoadError(f"queue {queue!r} belongs to no deployment: choose with -Q among {known}")
            log.info("loading %s", name)
            with _ended_after(deployments[name].timeouts.load_s, f"loading {name}"):
                self.backends[name] = backends.load(deployments[name])
            log.info("loaded %s on %s", name, self.backends[name].device)

    def reply(self, batch: Batch) -> None:
        """Runs a batch and pushes its completions onto the reply list of the front door that asked."""
        reply = Reply(completions=run_batch(batch, self.backends))
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.rpush(batch.reply_to, reply.SerializeToString())
            pipeline.expire(batch.reply_to, keys.REPLIES_TTL_S)
            pipeline.execute()


@contextlib.contextmanager
def _ended_after(limit_s: float, what: str) -> Iterator[None]:
    """Ends the process when the block takes longer: a thread cannot be interrupted in a library that hangs."""

    def end() -> None:
        log.critical("%s took longer than its limit of %g s; ending this worker", what, limit_s)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


process = Process()


@app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
def infer(body: bytes) -> None:
    """Runs one serialized Batch."""
    process.reply(Batch.FromString(body))


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _load(instance: Any, **_: Any) -> None:
    try:
        process.load(sorted(instance.app.amqp.queues.consume_from))
    except (LoadError, ConfigError) as error:
        sys.exit(f"kernelport worker: {error}")


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: Any) -> None:
    process.heartbeat = Heartbeat(process.redis, settings, process.backends)
    process.heartbeat.start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _shutting_down(**_: Any) -> None:
    if process.heartbeat is not None:
        process.heartbeat.stop()
