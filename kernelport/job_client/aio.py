"""Bulk jobs for asyncio."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc

from kernelport.errors import AbortedError, KernelPortError, NotFoundError, UnavailableError, from_call, translated
from kernelport.job_client import fetching
from kernelport.job_client.messages import (
    GIVE_UP_S,
    MESSAGES_A_CALL,
    PAGE_SIZE,
    STREAM_S,
    Additions,
    ItemLike,
    Patience,
    async_batches,
    check_deletion,
    deletion_pauses,
    fits_one_call,
    given_up,
    is_over,
    job_spec,
    sealing,
    unix_us,
)
from kernelport.jobs.naming import MANIFEST, SUMMARY
from kernelport.signature import Signature
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc

_Items = list[pb.NewItem]


class AsyncJobs:
    """The same as `Jobs` for asyncio: answers are awaited, and iterators are for `async for`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        signature_of: Callable[[str, float | None], Awaitable[Signature]],
        timeout_s: float | None = None,
    ) -> None:
        self.patience_s = 300.0
        self.on_retry: Callable[[KernelPortError, float], None] | None = None
        self._answered = False
        self._stub: Any = job_pb2_grpc.JobServiceStub(channel)
        self._signature_of = signature_of
        self._timeout_s = timeout_s

    async def submit(
        self,
        deployment: str,
        items: Iterable[ItemLike] | AsyncIterator[ItemLike],
        *,
        shared: Mapping[str, Any] | None = None,
        output_format: str = "",
        priority: int = 0,
        deadline: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: pb.Webhook | None = None,
        retention_s: int = 0,
        delete_outputs: bool = False,
        request_id: str = "",
        on_existing: Callable[[pb.Job], None] | None = None,
    ) -> pb.Job:
        """Makes a job of items, which may come asynchronously; see `Jobs.submit`."""
        signature = await self._signature_of(deployment, self._timeout_s)
        spec = job_spec(
            deployment,
            signature,
            shared=shared,
            output_format=output_format,
            priority=priority,
            deadline=deadline,
            metadata=metadata,
            webhook=webhook,
            retention_s=retention_s,
            delete_outputs=delete_outputs,
        )
        coming = async_batches(items, signature)
        first = await anext(coming)
        second = await anext(coming, None)
        request = pb.SubmitJobRequest(request_id=request_id or secrets.token_hex(16), spec=spec)
        fits = fits_one_call(spec, first)
        request.open = second is not None or not fits
        request.items.extend(first if fits else [])
        with translated():
            answer = await self._stub.SubmitJob(request, timeout=self._timeout_s)
        self._answered = True
        job: pb.Job = answer.job
        if answer.existed and on_existing is not None:
            on_existing(job)
        if not request.open:
            return job
        try:
            return await self._add(job, [first, second or []], coming)
        except BaseException:
            if not request_id:
                with contextlib.suppress(grpc.RpcError):  # the error that led here says more
                    await self._stub.CancelJob(given_up(job), timeout=GIVE_UP_S)
            raise

    async def get(self, job_id: str) -> pb.Job:
        """One job."""
        with translated():
            job: pb.Job = (await self._stub.GetJob(pb.GetJobRequest(job_id=job_id), timeout=self._timeout_s)).job
        self._answered = True
        return job

    async def list(self, deployment: str = "", states: Sequence[pb.JobState | str] = ()) -> AsyncIterator[pb.Job]:
        """Jobs, newest first; see `Jobs.list`."""
        request = pb.ListJobsRequest(deployment=deployment, states=states, page_size=PAGE_SIZE)
        while True:
            with translated():
                page = await self._stub.ListJobs(request, timeout=self._timeout_s)
            for job in page.jobs:
                yield job
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def watch(
        self, job_id: str, *, cursor: int = 0, items: bool = False, interval_s: float = 0.0
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Tells how a job stands, now and whenever that changes, until it is over; see `Jobs.watch`."""
        patience = self._patience()
        request = pb.WatchJobRequest(job_id=job_id, cursor=cursor, items=items, interval_s=interval_s)
        while True:
            over = False
            call = self._stub.WatchJob(request, timeout=STREAM_S)
            try:
                async for event in call:
                    self._answered = True
                    patience = self._patience()
                    request.cursor = event.cursor
                    yield event
                    over = is_over(event.job)
                ended: KernelPortError = UnavailableError("the front door ended the stream")
            except grpc.RpcError as error:
                ended = from_call(error)
            finally:
                call.cancel()
            if over:
                return
            await self._pause(patience, ended)

    async def finished_items(self, job_id: str, *, cursor: int = 0) -> AsyncIterator[pb.Item]:
        """Every item as it is done, in that order, until the job is over."""
        async for event in self.watch(job_id, cursor=cursor, items=True):
            for item in event.items:
                yield item

    async def wait(self, job_id: str) -> pb.Job:
        """The job when it is over."""
        async for event in self.watch(job_id):
            job = event.job
        return job

    async def items(self, job_id: str, states: Sequence[pb.ItemState | str] = ()) -> AsyncIterator[pb.Item]:
        """A job's items in the order of submission; see `Jobs.items`."""
        request = pb.ListItemsRequest(job_id=job_id, states=states, page_size=PAGE_SIZE)
        patience = self._patience()
        while True:
            try:
                with translated():
                    page = await self._stub.ListItems(request, timeout=self._timeout_s)
            except KernelPortError as error:
                await self._pause(patience, error)
                continue
            self._answered = True
            patience = self._patience()
            for item in page.items:
                yield item
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def output(self, job_id: str, item_id: str) -> AsyncIterator[bytes]:
        """The file that an item became, in pieces."""
        request = pb.GetItemOutputRequest(job_id=job_id, item_id=item_id)
        with translated():
            async for answer in self._stub.GetItemOutput(request):
                yield answer.chunk

    async def fetch(self, job_id: str, item: pb.Item, folder: Path) -> Path:
        """The output of an item that succeeded as a file in a folder; see `Jobs.fetch`."""
        patience = self._patience()
        while True:
            try:
                with fetching.Target(item, folder) as target:
                    if not target.is_there():
                        async for chunk in self.output(job_id, item.id):
                            target.write(chunk)
                return target.path
            except KernelPortError as error:
                await self._pause(patience, error)

    async def fetch_manifest(self, job_id: str, folder: Path) -> Path:
        """The manifest of a job that is over, as the server wrote it; see `Jobs.fetch_manifest`."""
        path, patience = folder / MANIFEST, self._patience()
        while True:
            try:
                with translated(), fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                    async for answer in self._stub.GetManifest(pb.GetManifestRequest(job_id=job_id)):
                        summary.write(answer.summary)
                        manifest.write(answer.chunk)
                return path
            except KernelPortError as error:
                await self._pause(patience, error)

    async def cancel(self, job_id: str, reason: str = "") -> pb.Job:
        """Starts no further item of a job."""
        request = pb.CancelJobRequest(job_id=job_id, reason=reason)
        with translated():
            job: pb.Job = (await self._stub.CancelJob(request, timeout=self._timeout_s)).job
            return job

    async def resume(self, job_id: str, *, deadline: datetime | None = None) -> pb.Job:
        """Runs what failed, was cancelled or expired; what succeeded stays."""
        request = pb.ResumeJobRequest(job_id=job_id, deadline_unix_us=unix_us(deadline))
        with translated():
            job: pb.Job = (await self._stub.ResumeJob(request, timeout=self._timeout_s)).job
            return job

    async def seal(self, job_id: str) -> pb.Job:
        """Lets a job take no further items; see `Jobs.seal`."""
        with translated():
            job: pb.Job = (await self._stub.AddItems([sealing(job_id)], timeout=self._timeout_s)).job
            return job

    async def delete(self, job_id: str, *, delete_outputs: bool = False, wait: bool = True) -> None:
        """Forgets a job that is over, and deletes its outputs if asked to; see `Jobs.delete`."""
        with translated():
            request = pb.DeleteJobRequest(job_id=job_id, delete_outputs=delete_outputs)
            await self._stub.DeleteJob(request, timeout=self._timeout_s)
        if wait:
            async for _ in self.deletion(job_id):
                pass

    async def deletion(self, job_id: str) -> AsyncIterator[pb.Job]:
        """A job that is being deleted, now and then, until it is gone; see `Jobs.deletion`."""
        patience, pauses = Patience(self.patience_s), deletion_pauses()
        while True:
            try:
                job = await self.get(job_id)
            except NotFoundError:
                return
            except KernelPortError as error:
                await asyncio.sleep(patience.pause_s(error))
                continue
            patience.succeeded()
            check_deletion(job)
            yield job
            await asyncio.sleep(next(pauses))

    async def _add(self, job: pb.Job, begun: Sequence[_Items], coming: AsyncIterator[_Items]) -> pb.Job:
        """Adds batches to an open job, making more while some are on their way, and seals it."""
        additions = Additions(job)
        waiting = [request for batch in begun if (request := additions.request(batch)) is not None]
        sent: asyncio.Task[pb.Job] | None = None
        try:
            async for batch in coming:
                if (request := additions.request(batch)) is None:
                    continue
                await asyncio.sleep(0)  # what is on its way goes on, though `coming` never waits
                # The newest waits for one more, or for the seal: the last items and the seal go in one call.
                if waiting and (sent is None or sent.done() or len(waiting) >= MESSAGES_A_CALL):
                    if sent is not None:
                        await sent
                    sent, waiting = asyncio.create_task(self._added(waiting)), []
                waiting.append(request)
            if sent is not None:
                await sent
        finally:
            if sent is not None:
                sent.cancel()
        return await self._added([*waiting, additions.seal()])

    async def _added(self, requests: Sequence[pb.AddItemsRequest]) -> pb.Job:
        """The job once requests have reached it: what the job has already is skipped, so they may be sent again."""
        patience = Patience(self.patience_s)
        while True:
            try:
                with translated():
                    job: pb.Job = (await self._stub.AddItems(list(requests))).job
                    return job
            except KernelPortError as error:
                # AbortedError: a try that broke off may still be at work.
                await self._pause(patience, error, also=(AbortedError,))

    def _patience(self) -> Patience:
        """None before the first answer: the address may be wrong."""
        return Patience(self.patience_s if self._answered else 0.0)

    async def _pause(
        self, patience: Patience, error: KernelPortError, also: Collection[type[KernelPortError]] = ()
    ) -> None:
        """Waits for the next try; raises the error when there is to be none."""
        pause_s = patience.pause_s(error, also)
        if self.on_retry is not None:
            self.on_retry(error, pause_s)
        await asyncio.sleep(pause_s)
