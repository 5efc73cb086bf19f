"""JobService: what callers can ask of bulk jobs."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import grpc
from redis import Redis

from kernelport.config.deployments import Deployment
from kernelport.enums import ItemState
from kernelport.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    UnavailableError,
)
from kernelport.jobs import outputs
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.item_records import item_of
from kernelport.jobs.records import JobRecord
from kernelport.names import MANIFEST, SUMMARY, is_job_id
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from kernelport_api import calls
from kernelport_api.queueing.durability import Durability, on_disk
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.audited import audited
from kernelport_api.services.jobs import day_quotas
from kernelport_api.services.jobs.adding import ItemExistsError
from kernelport_api.services.jobs.listing import list_items
from kernelport_api.services.jobs.store import JobStore, OutputNotFoundError, shown
from kernelport_api.services.jobs.submission import Submission
from kernelport_api.services.jobs.validation import deadline_unix_us, deadline_violations
from kernelport_api.services.jobs.waiting import Waiting
from kernelport_api.services.jobs.watching import watch

Context = grpc.aio.ServicerContext[Any, Any]

CHUNK_BYTES = 256 * 2**10
_OVERTAKEN = (AbortedError, AlreadyExistsError)
DEFAULT_JOBS, MAX_JOBS = 50, 1000


def _stored(request: Any) -> str:
    """The id under which the job is stored that a request names."""
    return calls.current().principal.stored(request.job_id)


def _job_id(request: Any) -> str:
    return str(request.job_id)


class Jobs(job_pb2_grpc.JobServiceServicer):
    """The jobs of every deployment.

    Args:
        redis: for what is done in threads.
        on_delete: called when files are to be deleted.
        stop: set when the front door is to stop.
    """

    def __init__(
        self,
        deployments: Mapping[str, Deployment],
        store: JobStore,
        submission: Submission,
        redis: Redis,
        artifacts: Artifacts,
        durability: Durability,
        waiting: Waiting,
        on_delete: Callable[[], None],
        stop: asyncio.Event,
    ) -> None:
        self.durability = durability
        self._deployments = deployments
        self._store = store
        self._submission = submission
        self._redis = redis
        self._artifacts = artifacts
        self._waiting = waiting
        self._on_delete = on_delete
        self._stop = stop

    @on_disk
    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> pb.SubmitJobResponse:
        record, existed = await self._submission.create(request)
        # Repeated, it is compared with what there is, and goes on where the one before stopped.
        if request.items or not existed:
            is_submitted = False
            try:
                # Others of its request id may be at work on it, too, whoever made it.
                adder = await self._submission.adder(record.id, repeated=True)
                await adder.add(request.items, offset=0, last=not request.open)
                await adder.finish(seal=not request.open)
                is_submitted = True
            except ResourceExhaustedError as error:
                raise await self._submission.refused(record.id, error, existed=existed) from error
            except KernelPortError as error:
                if existed and await self._is_deleted(record.id):  # just now: its request id is free
                    return await self.SubmitJob(request, context)
                # Where others have overtaken it, the job is theirs, too.
                existed = existed or (isinstance(error, _OVERTAKEN) and not isinstance(error, ItemExistsError))
                raise
            finally:
                # Its caller may have hung up, too.
                if not existed and not is_submitted:
                    await self._submission.discard(record.id)
        return pb.SubmitJobResponse(job=await self._job(record.id), existed=existed)

    @on_disk
    async def AddItems(self, requests: AsyncIterator[pb.AddItemsRequest], context: Context) -> pb.AddItemsResponse:
        adder, named, job_id = None, "", ""
        try:
            async for request in requests:
                if adder is None:
                    named, job_id = request.job_id, _stored(request)
                    adder = await self._submission.adder(job_id, repeated=bool(request.digest))
                elif request.job_id not in ("", named):
                    raise InvalidArgumentError(f'job_id: expected "{named}" as in the first message')
                offset = request.offset if request.HasField("offset") else None
                await adder.add(request.items, offset, digest=request.digest, last=request.seal)
                if request.seal:
                    await adder.finish(seal=True, as_it_is=offset is None)
            if adder is None:
                raise InvalidArgumentError("job_id: expected a message that names the job")
            await adder.finish(seal=False)
        except ResourceExhaustedError as error:
            raise await self._submission.refused(job_id, error, existed=True) from error
        return pb.AddItemsResponse(job=await self._job(job_id))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        return pb.GetJobResponse(job=await self._waiting.told(await self._job(_stored(request))))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        most = min(request.page_size or DEFAULT_JOBS, MAX_JOBS)
        jobs, token = await self._store.jobs(request.deployment, set(request.states), most, request.page_token)
        return pb.ListJobsResponse(jobs=[await self._waiting.told(job) for job in jobs], next_page_token=token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        async for event in watch(self._store, self._waiting, _stored(request), request, self._stop):
            yield event

    @audited("job.cancel", _job_id)
    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        await self._store.get(_stored(request))
        await self._store.run("stop", _stored(request), "cancelled", request.reason or "cancelled by its owner")
        return pb.CancelJobResponse(job=await self._job(_stored(request)))

    @audited("job.resume", _job_id)
    @on_disk
    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.ResumeJobResponse:
        record = await self._store.get(_stored(request))
        violations = list(deadline_violations(request))
        if violations:
            raise InvalidArgumentError.of(violations)
        deployment = self._deployments.get(record.deployment)
        if deployment is None:
            raise FailedPreconditionError(f'job_id: its deployment "{record.deployment}" is no more')
        most = self._submission.max_batch(deployment)
        limited = json.dumps(day_quotas.limited())
        await self._store.change("resume", "resume", record.id, deadline_unix_us(request), most, limited)
        await self._submission.tick(deployment.name)
        return pb.ResumeJobResponse(job=await self._job(record.id))

    @audited("job.replace_items", _job_id)
    @on_disk
    async def ReplaceItems(self, request: pb.ReplaceItemsRequest, context: Context) -> pb.ReplaceItemsResponse:
        record = await self._store.with_items(_stored(request))
        await self._submission.replace(record, request.items)
        return pb.ReplaceItemsResponse(job=await self._job(record.id))

    @audited("job.delete", _job_id)
    @on_disk
    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:
        await self._store.get(_stored(request))
        await self._store.change("delete", "delete", _stored(request), "delete", int(request.delete_outputs))
        self._on_delete()
        return pb.DeleteJobResponse()

    async def ListItems(self, request: pb.ListItemsRequest, context: Context) -> pb.ListItemsResponse:
        record = await self._store.with_items(_stored(request))
        return await list_items(self._store, record, request)

    async def GetItemOutput(
        self, request: pb.GetItemOutputRequest, context: Context
    ) -> AsyncIterator[pb.GetItemOutputResponse]:
        record = await self._store.with_items(_stored(request))
        found = await self._store.locate(record, [request.item_id])
        number, position = next((number, positions[request.item_id]) for number, positions in found.items())
        page = await self._store.page(record, number)
        states, attempts, results = await self._store.results(record.id, number)
        item = item_of(record, page, position, states[position], attempts, results.get(position))
        if item.state != pb.ITEM_STATE_SUCCEEDED:
            state = ItemState.of(item).replace("_", " ")
            raise FailedPreconditionError(f'item_id: item "{item.id}" is {state}: {item.reason or "it has no output"}')
        yield pb.GetItemOutputResponse(item=item)
        what, digest = f"item_id: the file {item.file}", hashlib.sha256()
        with _reading(record, what):
            chunks = self._artifacts.chunks(f"{record.id}/{item.file}", item.file_bytes, CHUNK_BYTES)
            while chunk := await asyncio.to_thread(_hashed, chunks, digest):
                yield pb.GetItemOutputResponse(chunk=chunk)
        if digest.digest() != item.sha256:  # cut by a power failure, or somebody else's
            raise OutputNotFoundError(f"{what} in {record.output_url} is not the one that the job made")

    async def ListOrphans(
        self, request: pb.ListOrphansRequest, context: Context
    ) -> AsyncIterator[pb.ListOrphansResponse]:
        with _storage_trouble():
            async for orphan in _orphans(self._redis, self._artifacts):
                yield pb.ListOrphansResponse(orphan=orphan)

    @audited("job.delete_orphan", _job_id)
    async def DeleteOrphan(self, request: pb.DeleteOrphanRequest, context: Context) -> pb.DeleteOrphanResponse:
        with _storage_trouble():
            deleted = await _delete_orphan(self._store, self._artifacts, _stored(request))
        return pb.DeleteOrphanResponse(deleted_files=deleted)

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: Context
    ) -> AsyncIterator[pb.GetManifestResponse]:
        record = await self._store.with_items(_stored(request))
        if not record.is_final:
            raise FailedPreconditionError("job_id: the job is active; its manifest is written when it is over")
        manifest = f"{record.id}/{MANIFEST}"
        with _reading(record, "job_id: the job's manifest"):
            summary = await asyncio.to_thread(self._artifacts.read, f"{record.id}/{SUMMARY}")
            yield pb.GetManifestResponse(summary=summary)
            size = await asyncio.to_thread(self._artifacts.size, manifest)
            chunks = self._artifacts.chunks(manifest, size, CHUNK_BYTES)
            while chunk := await asyncio.to_thread(_next, chunks):
                yield pb.GetManifestResponse(chunk=chunk)

    async def _job(self, job_id: str) -> pb.Job:
        return shown(await self._store.get(job_id))

    async def _is_deleted(self, job_id: str) -> bool:
        record = await self._store.find(job_id)
        return record is None or record.is_deleting


@contextlib.contextmanager
def _storage_trouble() -> Iterator[None]:
    """Tells the caller that the storage fails."""
    try:
        yield
    except storage_errors() as error:
        raise UnavailableError(f"the storage of outputs fails: {error}") from error


@contextlib.contextmanager
def _reading(record: JobRecord, what: str) -> Iterator[None]:
    """Tells the caller what is wrong with the storage."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputNotFoundError(f"{what} is gone from {record.output_url}") from error
    except storage_errors() as error:
        raise UnavailableError(f"the output cannot be read: {error}") from error


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


def _hashed(chunks: Iterator[bytes], digest: "hashlib._Hash") -> bytes:
    chunk = _next(chunks)
    digest.update(chunk)
    return chunk


async def _orphans(redis: Redis, artifacts: Artifacts) -> AsyncIterator[pb.Orphan]:
    """Folders of outputs that are named as jobs are, of which there is no job; the oldest first."""
    found: list[str] = await reached(asyncio.to_thread(lambda: sorted(outputs.ownerless(redis, artifacts))))
    for job_id in found:
        files, size = await asyncio.to_thread(artifacts.usage, job_id)
        yield pb.Orphan(
            job_id=calls.current().principal.shown(job_id), output_url=artifacts.url(job_id), files=files, bytes=size
        )


async def _delete_orphan(store: JobStore, artifacts: Artifacts, job_id: str) -> int:
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
