"""What was begun and left by somebody who died or gave up: counted while it waits, and swept after a time.

Open jobs end by the script `expire`, and messages in the shared folder carry their own end. What is left are folders of
outputs of jobs that are gone from Redis, and without a manifest. What is half written there goes; files that are whole
stay, for `kernelport jobs prune`.
"""

import itertools
import logging
import time
from collections.abc import Collection, Iterator

from redis import Redis

from kernelport.broker import keys
from kernelport.broker.shared_folder import SharedFolder
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.background import Background
from kernelport.jobs.storage import SharedStorage
from kernelport.names import MANIFEST, is_job_id
from kernelport.telemetry import metrics

log: logging.Logger = logging.getLogger(__name__)

INTERVAL_S = 60.0
_AT_ONCE = 500


class Leftovers(Background):
    """Looks every minute from `start` until `stop`, in every front door.

    Args:
        deployments: whose jobs are counted, as they are at the time.
        shared: the folder of large messages, if there is one.
        abandoned_s: seconds after its last change at which a folder without whole files is deleted.
    """

    def __init__(
        self,
        redis: Redis,
        deployments: Collection[str],
        artifacts: Artifacts,
        storage: SharedStorage,
        shared: SharedFolder | None,
        abandoned_s: float,
    ) -> None:
        super().__init__("leftovers")
        self._redis = redis
        self._deployments = deployments
        self._artifacts = artifacts
        self._storage = storage
        self._shared = shared
        self._abandoned_s = abandoned_s
        self._looked_at = -INTERVAL_S

    def _work(self) -> None:
        if time.monotonic() - self._looked_at >= INTERVAL_S:
            self._looked_at = time.monotonic()
            self.run_once()

    def run_once(self) -> None:
        """Counts what there is, and sweeps what has waited long enough.

        Raises:
            RedisError: it cannot be asked which jobs there are.
        """
        metrics.ABANDONED.labels("open_jobs").set(self._open_jobs())
        if self._shared is not None:
            metrics.ABANDONED.labels("shared_messages").set(self._shared.count())
        if self._artifacts.is_local and not self._storage.refusal:
            try:
                metrics.ABANDONED.labels("output_folders").set(sum(map(self._waits, self._ownerless())))
            except storage_errors() as error:
                log.warning("cannot look for outputs that were left: %s", error)

    def _open_jobs(self) -> int:
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in list(self._deployments):  # a front door may read its deployments file again meanwhile
                pipeline.zrange(keys.active_jobs(name), 0, -1)
            jobs = [job.decode(errors="replace") for active in pipeline.execute() for job in active]
            for job in jobs:
                pipeline.hget(keys.job(job), "sealed")
            return sum(sealed == b"0" for sealed in pipeline.execute())

    def _ownerless(self) -> Iterator[str]:
        """The folders of jobs that Redis does not know, and that have no manifest."""
        names = (name for some in self._artifacts.names("") for name in some if is_job_id(name))
        while some := list(itertools.islice(names, _AT_ONCE)):
            with self._redis.pipeline(transaction=False) as pipeline:
                for name in some:
                    pipeline.exists(keys.job(name))
                known = pipeline.execute()
            for name, is_known in zip(some, known, strict=True):
                if not (is_known or self._artifacts.exists(f"{name}/{MANIFEST}")):
                    yield name

    def _has_outputs(self, folder: str) -> bool:
        """Whether there are files that were written whole. Somebody may have wanted to keep them."""
        return any(not name.startswith(".") for some in self._artifacts.names(folder) for name in some)

    def _waits(self, folder: str) -> bool:
        """Whether a folder is left for now; else it is deleted."""
        try:
            if time.time() - self._artifacts.changed_unix_s(folder) < self._abandoned_s or self._has_outputs(folder):
                return True
            log.warning("deleting %s: its job is gone, and no manifest was written", self._artifacts.url(folder))
            while self._artifacts.delete_some(folder):
                pass
        except storage_errors() as error:
            log.warning("cannot delete %s: %s", self._artifacts.url(folder), error)
            return True
        return False
