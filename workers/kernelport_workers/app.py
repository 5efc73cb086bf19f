"""The Celery app of a worker.

    celery -A kernelport_workers.app worker -Q kp.identity-onnx -P threads -c 1

The queues given with -Q say which deployments the worker serves. Their models are loaded before it takes work. One
thread runs them: a process per GPU (or core) and no fork, since a CUDA context does not survive one.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.signals import celeryd_after_setup, setup_logging, worker_ready, worker_shutdown, worker_shutting_down
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kernelport.broker import keys
from kernelport.broker.clock import clock
from kernelport.broker.connections import RETRY_S, connect, outage, until_done, unusable
from kernelport.broker.leases import end_leases
from kernelport.broker.queues import (
    JOB_TASK_NAME,
    TASK_NAME,
    celery_config,
    check_deployment,
    deployment_of,
    queue_name,
    read_batch,
)
from kernelport.broker.registry import note_drained
from kernelport.broker.scripts import ReadDeliveryState
from kernelport.broker.shared_folder import SharedFolder
from kernelport.config.deployments import Deployment, deployment_names, load_deployments
from kernelport.config.schema import ConfigError
from kernelport.config.settings import PREFIX, Settings, SettingsError, drop_variables
from kernelport.errors import REFUSED, in_words
from kernelport.jobs.artifacts import Artifacts, ArtifactsError
from kernelport.jobs.finishing import Finisher
from kernelport.jobs.storage import SharedStorage
from kernelport.jobs.webhooks.notifier import Notifier
from kernelport.process import stand_back
from kernelport.supervisor.running_file import joined_environment
from kernelport.telemetry import logs, metrics, tracing
from kernelport.telemetry.redis_watch import RedisWatch
from kernelport_workers.backends import loading
from kernelport_workers.backends.base import Backend, LoadError
from kernelport_workers.consumer.consumer import MessageConsumer
from kernelport_workers.consumer.heartbeat import Heartbeat, OtherRevisionError
from kernelport_workers.execution.batch_handler import BatchHandler
from kernelport_workers.execution.execution import Epilogue
from kernelport_workers.execution.job_feeder import Feeder
from kernelport_workers.execution.job_handler import JobHandler
from kernelport_workers.execution.lease import Leases
from kernelport_workers.reading_again import ReadingAgain

log = logging.getLogger(__name__)

# A worker that is told to read its deployments file again while it starts does so once it has started.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])

if not os.environ.get(f"{PREFIX}REDIS_URL"):
    os.environ |= joined_environment()  # of what `kernelport up` runs on this machine
# Celery looks into the environment again and again: another app's broker there is not ours.
drop_variables("CELERY_")
try:
    settings = Settings.from_environment()
except SettingsError as error:
    sys.exit(f"kernelport worker: {error}")

# To root, whom containers often have, Celery would say that pickle is not safe: nothing here takes it.
warnings.filterwarnings("ignore", category=SecurityWarning)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: Any) -> None:
    """In place of Celery's own."""
    logs.set_up(settings)


if settings.log_format == "json" or settings.log_file:
    _set_up_logging()  # for what is said before Celery asks

# A front door and a Redis on the same machine need little, and everybody waits for them: they go first.
NICENESS = 5
# How long after its limit a load that not even a thread can interrupt is ended.
GRACE_S = 2.0


class PromptConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which takes work again as soon as Redis is back: its own waits for up to 30 s."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connects; waits for Redis while it is away, or takes no writes: to consume from it is one."""

        def tell(error: Exception, interval_s: float) -> None:
            if isinstance(error, RedisError):
                outage.tell(error)

        connected = conn.ensure_connection(
            tell, None, interval_start=RETRY_S, interval_step=0, interval_max=RETRY_S, callback=maybe_shutdown
        )
        until_done(_probe)
        return connected


def _probe() -> None:
    maybe_shutdown()
    process.redis.set(keys.PROBE, "", ex=keys.PROBE_TTL_S)
    clock.measure(process.redis)


app = Celery("kernelport")
app.config_from_object({**celery_config(settings), "worker_consumer": PromptConsumer})


