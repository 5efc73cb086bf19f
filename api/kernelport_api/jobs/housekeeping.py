"""What a front door does for jobs beside answering calls. Any one front door suffices, and several do no harm."""

import asyncio
import logging
from collections.abc import Mapping

from redis.exceptions import RedisError

from kernelport import metrics
from kernelport.deployments import Deployment
from kernelport.errors import KernelPortError
from kernelport.jobs.backlog import Backlog
from kernelport_api.jobs.store import JobStore
from kernelport_api.jobs.submission import tick
from kernelport_api.workers import WorkerView

log = logging.getLogger(__name__)

TICK_INTERVAL_S = 1.0


async def keep_feeding(deployments: Mapping[str, Deployment], store: JobStore, workers: WorkerView) -> None:
    """Expires jobs though no worker lives, and sets the gauges, for ever."""
    while True:
        for name in deployments:
            try:
                await _expire(store, name)
                await tick(store, workers, name)
                backlog = await Backlog.read_async(store.redis, name)
            except (KernelPortError, RedisError) as error:
                log.warning("cannot look after the jobs of %s: %s", name, error)
            else:
                metrics.JOB_BACKLOG.labels(name).set(backlog.items)
        await asyncio.sleep(TICK_INTERVAL_S)


async def _expire(store: JobStore, deployment: str) -> None:
    looked_at = 0
    while looked_at := await store.run("expire", deployment, looked_at):
        pass
