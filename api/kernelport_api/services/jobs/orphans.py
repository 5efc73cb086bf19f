"""Outputs that no job owns any more."""

import asyncio
from collections.abc import AsyncIterator

from kernelport.errors import FailedPreconditionError
from kernelport.jobs.artifacts import Artifacts
from kernelport.names import is_job_id
from kernelport.v1 import job_pb2 as pb
from kernelport_api.services.jobs.store import JobStore, OutputNotFoundError


async def orphans(store: JobStore, artifacts: Artifacts) -> AsyncIterator[pb.Orphan]:
    """Folders of outputs that are named as jobs are, of which there is no job; the oldest first."""
    for job_id in sorted(filter(is_job_id, await asyncio.to_thread(artifacts.folders))):
        if await store.find(job_id) is None:
            files, size = await asyncio.to_thread(artifacts.usage, job_id)
            yield pb.Orphan(job_id=job_id, output_url=artifacts.url(job_id), files=files, bytes=size)


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
    deleted = 0
    while some := await asyncio.to_thread(artifacts.delete_some, job_id):
        deleted += some
    return deleted
