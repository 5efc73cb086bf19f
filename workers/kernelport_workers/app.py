"""The Celery app of a worker.

    celery -A kernelport_workers.app worker -Q kp.identity-onnx -P threads -c 1

The queues given with -Q say which deployments the worker serves. Their models are loaded before it takes work. One
thread runs them: a process per GPU (or core) and no fork, since a CUDA context does not survive one.
"""

import contextlib
import faulthandler
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from celery import Celery
from celery.signals import celeryd_after_setup, setup_logging, worker_ready, worker_shutdown, worker_shutting_down
from redis import Redis
from redis.exceptions import RedisError

from kernelport import logs, metrics, tracing
from kernelport.artifacts import Artifacts, ArtifactsError
from kernelport.deployments import deployment_names, load_deployments
from kernelport.errors import in_words
from kernelport.internal.v1.queue_pb2 import Batch
from kernelport.jobs.finishing import Finisher
from kernelport.queues import JOB_TASK_NAME, TASK_NAME, celery_config, deployment_of, queue_name
from kernelport.registry import note_drained
from kernelport.schema import ConfigError
from kernelport.settings import PREFIX, Settings, SettingsError
from kernelport.shared_folder import SharedFolder
from kernelport.stack.running_file import joined_environment
from kernelport.webhooks import Notifier
from kernelport_workers import backends
from kernelport_workers.backends.base import Backend, LoadError
from kernelport_workers.consuming import Consuming
from kernelport_workers.delivery import Delivery
from kernelport_workers.delivery_note import Take
from kernelport_workers.heartbeat import Heartbeat
from kernelport_workers.jobs.feeder import Feeder
from kernelport_workers.jobs.runner import JobRunner
from kernelport_workers.runner import Finish

log = logging.getLogger(__name__)

if not os.environ.get(f"{PREFIX}REDIS_URL"):
    os.environ |= joined_environment()  # of what `kernelport up` runs on this machine
try:
    settings = Settings.from_environment()
except SettingsError as error:
    sys.exit(f"kernelport worker: {error}")

