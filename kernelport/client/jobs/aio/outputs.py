"""Brings a job's outputs into a folder that belongs to the job."""

from collections.abc import AsyncGenerator
from pathlib import Path

from kernelport.client.calling.aio import in_thread
from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.jobs import fetching, folders
from kernelport.client.jobs.aio.calls import AsyncJobCalls
from kernelport.errors import KernelPortError
from kernelport.names import MANIFEST, SUMMARY
from kernelport.v1 import job_pb2 as pb


async def chunks(calls: AsyncJobCalls, job_id: str, item_id: str, whole: Deadline) -> AsyncGenerator[bytes]:
    """The file that an item became, in pieces."""
    request = message(pb.GetItemOutputRequest, job_id=job_id, item_id=item_id)
    async for answer in calls.stream("GetItemOutput", request, whole):
        yield answer.chunk


async def fetch(calls: AsyncJobCalls, job_id: str, item: pb.Item, folder: Path, whole: Deadline) -> Path:
    """The output of an item that succeeded as a file in a folder; one that is there and right stays."""
    folders.claim(folder, job_id)
    patience = calls.patience()
    while True:
        try:
            with fetching.Target(item, folder) as target:
                if not await in_thread(target.is_there):
                    async for chunk in chunks(calls, job_id, item.id, whole):
                        await in_thread(target.write, chunk)
            return target.path
        except KernelPortError as error:
            await calls.pause(patience, error, whole)


async def fetch_manifest(calls: AsyncJobCalls, job_id: str, folder: Path, whole: Deadline) -> Path:
    """The manifest of a job that is over, as the server wrote it, in a folder; the summary beside it."""
    folders.claim(folder, job_id)
    path, patience = folder / MANIFEST, calls.patience()
    request = message(pb.GetManifestRequest, job_id=job_id)
    while True:
        try:
            with fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                async for answer in calls.stream("GetManifest", request, whole):
                    summary.write(answer.summary)
                    manifest.write(answer.chunk)
            return path
        except KernelPortError as error:
            await calls.pause(patience, error, whole)
