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

from kernelport.connections import RETRY_S, outage
from kernelport.internal.v1.queue_pb2 import ServedDeployment, WorkerRecord
from kernelport.jobs.storage import SharedStorage
from kernelport.registry import beat, forget
from kernelport.v1.deployment_pb2 import Worker
from kernelport_workers.backends.base import Backend

log = logging.getLogger(__name__)

BEATS_PER_TTL = 5


class Heartbeat:
    """Beats from `start` until `stop`."""

    def __init__(
        self,
        redis: Redis,
        ttl_s: float,
        worker_id: str,
        backends: Mapping[str, Backend],
        shared_folder: str,
        storage: SharedStorage,
    ) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._storage = storage
        self._stopped = threading.Event()
        self._asked_to_go = False
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
        """The worker takes work from now on."""
        self._thread.start()

    def stop(self) -> None:
        """The worker takes no more work: front doors are to know at once."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            forget(self._redis, self._record.worker.id)
        except RedisError as error:
            log.warning("cannot leave the worker registry, the record will expire: %s", error)

    def _run(self) -> None:
        while True:
            pause_s = self._ttl_s / BEATS_PER_TTL
            self._record.worker.jobs_refused = self._storage.refusal
            try:
                if beat(self._redis, self._record, self._ttl_s) and not self._asked_to_go:
                    self._asked_to_go = True
                    log.info("asked to finish and go")
                    os.kill(os.getpid(), signal.SIGTERM)  # Celery's warm shutdown
                outage.over()
            except RedisError as error:
                outage.tell(error)
                pause_s = RETRY_S  # front doors send nothing to a worker that they do not know
            if self._stopped.wait(pause_s):
                return