# Two lines a task are two lines too many at thousands of tasks a second.
for noisy in ("celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    """In place of Celery's own."""
    logs.set_up(settings.log_level, settings.log_format)


if settings.log_format == "json":
    _set_up_logging()  # for what is said before Celery asks

# A front door and a Redis on the same machine need little, and everybody waits for them: they go first.
NICENESS = 5
# How long after its limit a load that not even a thread can interrupt is ended.
GRACE_S = 2.0

app = Celery("kernelport")
app.config_from_object(celery_config(settings))


class Process:
    """What one worker process holds: its loaded models, its Redis client, its heartbeat and its batches."""

    def __init__(self) -> None:
        self.id = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.redis = Redis.from_url(settings.redis_url)
        self.backends: dict[str, Backend] = {}
        self.delivery: Delivery | None = None
        self.consuming = Consuming(self.redis, self.id)
        self.shared = SharedFolder.open(settings.shared_dir)
        self.heartbeat: Heartbeat | None = None
        self.jobs: JobRunner | None = None
        self.feeder: Feeder | None = None
        self.finisher: Finisher | None = None
        self.notifier = Notifier(self.redis, settings.webhook_networks)

    def load(self, queues: list[str]) -> None:
        """Loads the models of the deployments whose queues are consumed, and shows the metrics.

        Raises:
            LoadError: when a queue is no deployment's, a model cannot be loaded here, or the metrics' port is taken.
            ConfigError: when the deployments file is not valid.
            ArtifactsError: when outputs cannot go where they should.
        """
        if settings.metrics_listen:
            try:
                metrics.serve(settings.metrics_listen)
            except OSError as error:
                raise LoadError(f"cannot show metrics at {settings.metrics_listen}: {error}") from error
        tracing.set_up("kernelport-worker")
        names = {queue: deployment_of(queue) or "" for queue in queues}
        deployments = load_deployments(settings.deployments_file, names.values())
        for queue, name in names.items():
            if name not in deployments:
                known = ", ".join(queue_name(known) for known in sorted(deployment_names(settings.deployments_file)))
                raise LoadError(f"queue {queue!r} belongs to no deployment: choose with -Q among {known}")
            log.info("loading %s", name)
            with _ended_after(deployments[name].timeouts.load_s, f"loading {name}"):
                try:
                    self.backends[name] = backends.load(deployments[name])
                except LoadError as error:
                    raise LoadError(f"cannot load {name}: {error}") from error
            log.info("loaded %s on %s", name, self.backends[name].device)
        beside = self.consuming
        self.delivery = Delivery(self.redis, settings, self.id, deployments, self.backends, beside, self.shared)
        artifacts = Artifacts(settings.artifacts_url, settings.storage_patience_s)
        feeder, finisher = Feeder(self.redis, list(self.backends)), Finisher(self.redis, artifacts)

        def look_again() -> None:
            feeder.kick()
            finisher.kick()

        self.jobs = JobRunner(self.redis, settings, self.id, deployments, self.backends, artifacts, beside, look_again)
        self.feeder, self.finisher = feeder, finisher

    def start(self) -> None:
        """The worker takes work from now on."""
        shared_folder = self.shared.id if self.shared else ""
        self.heartbeat = Heartbeat(self.redis, settings.heartbeat_ttl_s, self.id, self.backends, shared_folder)
        self.heartbeat.start()
        for each in (self.feeder, self.finisher, self.notifier):
            if each is not None:
                each.start()

    def stop(self) -> None:
        """The worker takes no more work, and has some time to finish what it has begun."""
        self.consuming.stop()
        for each in (self.heartbeat, self.feeder, self.finisher, self.notifier):
            if each is not None:
                each.stop()
        _end_after(settings.stop_s, "stopping")

    def stopped(self) -> None:
        """What the worker had begun is finished: whoever asked it to go may take its machine."""
        try:
            note_drained(self.redis, self.id)
        except RedisError as error:
            log.warning("cannot say that all is finished: %s", error)


def _end_after(limit_s: float, what: str) -> threading.Timer:
    """Ends the process unless cancelled in time: a thread cannot be interrupted in a library that hangs."""

    def end() -> None:
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        _end(f"{what} took longer than its limit of {limit_s:g} s")

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    return timer


@contextlib.contextmanager
def _ended_after(limit_s: float, what: str) -> Iterator[None]:
    timer = _end_after(limit_s, what)
    # No thread of Python's comes to run beside code that never lets go of the interpreter; this one needs none.
    faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def _end(reason: str) -> NoReturn:
    """Ends the process whatever its threads do; the reason is its last words."""
    if settings.log_format == "json":
        log.critical(reason)
    else:
        sys.stderr.write(f"kernelport worker: {reason}\n")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(1)


@contextlib.contextmanager
def _ended_by_failure() -> Iterator[None]:
    """Celery only logs what a signal's receiver raises, and the worker would live on and serve nothing."""
    try:
        yield
    except (LoadError, ConfigError, ArtifactsError) as error:
        _end(str(error))
    except BaseException as error:
        log.exception("cannot start")
        _end(in_words(error))


process = Process()


@app.task(name=TASK_NAME, Strategy=process.consuming.strategy)  # type: ignore[untyped-decorator]
def infer(body: bytes, take: Take | None = None) -> Finish:
    """Runs one serialized Batch; `take` counts this attempt, or says what was counted."""
    if process.delivery is None:
        raise RuntimeError("the worker has loaded nothing")
    return process.delivery.handle(Batch.FromString(body), take)


@app.task(name=JOB_TASK_NAME, Strategy=process.consuming.strategy)  # type: ignore[untyped-decorator]
def job(deployment: str, ticket: str) -> Finish:
    """Runs the slice of a job that is due."""
    if process.jobs is None:
        raise RuntimeError("the worker has loaded nothing")
    return process.jobs.handle(deployment, ticket)


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _load(instance: Any, **_: Any) -> None:
    os.nice(NICENESS)
    instance.quiet = settings.log_format == "json"  # Celery's banner is no JSON
    with _ended_by_failure():
        process.load(sorted(instance.app.amqp.queues.consume_from))


@worker_ready.connect  # type: ignore[untyped-decorator]
def _ready(**_: Any) -> None:
    with _ended_by_failure():
        process.start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _shutting_down(**_: Any) -> None:
    process.stop()


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stopped(**_: Any) -> None:
    process.stopped()
