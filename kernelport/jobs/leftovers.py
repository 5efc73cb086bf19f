"""What nobody comes for any more: counted while it waits, and swept after a time.

Of what somebody began who died or gave up, open jobs end by the script `expire`, and messages in the shared folder
carry their own end. What is left are folders of outputs of jobs that are gone from Redis, and without a manifest. What
is half written there goes; files that are whole stay, for `kernelport jobs prune`. Of what is over, dead letters and
outputs go where a time is set for them.
"""

import logging
import math
import time
from collections.abc import Collection

from redis import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.dead_letters import OldDeadLetters
from kernelport.broker.shared_folder import SharedFolder
from kernelport.broker.tenants import tenants
from kernelport.config.settings import Settings
from kernelport.jobs import outputs
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.background import Background
from kernelport.jobs.storage import SharedStorage
from kernelport.names import MANIFEST
from kernelport.telemetry import metrics

log: logging.Logger = logging.getLogger(__name__)

INTERVAL_S = 60.0


class Leftovers(Background):
    """Looks every minute from `start` until `stop`, in every front door; oftener where a time is shorter.

    Args:
        deployments: whose jobs are counted, as they are at the time.
        shared: the folder of large messages, if there is one.
        settings: for how long what is kept.
    """

    def __init__(
        self,
        redis: Redis,
        deployments: Collection[str],
        artifacts: Artifacts,
        storage: SharedStorage,
        shared: SharedFolder | None,
        settings: Settings,
    ) -> None:
        super().__init__("leftovers")
        self._redis = redis
        self._deployments = deployments
        self._artifacts = artifacts
        self._storage = storage
        self._shared = shared
        self._settings = settings
        self._old = outputs.OldOutputs(redis, artifacts, settings.keep_outputs)
        self._letters = OldDeadLetters(redis, settings.retention)
        self._every_s = min(INTERVAL_S, settings.abandoned_s, settings.keep_outputs, settings.retention)
        self._looked_at = -INTERVAL_S

    def _work(self) -> None:
        if time.monotonic() - self._looked_at >= self._every_s:
            self._looked_at = time.monotonic()
            try:
                self.run_once()
            except RedisError:
                for gauge in (metrics.ABANDONED, metrics.OUTPUT_BYTES, metrics.STORAGE_FREE):
                    gauge.forget()
                raise

    def run_once(self) -> None:
        """Counts what there is, and sweeps what has waited long enough.

        Raises:
            RedisError: it cannot be asked which jobs there are.
        """
        metrics.ABANDONED.set(self._open_jobs(), "open_jobs")
        if self._shared is not None:
            metrics.ABANDONED.set(self._shared.count(), "shared_messages")
        self._letters.sweep(self._deployments)
        metrics.OUTPUT_BYTES.set(outputs.bytes_of_jobs(self._redis), "jobs")
        if not self._storage.refusal and (self._artifacts.is_local or self._settings.keep_outputs < math.inf):
            try:
                self._sweep_outputs()
            except storage_errors() as error:
                log.warning("cannot look for outputs that were left: %s", error)
                metrics.STORAGE_FREE.forget()

    def _open_jobs(self) -> int:
        all_tenants = tenants(self._redis)
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in list(self._deployments):  # a front door may read its deployments file again meanwhile
                for tenant in all_tenants:
                    pipeline.zrange(keys.owned(keys.active_jobs(name), tenant), 0, -1)
            jobs = [job.decode(errors="replace") for active in pipeline.execute() for job in active]
            for job in jobs:
                pipeline.hget(keys.job(job), "sealed")
            return sum(sealed == b"0" for sealed in pipeline.execute())

    def _sweep_outputs(self) -> None:
        ended, left = [], 0
        for folder in outputs.ownerless(self._redis, self._artifacts):
            if not self._artifacts.is_local or self._artifacts.exists(f"{folder}/{MANIFEST}"):
                ended.append(folder)
            else:
                left += self._waits(folder)
        for folder in self._old.due(ended):
            log.info("deleting %s: its time is over", self._artifacts.url(folder))
            try:
                outputs.delete(self._artifacts, folder)
            except storage_errors() as error:
                log.warning("cannot delete %s: %s", self._artifacts.url(folder), error)
        metrics.OUTPUT_BYTES.set(self._old.bytes(), "no_job")
        if self._artifacts.is_local:
            metrics.ABANDONED.set(left, "output_folders")
            metrics.STORAGE_FREE.set(self._artifacts.free_bytes())

    def _has_outputs(self, folder: str) -> bool:
        """Whether there are files that were written whole. Somebody may have wanted to keep them."""
        return any(not name.startswith(".") for some in self._artifacts.names(folder) for name in some)

    def _waits(self, folder: str) -> bool:
        """Whether a folder is left for now; else it is deleted."""
        try:
            if self._artifacts.unchanged_s(folder) < self._settings.abandoned_s or self._has_outputs(folder):
                return True
            log.warning("deleting %s: its job is gone, and no manifest was written", self._artifacts.url(folder))
            outputs.delete(self._artifacts, folder)
        except storage_errors() as error:
            log.warning("cannot delete %s: %s", self._artifacts.url(folder), error)
            return True
        return False
