"""The synchronous twin of `aio.py`: generated, not to be edited. `make sync` writes it."""

import contextlib
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message, unix_us
from kernelport.client.calling.messages import path as path_of
from kernelport.client.calling.sync import Begun, Channel, in_thread, pause
from kernelport.client.jobs import fetching, folders
from kernelport.client.jobs.messages import (
    GIVE_UP_S,
    MESSAGES_A_CALL,
    PAGE_SIZE,
    STREAM_S,
    Additions,
    ItemLike,
    Items,
    Patience,
    batches,
    check_deletion,
    deletion_pauses,
    fits_one_call,
    given_up,
    is_over,
    job_spec,
    sealing,
)
from kernelport.enums import item_states, job_states
from kernelport.errors import AbortedError, KernelPortError, NotFoundError, UnavailableError
from kernelport.names import MANIFEST, SUMMARY
from kernelport.signature import Signature
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.job_pb2_grpc import JobServiceStub

_Items = list[pb.NewItem]


class SignatureOf(Protocol):
    """Asks the front door what a deployment takes."""

    def __call__(self, model: str, deadline: Deadline, /) -> Signature: ...


class Jobs:
    """The bulk jobs of a front door; made by a client, and as safe to share.

    Every call raises a KernelPortError of the class that says what went wrong, as those of the client do. The client's
    time limit is that of each call, and of each portion of what is submitted, fetched or watched. A
    `timeout_s` given to a method bounds the whole, outages included.

    Attributes:
        patience_s: seconds for which submitting, watching and fetching go on trying while no front door can be reached,
            once it has answered this client.
        on_retry: called with what is in the way and the seconds until the next try.
    """

    def __init__(self, channel: Channel, signature_of: SignatureOf) -> None:
        self.patience_s: float = 300.0
        self.on_retry: Callable[[KernelPortError, float], None] | None = None
        self._answered = False
        self._channel = channel
        self._signature_of = signature_of

    def submit(
        self,
        deployment: str,
        items: Items,
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
        timeout_s: float | None = None,
    ) -> pb.Job:
        """Makes a job of items and seals it. Holds at most about 32 MiB of the items at a time, however many they are.

        Args:
            deployment: the deployment's name.
            items: each a text, a mapping of inputs, or a tuple of an id and one of these. Items without an id get
                their number, from 000001.
            shared: inputs that are the same for every item.
            output_format: wav, flac, ogg, mp3 or npz; empty for what suits the deployment.
            priority: the job's share among the jobs of the deployment, 1 to 10000; 0 stands for 100.
            deadline: when the job expires.
            metadata: notes that are kept with the job.
            webhook: who is told of the job by HTTP.
            retention_s: seconds for which the job is kept after it is over; 0 for the server's default.
            delete_outputs: whether the outputs go with it.
            request_id: makes the call safe to repeat, with the same arguments: a job that is there is gone on with.
            on_existing: called with a job that is there, before its items are compared.
            timeout_s: seconds until the job must have all of its items.

        Raises:
            InvalidArgumentError: when an item or argument is not as expected. A job that has some of its items by then
                is cancelled, unless it has a request id to go on with.
            AlreadyExistsError: the request id was used with other arguments or items.
            FailedPreconditionError: the job of the request id was stopped before all of its items had come.
        """
        whole = Deadline(timeout_s)
        signature = self._signature_of(deployment, self._portion(whole))
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
        coming = batches(items, signature)
        first = next(coming)
        second = next(coming, None)
        request = message(pb.SubmitJobRequest, request_id=request_id or secrets.token_hex(16), spec=spec)
        fits = fits_one_call(spec, first)
        request.open = second is not None or not fits
        request.items.extend(first if fits else [])
        answer = self._call("SubmitJob", request, whole)
        job: pb.Job = answer.job
        if answer.existed and on_existing is not None:
            on_existing(job)
        if not request.open:
            return job
        try:
            return self._add(job, [first, second or []], coming, whole)
        except BaseException as error:
            if not request_id:
                with contextlib.suppress(KernelPortError):  # the error that led here says more
                    self._channel.call(JobServiceStub, "CancelJob", given_up(job), Deadline(GIVE_UP_S))
            elif isinstance(error, KernelPortError):
                error.request_id = request_id
            raise

    def get(self, job_id: str) -> pb.Job:
        """One job.

        Args:
            job_id: of the job.
        """
        job: pb.Job = (self._call("GetJob", message(pb.GetJobRequest, job_id=job_id))).job
        return job

    def list(self, deployment: str = "", states: Sequence[pb.JobState | str] = ()) -> Iterator[pb.Job]:
        """Jobs, newest first, fetched in pages as they are wanted; empty arguments stand for all.

        Args:
            deployment: whose.
            states: in which they are, as JobState or its words.
        """
        request = message(pb.ListJobsRequest, deployment=deployment, states=job_states(states), page_size=PAGE_SIZE)
        while True:
            page = self._call("ListJobs", request)
            for job in page.jobs:
                yield job
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(
        self,
        job_id: str,
        *,
        cursor: int = 0,
        items: bool = False,
        interval_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> Iterator[pb.WatchJobResponse]:
        """Tells how a job stands, now and whenever that changes, until it is over. Goes on by itself from where it was
        when the connection breaks.

        Args:
            job_id: of the job.
            cursor: of the last event seen, to go on after it.
            items: whether the events tell of the items that are done, too; each once from cursor 0 on.
            interval_s: the least time between two events, in seconds; 0 for the server's default.
            timeout_s: seconds until the job must be over.
        """
        whole, patience = Deadline(timeout_s), self._patience()
        request = message(pb.WatchJobRequest, job_id=job_id, cursor=cursor, items=items, interval_s=interval_s)
        while True:
            over = False
            events = self._channel.stream(JobServiceStub, "WatchJob", request, whole.portion(STREAM_S))
            try:
                with contextlib.closing(events):
                    for event in events:
                        self._answered = True
                        patience = self._patience()
                        request.cursor = event.cursor
                        yield event
                        over = is_over(event.job)
                ended: KernelPortError = UnavailableError("the front door ended the stream")
            except KernelPortError as error:
                ended = error
            if over:
                return
            self._pause(patience, ended, whole)

    def finished_items(self, job_id: str, *, cursor: int = 0, timeout_s: float | None = None) -> Iterator[pb.Item]:
        """Every item as it is done, in that order, until the job is over.

        Args:
            job_id: of the job.
            cursor: of the last event seen, to go on after it.
            timeout_s: seconds until the job must be over.
        """
        for event in self.watch(job_id, cursor=cursor, items=True, timeout_s=timeout_s):
            for item in event.items:
                yield item

    def wait(
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
        for event in self.watch(job_id, timeout_s=timeout_s):
            job = event.job
            if on_progress is not None:
                on_progress(job)
        return job

    def items(
        self, job_id: str, states: Sequence[pb.ItemState | str] = (), *, inputs: bool = False
    ) -> Iterator[pb.Item]:
        """A job's items in the order of submission, fetched in pages as they are wanted.

        Args:
            job_id: of the job.
            states: in which they are, as ItemState or its words; all when empty.
            inputs: whether they come with what they were submitted with.
        """
        wanted = item_states(states)
        request = message(pb.ListItemsRequest, job_id=job_id, states=wanted, page_size=PAGE_SIZE, inputs=inputs)
        patience = self._patience()
        while True:
            try:
                page = self._call("ListItems", request)
            except KernelPortError as error:
                self._pause(patience, error, Deadline(None))
                continue
            patience = self._patience()
            for item in page.items:
                yield item
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def output(self, job_id: str, item_id: str, *, timeout_s: float | None = None) -> Iterator[bytes]:
        """The file that an item became, in pieces.

        Args:
            job_id: of the job.
            item_id: of the item.
            timeout_s: seconds until the last piece must be there.
        """
        for chunk in self._output(job_id, item_id, Deadline(timeout_s)):
            yield chunk

    def fetch(self, job_id: str, item: pb.Item, folder: str | PathLike[str], *, timeout_s: float | None = None) -> Path:
        """The output of an item that succeeded as a file in a folder, under the name that the job gave it. A file that
        is there already and has the right hash stays.

        Args:
            job_id: of the job.
            item: as `items` and `watch` give it.
            folder: of this job alone; made if it is not there.
            timeout_s: seconds until the file must be there.

        Raises:
            FileExistsError: when the folder holds outputs of another job.
            InternalError: when what came is not what the job made.
        """
        return self._fetch(job_id, item, path_of("folder", folder), Deadline(timeout_s))

    def fetch_all(
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
            InternalError: when what came is not what the job made.
        """
        whole, folder, paths = Deadline(timeout_s), path_of("folder", folder), []
        for item in self.items(job_id, [pb.ITEM_STATE_SUCCEEDED]):
            path = self._fetch(job_id, item, folder, whole)
            paths.append(path)
            if on_fetched is not None:
                on_fetched(item, path)
        if is_over(self._get(job_id, whole)):
            self._fetch_manifest(job_id, folder, whole)
        return paths

    def fetch_manifest(self, job_id: str, folder: str | PathLike[str], *, timeout_s: float | None = None) -> Path:
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
        return self._fetch_manifest(job_id, path_of("folder", folder), Deadline(timeout_s))

    def cancel(self, job_id: str, reason: str = "") -> pb.Job:
        """Starts no further item of a job.

        Args:
            job_id: of the job.
            reason: what `get` and the manifest tell of it.
        """
        request = message(pb.CancelJobRequest, job_id=job_id, reason=reason)
        job: pb.Job = (self._call("CancelJob", request)).job
        return job

    def resume(self, job_id: str, *, deadline: datetime | None = None) -> pb.Job:
        """Runs what failed, was cancelled or expired; what succeeded stays.

        Args:
            job_id: of the job.
            deadline: when the job expires; without a zone, local time.
        """
        request = message(pb.ResumeJobRequest, job_id=job_id, deadline_unix_us=unix_us("deadline", deadline))
        job: pb.Job = (self._call("ResumeJob", request, repeatable=False)).job
        return job

    def replace_items(self, job_id: str, items: Iterable[ItemLike]) -> int:
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
        job = self.get(job_id)
        count = 0
        for batch in batches(items, self._signature_of(job.spec.deployment, self._channel.deadline(None))):
            if batch:
                self._call("ReplaceItems", message(pb.ReplaceItemsRequest, job_id=job_id, items=batch))
                count += len(batch)
        return count

    def seal(self, job_id: str) -> pb.Job:
        """Lets a job take no further items: one whose submission broke off is run, or resumed, as it is.

        Args:
            job_id: of the job.
        """
        call = self._channel.begin(JobServiceStub, "AddItems", [sealing(job_id)], self._channel.deadline(None))
        job: pb.Job = (call.result()).job
        return job

    def delete(self, job_id: str, *, delete_outputs: bool = False, wait: bool = True) -> None:
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
        self._call("DeleteJob", request, repeatable=False)
        if wait:
            for _ in self.deletion(job_id):
                pass

    def deletion(self, job_id: str) -> Iterator[pb.Job]:
        """A job that is being deleted, now and then, until it is gone.

        Args:
            job_id: of the job.

        Raises:
            UnavailableError: its outputs cannot be deleted now; it is tried again by itself.
        """
        patience, pauses = Patience(self.patience_s), deletion_pauses()
        while True:
            try:
                job = self.get(job_id)
            except NotFoundError:
                return
            except KernelPortError as error:
                pause(patience.pause_s(error))
                continue
            patience.succeeded()
            check_deletion(job)
            yield job
            pause(next(pauses))

    def orphans(self) -> Iterator[pb.Orphan]:
        """Outputs that no job owns any more, as those of jobs that were deleted without them; the oldest first."""
        request = pb.ListOrphansRequest()
        for answer in self._channel.stream(JobServiceStub, "ListOrphans", request, Deadline(None)):
            yield answer.orphan

    def delete_orphan(self, job_id: str) -> int:
        """Deletes the outputs that a job has left; returns how many files those were.

        Args:
            job_id: of the job that there was.

        Raises:
            FailedPreconditionError: when there is such a job.
            NotFoundError: when there are no such outputs.
        """
        request = message(pb.DeleteOrphanRequest, job_id=job_id)
        answer = self._channel.call(JobServiceStub, "DeleteOrphan", request, Deadline(None), repeatable=False)
        return int(answer.deleted_files)

    def _call(self, method: str, request: Any, whole: Deadline | None = None, *, repeatable: bool = True) -> Any:
        deadline = self._portion(whole or Deadline(None))
        answer = self._channel.call(JobServiceStub, method, request, deadline, repeatable=repeatable)
        self._answered = True
        return answer

    def _get(self, job_id: str, whole: Deadline) -> pb.Job:
        job: pb.Job = (self._call("GetJob", message(pb.GetJobRequest, job_id=job_id), whole)).job
        return job

    def _output(self, job_id: str, item_id: str, whole: Deadline) -> Iterator[bytes]:
        request = message(pb.GetItemOutputRequest, job_id=job_id, item_id=item_id)
        for answer in self._channel.stream(JobServiceStub, "GetItemOutput", request, whole):
            yield answer.chunk

    def _fetch(self, job_id: str, item: pb.Item, folder: Path, whole: Deadline) -> Path:
        folders.claim(folder, job_id)
        patience = self._patience()
        while True:
            try:
                with fetching.Target(item, folder) as target:
                    if not in_thread(target.is_there):
                        for chunk in self._output(job_id, item.id, whole):
                            in_thread(target.write, chunk)
                return target.path
            except KernelPortError as error:
                self._pause(patience, error, whole)

    def _fetch_manifest(self, job_id: str, folder: Path, whole: Deadline) -> Path:
        folders.claim(folder, job_id)
        path, patience = folder / MANIFEST, self._patience()
        request = message(pb.GetManifestRequest, job_id=job_id)
        while True:
            try:
                with fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                    for answer in self._channel.stream(JobServiceStub, "GetManifest", request, whole):
                        summary.write(answer.summary)
                        manifest.write(answer.chunk)
                return path
            except KernelPortError as error:
                self._pause(patience, error, whole)

    def _add(self, job: pb.Job, begun: Sequence[_Items], coming: Iterator[_Items], whole: Deadline) -> pb.Job:
        """Adds batches to an open job, making more while some are on their way, and seals it."""
        additions = Additions(job)
        made = [in_thread(additions.request, batch) for batch in begun]
        waiting = [request for request in made if request is not None]
        sent: tuple[list[pb.AddItemsRequest], Begun] | None = None
        try:
            for batch in coming:
                whole.left_s()
                if (request := in_thread(additions.request, batch)) is None:
                    continue
                # The newest waits for one more, or for the seal: the last items and the seal go in one call.
                if waiting and (sent is None or sent[1].done() or len(waiting) >= MESSAGES_A_CALL):
                    if sent is not None:
                        self._added(*sent, whole)
                    sent, waiting = (waiting, self._begin(waiting, whole)), []
                waiting.append(request)
            if sent is not None:
                self._added(*sent, whole)
        finally:
            if sent is not None:
                sent[1].cancel()
        waiting.append(additions.seal())
        return self._added(waiting, self._begin(waiting, whole), whole)

    def _begin(self, requests: Sequence[pb.AddItemsRequest], whole: Deadline) -> Begun:
        return self._channel.begin(JobServiceStub, "AddItems", requests, self._portion(whole))

    def _added(self, requests: Sequence[pb.AddItemsRequest], call: Begun, whole: Deadline) -> pb.Job:
        """The job once requests have reached it: what the job has already is skipped, so they may be sent again."""
        patience = Patience(self.patience_s)
        while True:
            try:
                job: pb.Job = (call.result()).job
                return job
            except KernelPortError as error:
                # AbortedError: a try that broke off may still be at work.
                self._pause(patience, error, whole, also=(AbortedError,))
            call = self._begin(requests, whole)

    def _portion(self, whole: Deadline) -> Deadline:
        """When a call that begins now must be over."""
        return whole.portion(self._channel.timeout_s)

    def _patience(self) -> Patience:
        """None before the first answer: the address may be wrong."""
        return Patience(self.patience_s if self._answered else 0.0)

    def _pause(
        self,
        patience: Patience,
        error: KernelPortError,
        whole: Deadline,
        also: Collection[type[KernelPortError]] = (),
    ) -> None:
        """Waits for the next try; raises the error when there is to be none, or that the time is over."""
        whole.left_s()
        pause_s = patience.pause_s(error, also)
        if self.on_retry is not None:
            self.on_retry(error, pause_s)
        pause(whole.pause_s(pause_s))
