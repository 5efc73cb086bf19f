"""What a front door does for jobs beside answering calls. Any one front door suffices, and several do no harm."""

import asyncio
import logging
from collections.abc import Mapping

from redis.exceptions import RedisError

from kernelport import metrics
from kernelport.connections import outage
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
                await tick(store, workers, name)
                backlog = await Backlog.read_async(store.redis, name)
            except RedisError as error:
                outage.tell(error)
            except KernelPortError as error:  # the store's word for what Redis said
                if isinstance(error.__cause__, RedisError):
                    outage.tell(error.__cause__)
                else:
                    log.warning("cannot look after the jobs of %s: %s", name, error)
            else:
                metrics.JOB_BACKLOG.labels(name).set(backlog.items)
        await asyncio.sleep(TICK_INTERVAL_S)
