"""Outputs that no job owns any more, listed and deleted by hand."""

import asyncio
from collections.abc import AsyncIterator

from redis import Redis

from kernelport.errors import FailedPreconditionError
from kernelport.jobs import outputs
from kernelport.jobs.artifacts import Artifacts
from kernelport.names import is_job_id
from kernelport.v1 import job_pb2 as pb
from kernelport_api import calls
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.jobs.store import JobStore, OutputNotFoundError


async def orphans(redis: Redis, artifacts: Artifacts) -> AsyncIterator[pb.Orphan]:
    """Folders of outputs that are named as jobs are, of which there is no job; the oldest first."""
    found: list[str] = await reached(asyncio.to_thread(lambda: sorted(outputs.ownerless(redis, artifacts))))
    for job_id in found:
        files, size = await asyncio.to_thread(artifacts.usage, job_id)
        yield pb.Orphan(
            job_id=calls.current().principal.shown(job_id), output_url=artifacts.url(job_id), files=files, bytes=size
        )


async def delete_orphan(store: JobStore, artifacts: Artifacts, job_id: str) -> int:
    """Deletes what a job has left; returns how many files.

    Raises:
        FailedPreconditionError: when there is such a job.
        OutputNotFoundError: when there are no such outputs.
    """
    if not is_job_id(job_id) or job_id not in await asyncio.to_thread(artifacts.folders):
        raise OutputNotFoundError(f'job_id: there are no outputs of a job "{job_id}"')
    if await store.find(job_id) is not None:
        raise FailedPreconditionError(f"job_id: the job exists: kernelport jobs delete {job_id} --outputs deletes both")
    return await asyncio.to_thread(outputs.delete, artifacts, job_id)
