"""Tells the registry that this worker lives, from a thread of its own: a model at work never delays it."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import RedisError

from kernelport.internal.v1.queue_pb2 import ServedDeployment, WorkerRecord
from kernelport.registry import beat, forget
from kernelport.v1.deployment_pb2 import Worker
from kernelport_workers.backends.base import Backend

log = logging.getLogger(__name__)

BEATS_PER_TTL = 5


class Heartbeat:
    """Beats from `start` until `stop`; a worker that has left takes no more work, and is no dead one."""

    def __init__(
        self, redis: Redis, ttl_s: float, worker_id: str, backends: Mapping[str, Backend], shared_folder: str
    ) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._lock = threading.RLock()  # `leave` comes by a signal, whatever its thread is at
        self._stopped = threading.Event()
        self._is_going = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        worker = Worker(
            id=worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=", ".join(sorted({backend.device for backend in backends.values()})),
            ready_unix_s=int(time.time()),
        )
        served = [ServedDeployment(name=name, signature=backend.signature) for name, backend in backends.items()]
        self._record = WorkerRecord(worker=worker, deployments=served, shared_folder=shared_folder)

    def start(self) -> None:
        """The worker takes work from now on, and is known before it does: else it would seem to be dead."""
        self._beat()
        self._thread.start()

    def leave(self) -> None:
        """The worker takes no more work: front doors are to know at once. It finishes what it has."""
        with self._lock:
            self._is_going = True
            self._record.ClearField("deployments")
        self._beat()

    def stop(self) -> None:
        """The worker has finished."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            forget(self._redis, self._record.worker.id)
        except RedisError as error:
            log.warning("cannot leave the worker registry, the record will expire: %s", error)

    def _run(self) -> None:
        while not self._stopped.wait(self._ttl_s / BEATS_PER_TTL):
            self._beat()

    def _beat(self) -> None:
        try:
            with self._lock:
                asked_to_go = beat(self._redis, self._record, self._ttl_s)
        except RedisError as error:
            log.warning("cannot write the heartbeat: %s", error)
            return
        if asked_to_go and not self._is_going:
            self._is_going = True
            log.info("asked to finish and go")
            os.kill(os.getpid(), signal.SIGTERM)  # Celery's warm shutdown