class Process:
    """What one worker process holds: its loaded models, its Redis client, its heartbeat and its batches."""

    def __init__(self) -> None:
        self.id = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
        self.redis = connect(settings.redis_url)
        self.backends: dict[str, Backend] = {}
        self.batches: BatchHandler | None = None
        self.consumer = MessageConsumer(self.redis, self.id)
        self.shared = SharedFolder.open(settings.shared_dir)
        self.heartbeat: Heartbeat | None = None
        self.jobs: JobHandler | None = None
        self.feeder: Feeder | None = None
        self.finisher: Finisher | None = None
        self.storage: SharedStorage | None = None
        self.reading_again: ReadingAgain | None = None
        self.notifier = Notifier(self.redis, settings.webhook_networks)

    def load(self, queues: list[str]) -> None:
        """Loads the models of the deployments whose queues are consumed, and shows the metrics. From its beginning on
        the worker holds their revisions.

        Raises:
            LoadError: when a queue is no deployment's, a model cannot be loaded here, or the metrics' port is taken.
            OtherRevisionError: when live workers serve another revision of a deployment.
            ConfigError: when the deployments file is not valid.
            ArtifactsError: when outputs cannot go where they should.
        """
        if settings.metrics_listen:
            try:
                (metrics.serve_in_turn if settings.roll else metrics.serve)(settings.metrics_listen)
            except OSError as error:
                raise LoadError(f"cannot show metrics at {settings.metrics_listen}: {error}") from error
        RedisWatch(settings.redis_url).start()
        tracing.set_up("kernelport-worker")
        names = {queue: deployment_of(queue) or "" for queue in queues}
        deployments = load_deployments(settings.deployments_file, names.values())
        for queue, name in names.items():
            if name not in deployments:
                known = ", ".join(queue_name(known) for known in sorted(deployment_names(settings.deployments_file)))
                raise LoadError(f"queue {queue!r} belongs to no deployment: choose with -Q among {known}")
        revisions: dict[str, str] = {}
        for name in names.values():
            with _loading(deployments[name]):
                revisions[name] = loading.revision(deployments[name])
        artifacts = Artifacts(settings.artifacts_url, settings.storage_patience_s)
        storage = self.storage = SharedStorage(self.redis, artifacts)
        self.heartbeat = Heartbeat(
            self.redis,
            settings.heartbeat_ttl_s,
            self.id,
            deployments,
            revisions,
            storage,
            settings.roll,
            on_refused=_end_refused,
        )
        self.heartbeat.start()
        for name in names.values():
            log.info("loading %s", name)
            with _loading(deployments[name]):
                self.backends[name] = loading.load(deployments[name])
                if loading.revision(deployments[name]) != revisions[name]:
                    raise LoadError("its files were changed while it was loaded; start the worker again")
            log.info("loaded %s on %s", name, self.backends[name].device)
        overlap, leases = self.consumer, Leases(self.redis, settings.lease_s)
        self.batches = BatchHandler(
            self.redis, settings, self.id, deployments, self.backends, leases, overlap, self.shared
        )
        if self.batches.stepper.deployments:
            self.consumer.stepper = self.batches.stepper
        with contextlib.suppress(RedisError):  # it looks again
            storage.compare()
        feeder, finisher = Feeder(self.redis, list(self.backends)), Finisher(self.redis, artifacts, storage)
        self.jobs = JobHandler(
            self.redis,
            settings,
            self.id,
            deployments,
            self.backends,
            revisions,
            artifacts,
            storage,
            leases,
            overlap,
            self.consumer.give_way,
            on_taken=feeder.kick,
            on_over=finisher.kick,
        )
        self.feeder, self.finisher = feeder, finisher
        self.reading_again = ReadingAgain(settings.deployments_file, deployments, self.backends, self.heartbeat.tell)

    def start(self) -> None:
        """The worker takes work from now on."""
        try:
            end_leases(self.redis, self.id.__eq__)  # those of an earlier process of this name
        except RedisError as error:
            outage.tell(error)
        if self.heartbeat is not None:
            self.heartbeat.serve(self.backends, self.shared.id if self.shared else "")
        for each in (self.storage, self.feeder, self.finisher, self.notifier, self.reading_again):
            if each is not None:
                each.start()
        log.info("worker %s is ready", self.id)

    def stop(self) -> None:
        """The worker takes no more work, and has some time to finish what it has begun."""
        log.info("stopping: what has begun has %g s to finish", settings.stop_s)
        _end_after(settings.stop_s, "stopping")
        self.consumer.stop()
        if self.heartbeat is not None:
            self.heartbeat.leave()
        for each in (self.storage, self.feeder, self.finisher, self.notifier):
            if each is not None:
                each.stop()

    def stopped(self) -> None:
        """What the worker had begun is finished: whoever asked it to go may take its machine."""
        if self.heartbeat is not None:
            self.heartbeat.stop()
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


@contextlib.contextmanager
def _loading(deployment: Deployment) -> Iterator[None]:
    """Bounds the time of a load, and says whose it was when it fails."""
    with _ended_after(deployment.timeouts.load_s, f"loading {deployment.name}"):
        try:
            yield
        except LoadError as error:
            raise LoadError(f"cannot load {deployment.name}: {error}") from error


def _end_refused(error: OtherRevisionError) -> NoReturn:
    _end(str(error), REFUSED)


def _end(reason: str, code: int = 1) -> NoReturn:
    """Ends the process whatever its threads do; the reason is its last words."""
    if settings.log_format == "json":
        log.critical(reason)
    else:
        sys.stderr.write(f"kernelport worker: {reason}\n")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def _ended_by_failure() -> Iterator[None]:
    """Celery only logs what a signal's receiver raises, and the worker would live on and serve nothing."""
    try:
        yield
    except (LoadError, ConfigError, ArtifactsError) as error:
        _end(str(error))
    except OtherRevisionError as error:
        _end_refused(error)
    except (RedisConnectionError, RedisTimeoutError) as error:
        _end(unusable(settings.redis_url, error))
    except BaseException as error:
        log.exception("cannot start")
        _end(in_words(error))


process = Process()


@app.task(name=TASK_NAME, Strategy=process.consumer.strategy)  # type: ignore[untyped-decorator]
def infer(body: bytes, read_state: ReadDeliveryState | None = None) -> Epilogue:
    """Runs one serialized Batch; `read_state` counts this attempt, or says what was counted."""
    if process.batches is None:
        raise RuntimeError("the worker has loaded nothing")
    return process.batches.handle(read_batch(body, process.backends), read_state)


@app.task(name=JOB_TASK_NAME, Strategy=process.consumer.strategy)  # type: ignore[untyped-decorator]
def job(deployment: str, ticket: str) -> Epilogue:
    """Runs the slice of a job that is due."""
    if process.jobs is None:
        raise RuntimeError("the worker has loaded nothing")
    check_deployment(deployment, process.backends)
    return process.jobs.handle(deployment, ticket)


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _load(instance: Any, **_: Any) -> None:
    stand_back(NICENESS)
    instance.quiet = True  # Celery's banner tells of a broker and of tasks, and is no JSON
    if not sys.stdout.isatty():
        sys.__stdout__ = None  # type: ignore[misc]  # where Celery tells of signals, in a form of its own
    # It would say after each loss of its connection that Celery 6 may cancel tasks then.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
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
