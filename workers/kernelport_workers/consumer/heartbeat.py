"""Tells the registry that this worker lives, from a thread of its own: a model at work never delays it."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping

from redis import Redis
from redis.exceptions import RedisError

from kernelport import __version__
from kernelport.broker.clock import clock
from kernelport.broker.connections import RETRY_S, outage, passes, until_done
from kernelport.broker.registry import BEATS_PER_TTL, RevisionHold, beat, connection_id, forget, hold_revisions, release
from kernelport.config.deployments import DeploymentTable
from kernelport.internal.v1.queue_pb2 import ServedDeployment, WorkerRecord
from kernelport.jobs.storage import SharedStorage
from kernelport.v1.deployment_pb2 import Worker
from kernelport_workers.backends.base import Backend
from kernelport_workers.backends.stepped import SteppedBackend

log = logging.getLogger(__name__)

# How often a worker that is in the way is looked at: it may be dead.
LOOK_AGAIN_S = 0.2


class OtherRevisionError(Exception):
    """Live workers serve another revision of a deployment; the message names both workers' hosts and revisions."""


class Heartbeat:
    """Holds the revisions of a worker's deployments from `start` on, and says from `serve` on that it serves them. A
    worker that has left takes no more work, and is no dead one until it has stopped.

    Args:
        deployments: those that it serves, as its deployments file says now.
        revisions: by deployment.
        roll: whether the worker may serve beside workers of other revisions.
        on_refused: called when the worker may not go on: it was not heard of for a while, and workers of another
            revision came instead.
    """

    def __init__(
        self,
        redis: Redis,
        ttl_s: float,
        worker_id: str,
        deployments: DeploymentTable,
        revisions: Mapping[str, str],
        storage: SharedStorage,
        roll: bool,
        on_refused: Callable[[OtherRevisionError], None],
    ) -> None:
        self._redis = redis
        # Closed by the kernel when the process dies, whatever it dies of: front doors look whether it is there.
        self._presence: Redis = redis.client()  # type: ignore[no-untyped-call]
        self._ttl_s = ttl_s
        self._deployments = deployments
        self._revisions = revisions
        self._storage = storage
        self._roll = roll
        self._on_refused = on_refused
        self._worker = Worker(id=worker_id, host=socket.gethostname(), pid=os.getpid(), version=__version__)
        self._record: WorkerRecord | None = None
        self._backends: Mapping[str, Backend] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._is_going = self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """From now on no worker of another revision starts; while Redis is away, once it is back.

        Raises:
            OtherRevisionError: when live workers serve another revision.
        """
        try:
            self._hold()
        except RedisError as error:
            if not passes(error):
                raise
            outage.tell(error)
        self._thread.start()

    def serve(self, backends: Mapping[str, Backend], shared_folder: str) -> None:
        """The worker has loaded its models, and takes work from now on. It is known before it does, unless Redis is
        away: else it would seem to be dead.

        Raises:
            OtherRevisionError: when live workers serve another revision.
        """
        until_done(self._hold)
        self._worker.device = ", ".join(sorted({backend.device for backend in backends.values()}))
        self._worker.ready_unix_s = int(clock.now())
        served = [
            ServedDeployment(
                name=name,
                signature=backend.signature,
                revision=self._revisions[name],
                compute_path=backend.compute_path or backend.device,
            )
            for name, backend in backends.items()
        ]
        self._backends = backends
        self._record = WorkerRecord(worker=self._worker, deployments=served, shared_folder=shared_folder)
        self._beat_once()

    def tell(self) -> None:
        """Something that it says has changed."""
        self._woken.set()

    def leave(self) -> None:
        """The worker takes no more work: front doors are to know at once, and other revisions may come. It finishes
        what it has."""
        # This comes by a signal, whatever its thread is at: another one tells.
        self._is_going = True
        self._woken.set()

    def stop(self) -> None:
        """The worker has finished."""
        self._is_stopped = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            forget(self._redis, self._worker.id, self._revisions)
        except RedisError as error:
            log.warning("cannot leave the worker registry, the record will expire: %s", error)

    def _run(self) -> None:
        while not self._is_stopped:
            # Front doors send nothing to a worker that they do not know.
            self._woken.wait(self._ttl_s / BEATS_PER_TTL if self._beat_once() else RETRY_S)
            self._woken.clear()

    def _beat_once(self) -> bool:
        """Whether Redis knows now that the worker lives."""
        try:
            with self._lock:
                self._beat()
        except OtherRevisionError as error:
            self._on_refused(error)
        except RedisError as error:
            outage.tell(error)
            return False
        outage.over()
        return True

    def _beat(self) -> None:
        if self._is_going:
            release(self._redis, self._worker.id, self._revisions)
        else:
            self._hold()
        if self._record is None:
            return
        if self._is_going:
            self._record.ClearField("deployments")
        self._record.redis_client = connection_id(self._presence)
        self._record.worker.jobs_refused = self._storage.refusal
        self._record.worker.deployments_file = str(self._deployments.file)
        self._record.worker.clock_ahead_s = clock.told_ahead_s
        for served in self._record.deployments:
            backend = self._backends[served.name]
            served.seconds_a_letter = backend.pace.seconds_a_letter
            served.capacity = backend.steps.capacity if isinstance(backend, SteppedBackend) else 0
            served.settings = self._deployments[served.name].digest
        if beat(self._redis, self._record, self._ttl_s) and not self._is_going:
            self._is_going = True
            log.info("asked to finish and go")
            os.kill(os.getpid(), signal.SIGTERM)  # Celery's warm shutdown

    def _hold(self) -> None:
        """Holds the revisions, unless a live worker holds others. A hold that one which died has left is waited out."""
        first = other = self._try_to_hold()
        while first is not None and other is not None:
            if other.until_ms > first.until_ms:
                raise self._refusal(other)
            time.sleep(LOOK_AGAIN_S)
            other = self._try_to_hold()

    def _try_to_hold(self) -> RevisionHold | None:
        worker = self._worker
        return hold_revisions(self._redis, worker.id, worker.host, self._revisions, self._ttl_s, self._roll)

    def _refusal(self, other: RevisionHold) -> OtherRevisionError:
        return OtherRevisionError(
            f"cannot serve {other.deployment}: worker {other.worker} on {other.host} serves revision {other.revision} "
            f"of it, and this is revision {self._revisions[other.deployment]} on {self._worker.host}; with --roll both "
            "serve side by side until the old workers are stopped"
        )
