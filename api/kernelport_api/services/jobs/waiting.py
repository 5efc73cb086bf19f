"""Why nothing runs of a job that could."""

import contextlib
from collections.abc import Container

from redis.exceptions import RedisError

from kernelport.v1 import job_pb2 as pb
from kernelport_api.queueing.live_workers import WorkerView


class Waiting:
    """Tells of jobs that wait for a worker.

    Args:
        deployments: the names of those that there are.
    """

    def __init__(self, deployments: Container[str], workers: WorkerView) -> None:
        self._deployments = deployments
        self._workers = workers

    async def told(self, job: pb.Job) -> pb.Job:
        """The job, with the reason why it waits if there is one, and workers can be looked for."""
        may_run = job.state in (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING) and not job.reason
        if may_run and job.progress.waiting + job.progress.running:
            with contextlib.suppress(RedisError):
                job.reason = await self._reason(job.spec.deployment)
        return job

    async def _reason(self, deployment: str) -> str:
        if deployment not in self._deployments:
            return f'no deployment is named "{deployment}" any more; it waits'
        if not await self._workers.is_served(deployment):
            return f'no live worker serves "{deployment}"; it waits'
        refusals = [worker.jobs_refused for worker in self._workers.workers(deployment)]
        if all(refusals):
            return f'no live worker of "{deployment}" takes items of jobs ({refusals[0]}); it waits'
        return ""
