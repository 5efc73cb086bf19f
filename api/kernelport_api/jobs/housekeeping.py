"""What a front door does for jobs beside answering calls. Any one front door suffices, and several do no harm."""

import asyncio
import logging
import time
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import keys, metrics
from kernelport.artifacts import Artifacts, storage_errors
from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.jobs.backlog import Backlog
from kernelport.jobs.records import MICROSECONDS
from kernelport_api.jobs.store import JobStore, reached
from kernelport_api.jobs.submission import tick
from kernelport_api.workers import WorkerView

log = logging.getLogger(__name__)

TICK_INTERVAL_S = 1.0
SWEEP_INTERVAL_S = 5.0
_JOBS_AT_ONCE = 10


async def keep_feeding(deployments: Mapping[str, Deployment], store: JobStore, workers: WorkerView) -> None:
    """Expires jobs though no worker lives, and sets the gauges, for ever."""
    while True:
        for name in deployments:
            try:
                await tick(store, workers, name)
                backlog = await Backlog.read_async(store.redis, name)
            except (KernelPortError, RedisError) as error:
                log.warning("cannot look after the jobs of %s: %s", name, error)
            else:
                metrics.JOB_BACKLOG.labels(name).set(backlog.items)
        await asyncio.sleep(TICK_INTERVAL_S)


async def keep_sweeping(store: JobStore, artifacts: Artifacts) -> None:
    """Deletes jobs whose retention is over, for ever."""
    while True:
        try:
            await _sweep(store, artifacts)
        except (KernelPortError, RedisError) as error:
            log.warning("cannot sweep jobs: %s", error)
        except storage_errors() as error:
            log.warning("cannot delete outputs: %s", error)
        await asyncio.sleep(SWEEP_INTERVAL_S)


async def _sweep(store: JobStore, artifacts: Artifacts) -> None:
    redis: Redis = store.redis
    now = round(time.time() * MICROSECONDS)
    for value in await reached(redis.zrangebyscore(keys.EXPIRING_JOBS, "-inf", now, start=0, num=_JOBS_AT_ONCE)):
        job_id = value.decode()
        record = await store.find(job_id)
        if record is not None and record.spec.delete_outputs:
            await asyncio.to_thread(artifacts.delete, job_id)
        await store.run("delete", job_id)
        log.info("job %s is forgotten: its retention is over", job_id)
