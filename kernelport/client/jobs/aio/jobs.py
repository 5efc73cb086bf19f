"""Bulk jobs: what a client can ask for."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any

from kernelport.client.calling.aio import AsyncChannel
from kernelport.client.calling.limits import Deadline, checked_patience
from kernelport.client.calling.messages import checked_function, checked_name, deadline_fields, message
from kernelport.client.calling.messages import path as path_of
from kernelport.client.inference.aio import AsyncInference
from kernelport.client.jobs.aio import outputs, watching
from kernelport.client.jobs.aio.calls import AsyncJobCalls
from kernelport.client.jobs.aio.submitting import replace, signature_of, submit
from kernelport.client.jobs.messages import PAGE_SIZE, AsyncItems, async_batches, job_spec, sealing
from kernelport.enums import item_states, job_states
from kernelport.errors import KernelPortError, of_request
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.job_pb2_grpc import JobServiceStub


class AsyncJobs:
    """The bulk jobs of a front door; made by a client, and as safe to share.

    Every call raises a KernelPortError of the class that says what went wrong, as those of the client do. The client's
    time limit is that of each call, and of each portion of what is submitted, fetched or watched. A
    `timeout_s` given to a method bounds the whole, outages included.
    """

    def __init__(self, channel: AsyncChannel, inference: AsyncInference) -> None:
        self._calls = AsyncJobCalls(channel)
        self._channel = channel
        self._inference = inference

    @property
    def patience_s(self) -> float:
        """Seconds for which submitting, watching and fetching go on trying while no front door can be reached, once it
        has answered this client; infinity for ever."""
        return self._calls.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._calls.patience_s = checked_patience(seconds)

    @property
    def on_retry(self) -> Callable[[KernelPortError, float], None] | None:
        """Called before each pause with the error that is in the way, a KernelPortError, and the seconds until the next
        try."""
        return self._calls.on_retry

    @on_retry.setter
    def on_retry(self, on_retry: Callable[[KernelPortError, float], None] | None) -> None:
        self._calls.on_retry = checked_function("on_retry", on_retry, "an error and the seconds until the next try")

    async def submit(
        self,
        deployment: str,
        items: AsyncItems,
        *,
        shared: Mapping[str, Any] | None = None,
        output_format: str | None = "",
        outputs: Iterable[str] | None = (),
        priority: int = 0,
        deadline: datetime | timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: pb.Webhook | None = None,
        retention_s: int = 0,
        delete_outputs: bool = False,
        request_id: str = "",
        on_existing: Callable[[pb.Job], None] | None = None,
        timeout_s: float | None = None,
    ) -> pb.Job:
        """Makes a job of items and seals it. Holds at most about 32 MiB of the items at a time, however many they are.

        Args:
            deployment: the deployment's name.
            items: each a text, a mapping of inputs, or a tuple of an id and one of these. Items without an id get
                their number, from 000001.
            shared: inputs that are the same for every item.
            output_format: wav, flac, ogg, mp3, aac, pcm or npz; empty for what suits the deployment.
            outputs: the names of those that are wanted, which npz files keep; by default the usual ones.
            priority: the job's share among the jobs of the deployment, 1 to 10000; 0 stands for 100.
            deadline: when the job expires: a time, without a zone local time, or a duration from now on.
            metadata: notes that are kept with the job.
            webhook: who is told of the job by HTTP.
            retention_s: seconds for which the job is kept after it is over; 0 for the server's default.
            delete_outputs: whether the outputs go with it.
            request_id: makes the call safe to repeat, with the same arguments: a job that is there is gone on with.
            on_existing: called with a job that is there, before its items are compared.
            timeout_s: seconds until the job must have all of its items.

        Raises:
            InvalidArgumentError: when an item or argument is not as expected. A job that has some of its items by then
                is cancelled, unless it has a request id to go on with; so is one whose submission anything else ends.
            AlreadyExistsError: the request id was used with other arguments or items.
            FailedPreconditionError: the job of the request id was stopped before all of its items had come.
        """
        with of_request(request_id):
            whole = Deadline(timeout_s)
            deployment = checked_name("deployment", deployment)
            checked_function("on_existing", on_existing, "a job")
            signature = await signature_of(self._inference, self._calls, deployment, whole)
            spec = job_spec(
                deployment,
                signature,
                shared=shared,
                output_format=output_format,
                outputs=outputs,
                priority=priority,
                deadline=deadline,
                metadata=metadata,
                webhook=webhook,
                retention_s=retention_s,
                delete_outputs=delete_outputs,
            )
            async with contextlib.aclosing(async_batches(items, signature, self._channel.check)) as coming:
                return await submit(self._calls, spec, coming, request_id, on_existing, whole)

    async def get(self, job_id: str) -> pb.Job:
        """One job.

        Args:
            job_id: of the job.
        """
        job: pb.Job = (await self._calls.call("GetJob", message(pb.GetJobRequest, job_id=job_id))).job
        return job

    async def list(
        self, deployment: str | None = "", states: Iterable[pb.JobState | str] | None = ()
    ) -> AsyncIterator[pb.Job]:
        """Jobs, newest first, fetched in pages as they are wanted; empty arguments stand for all.

        Args:
            deployment: whose.
            states: in which they are, as JobState or its words.
        """
        whose = "" if deployment is None else deployment
        request = message(pb.ListJobsRequest, deployment=whose, states=job_states(states), page_size=PAGE_SIZE)
        async for page in self._calls.pages("ListJobs", request, Deadline(None)):
            for job in page.jobs:
                yield job

    def watch(
        self,
        job_id: str,
        *,
        cursor: int = 0,
        items: bool = False,
        interval_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Tells how a job stands, now and whenever that changes, until it is over. Goes on by itself from where it was
        when the connection breaks.

        Args:
            job_id: of the job.
            cursor: of the last event seen, to go on after it.
            items: whether the events tell of the items that are done, too; each once from cursor 0 on.
            interval_s: the least time between two events, in seconds; 0 for the server's default.
            timeout_s: seconds until the job must be over.
        """
        request = message(pb.WatchJobRequest, job_id=job_id, cursor=cursor, items=items, interval_s=interval_s)
        return watching.events(self._calls, request, Deadline(timeout_s))

    async def finished_items(
        self, job_id: str, *, cursor: int = 0, timeout_s: float | None = None
    ) -> AsyncIterator[pb.Item]:
        """Every item as it is done, in that order, until the job is over.

        Args:
            job_id: of the job.
            cursor: of the last event seen, to go on after it.
            timeout_s: seconds until the job must be over.
        """
        async for event in self.watch(job_id, cursor=cursor, items=True, timeout_s=timeout_s):
            for item in event.items:
                yield item

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[pb.Job], None] | None = None,
    ) -> pb.Job:
        """The job when it is over.

        Args:
            job_id: of the job.
            timeout_s: seconds until DeadlineExceededError; the job goes on.
            on_progress: called with the job as it stands, now and whenever that changes.
        """
        checked_function("on_progress", on_progress, "a job")
        async for event in self.watch(job_id, timeout_s=timeout_s):
            job = event.job
            if on_progress is not None:
                on_progress(job)
        return job

    async def items(
        self, job_id: str, states: Iterable[pb.ItemState | str] | None = (), *, inputs: bool = False
    ) -> AsyncIterator[pb.Item]:
        """A job's items in the order of submission, fetched in pages as they are wanted.

        Args:
            job_id: of the job.
            states: in which they are, as ItemState or its words; all when empty.
            inputs: whether they come with what they were submitted with.
        """
        async for item in outputs.items(self._calls, job_id, item_states(states), Deadline(None), inputs=inputs):
            yield item

    def output(self, job_id: str, item_id: str, *, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        """The file that an item became, in pieces.

        Args:
            job_id: of the job.
            item_id: of the item.
            timeout_s: seconds until the last piece must be there.
        """
        return outputs.chunks(self._calls, job_id, item_id, Deadline(timeout_s))

    async def fetch(
        self, job_id: str, item: pb.Item, folder: str | PathLike[str], *, timeout_s: float | None = None
    ) -> Path:
        """The output of an item that succeeded as a file in a folder, under the name that the job gave it. A file that
        is there already and has the right hash stays. The folder is the job's from its first output on.

        Args:
            job_id: of the job.
            item: as `items` and `watch` give it.
            folder: of this job alone; made if it is not there.
            timeout_s: seconds until the file must be there.

        Raises:
            FailedPreconditionError: when the item has no output; it says why.
            FileExistsError: when the folder holds outputs of another job.
            InternalError: when what came is not what the job made.
            NotFoundError: when there is no such job or item, or its file is gone from the server's storage.
        """
        return await outputs.fetch(self._calls, job_id, item, path_of("folder", folder), Deadline(timeout_s))

    async def fetch_all(
        self,
        job_id: str,
        folder: str | PathLike[str],
        *,
        timeout_s: float | None = None,
        on_fetched: Callable[[pb.Item, Path], None] | None = None,
    ) -> Sequence[Path]:
        """The outputs of all items that have succeeded, as files in a folder, and the manifest of a job that is over.

        Args:
            job_id: of the job.
            folder: of this job alone; made if it is not there.
            timeout_s: seconds until the files must be there.
            on_fetched: called with each item and its file.

        Returns:
            The files of items, in the order of submission.

        Raises:
            FileExistsError: when the folder holds outputs of another job.
            NotFoundError: when files are gone from the server's storage, or are not what the job made; all others are
                there then. Its violations name each item.
        """
        whole = Deadline(timeout_s)
        checked_function("on_fetched", on_fetched, "an item and its file")
        return await outputs.fetch_all(self._calls, job_id, path_of("folder", folder), whole, on_fetched)

    async def fetch_manifest(self, job_id: str, folder: str | PathLike[str], *, timeout_s: float | None = None) -> Path:
        """The manifest of a job that is over, as the server wrote it, in a folder; the summary beside it.

        Args:
            job_id: of the job.
            folder: of this job alone; made if it is not there.
            timeout_s: seconds until both must be there.

        Raises:
            FailedPreconditionError: while the job is active.
            FileExistsError: when the folder holds outputs of another job.
            NotFoundError: when there is no such job, or the manifest could not be written.
        """
        return await outputs.fetch_manifest(self._calls, job_id, path_of("folder", folder), Deadline(timeout_s))

    async def cancel(self, job_id: str, reason: str = "") -> pb.Job:
        """Starts no further item of a job.

        Args:
            job_id: of the job.
            reason: what `get` and the manifest tell of it.
        """
        request = message(pb.CancelJobRequest, job_id=job_id, reason=reason)
        job: pb.Job = (await self._calls.call("CancelJob", request)).job
        return job

    async def resume(self, job_id: str, *, deadline: datetime | timedelta | None = None) -> pb.Job:
        """Runs what failed, was cancelled or expired; what succeeded stays.

        Args:
            job_id: of the job.
            deadline: when the job expires, as of `submit`.
        """
        request = message(pb.ResumeJobRequest, job_id=job_id, **deadline_fields(deadline))
        job: pb.Job = (await self._calls.call("ResumeJob", request, repeatable=False)).job
        return job

    async def replace_items(self, job_id: str, items: AsyncItems) -> int:
        """Gives items of a job that is over other inputs, for `resume` to run.

        Args:
            job_id: of the job.
            items: as `submit` takes them, each with its id in the job and with all inputs that are not shared. They go
                in messages of about 1 MiB: of what is refused, items of earlier messages are replaced already.

        Returns:
            How many there were.

        Raises:
            FailedPreconditionError: the job is not over, or an item has succeeded.
            InvalidArgumentError: an item is not what the deployment declares.
            NotFoundError: the job has no item of an id.
        """
        job = await self.get(job_id)
        signature = await self._inference.fetch_signature(job.spec.deployment, self._channel.deadline(None))
        async with contextlib.aclosing(async_batches(items, signature, self._channel.check)) as coming:
            return await replace(self._calls, job_id, coming)

    async def seal(self, job_id: str) -> pb.Job:
        """Lets a job take no further items: one whose submission broke off is run, or resumed, as it is.

        Args:
            job_id: of the job.
        """
        job: pb.Job = (await self._calls.begin([sealing(job_id)], Deadline(None)).result()).job
        return job

    async def delete(self, job_id: str, *, delete_outputs: bool = False, wait: bool = True) -> None:
        """Forgets a job that is over, and deletes its outputs if asked to.

        Args:
            job_id: of the job.
            delete_outputs: whether its files go, too.
            wait: whether to return only when the outputs are gone. They go by themselves.

        Raises:
            FailedPreconditionError: the job is active.
            UnavailableError: the outputs cannot be deleted now; it is tried again by itself.
        """
        request = message(pb.DeleteJobRequest, job_id=job_id, delete_outputs=delete_outputs)
        await self._calls.call("DeleteJob", request, repeatable=False)
        if wait:
            async for _ in self.deletion(job_id):
                pass

    def deletion(self, job_id: str) -> AsyncIterator[pb.Job]:
        """A job that is being deleted, now and then, until it is gone.

        Args:
            job_id: of the job.

        Raises:
            UnavailableError: its outputs cannot be deleted now; it is tried again by itself.
        """
        return watching.deletion(self._calls, job_id)

    async def orphans(self) -> AsyncIterator[pb.Orphan]:
        """Outputs that no job owns any more, as those of jobs that were deleted without them; the oldest first."""
        request = pb.ListOrphansRequest()
        async for answer in self._calls.stream("ListOrphans", request, Deadline(None)):
            yield answer.orphan

    async def delete_orphan(self, job_id: str) -> int:
        """Deletes the outputs that a job has left; returns how many files those were.

        Args:
            job_id: of the job that there was.

        Raises:
            FailedPreconditionError: when there is such a job.
            NotFoundError: when there are no such outputs.
        """
        request = message(pb.DeleteOrphanRequest, job_id=job_id)
        answer = await self._channel.call(JobServiceStub, "DeleteOrphan", request, Deadline(None), repeatable=False)
        return int(answer.deleted_files)
