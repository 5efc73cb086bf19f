"""What a front door does for jobs beside answering calls. Any one front door suffices, and several do no harm."""

import asyncio
import logging
from collections.abc import Iterable

from redis.exceptions import RedisError

from kernelport.broker import keys
from kernelport.broker.connections import outage
from kernelport.broker.scripts import lengths
from kernelport.errors import KernelPortError
from kernelport.jobs.backlog import Backlog
from kernelport.telemetry import metrics
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.services.jobs.adding import tick
from kernelport_api.services.jobs.store import JobStore

log = logging.getLogger(__name__)

TICK_INTERVAL_S = 1.0


async def keep_feeding(deployments: Iterable[str], store: JobStore, workers: WorkerView) -> None:
    """Expires jobs though no worker lives, and sets the gauge of what waits, until it is cancelled."""
    # Versions before there were tenants told of none.
    deployment_of = {key(name): name for name in deployments for key in (keys.active_jobs, keys.job_tenants)}
    try:
        while True:
            try:
                there = await lengths(store.redis, "ZCARD", list(deployment_of))
                active = sorted({deployment_of[key] for key in there})
                for name in active:
                    await _look_after(store, workers, name)
                backlogs = {name: (await Backlog.read_async(store.redis, name)).items for name in active}
                metrics.JOB_BACKLOG.show_by_name(backlogs, deployment_of.values())
            except RedisError as error:
                outage.tell(error)
                metrics.JOB_BACKLOG.forget()
            await asyncio.sleep(TICK_INTERVAL_S)
    finally:
        metrics.JOB_BACKLOG.forget()


async def _look_after(store: JobStore, workers: WorkerView, deployment: str) -> None:
    try:
        looked_at = 0
        while looked_at := await store.run("expire", deployment, looked_at):
            pass
        await tick(store, workers, deployment)
    except KernelPortError as error:
        if isinstance(error.__cause__, RedisError):
            raise error.__cause__ from error  # the store's word for what Redis said
        log.warning("cannot look after the jobs of %s: %s", deployment, error)
