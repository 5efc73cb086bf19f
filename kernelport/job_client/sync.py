"""Bulk jobs, synchronously."""

import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
    batches,
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


class Jobs:
    """The bulk jobs of a front door; safe to share between threads.

    Attributes:
        patience_s: seconds for which submitting, watching and fetching go on trying while no front door can be reached,
            once it has answered this client.
        on_retry: called with what is in the way and the seconds until the next try.

    Args:
        channel: to the front door.
        signature_of: asks the front door what a deployment takes, within so many seconds.
        timeout_s: seconds that a short call may take.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        signature_of: Callable[[str, float | None], Signature],
        timeout_s: float | None = None,
    ) -> None:
        self.patience_s = 300.0
        self.on_retry: Callable[[KernelPortError, float], None] | None = None
        self._answered = False
        self._stub = job_pb2_grpc.JobServiceStub(channel)
        self._signature_of = signature_of
        self._timeout_s = timeout_s

    def submit(
        self,
        deployment: str,
        items: Iterable[ItemLike],
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

        Raises:
            InvalidArgumentError: when an item or argument is not as expected. A job that has some of its items by then
                is cancelled, unless it has a request id to go on with.
            AlreadyExistsError: the request id was used with other arguments or items.
            FailedPreconditionError: the job of the request id was stopped before all of its items had come.
        """
        signature = self._signature_of(deployment, self._timeout_s)
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
        request = pb.SubmitJobRequest(request_id=request_id or secrets.token_hex(16), spec=spec)
        fits = fits_one_call(spec, first)
        request.open = second is not None or not fits
        request.items.extend(first if fits else [])
        with translated():
            answer = self._stub.SubmitJob(request, timeout=self._timeout_s)
        self._answered = True
        job = answer.job
        if answer.existed and on_existing is not None:
            on_existing(job)
        if not request.open:
            return job
        try:
            return self._add(job, itertools.chain([first, second or []], coming))
        except BaseException:
            if not request_id:
                with contextlib.suppress(grpc.RpcError):  # the error that led here says more
                    self._stub.CancelJob(given_up(job), timeout=GIVE_UP_S)
            raise

    def get(self, job_id: str) -> pb.Job:
        """One job."""
        with translated():
            job: pb.Job = self._stub.GetJob(pb.GetJobRequest(job_id=job_id), timeout=self._timeout_s).job
        self._answered = True
        return job

    def list(self, deployment: str = "", states: Sequence[pb.JobState | str] = ()) -> Iterator[pb.Job]:
        """Jobs, newest first, fetched in pages as they are wanted; empty arguments stand for all."""
        request = pb.ListJobsRequest(deployment=deployment, states=states, page_size=PAGE_SIZE)
        while True:
            with translated():
                page = self._stub.ListJobs(request, timeout=self._timeout_s)
            yield from page.jobs
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(
        self, job_id: str, *, cursor: int = 0, items: bool = False, interval_s: float = 0.0
    ) -> Iterator[pb.WatchJobResponse]:
        """Tells how a job stands, now and whenever that changes, until it is over. Goes on by itself from where it was
        when the connection breaks.

        Args:
            cursor: of the last event seen, to go on after it.
            items: whether the events tell of the items that are done, too; each once from cursor 0 on.
            interval_s: the least time between two events, in seconds; 0 for the server's default.
        """
        patience = self._patience()
        request = pb.WatchJobRequest(job_id=job_id, cursor=cursor, items=items, interval_s=interval_s)
        while True:
            over = False
            call = self._stub.WatchJob(request, timeout=STREAM_S)
            try:
                for event in call:
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
            self._pause(patience, ended)

    def finished_items(self, job_id: str, *, cursor: int = 0) -> Iterator[pb.Item]:
        """Every item as it is done, in that order, until the job is over."""
        for event in self.watch(job_id, cursor=cursor, items=True):
            yield from event.items

    def wait(self, job_id: str) -> pb.Job:
        """The job when it is over."""
        for event in self.watch(job_id):
            job = event.job
        return job

    def items(self, job_id: str, states: Sequence[pb.ItemState | str] = ()) -> Iterator[pb.Item]:
        """A job's items in the order of submission, fetched in pages as they are wanted; all, or those in `states`."""
        request = pb.ListItemsRequest(job_id=job_id, states=states, page_size=PAGE_SIZE)
        patience = self._patience()
        while True:
            try:
                with translated():
                    page = self._stub.ListItems(request, timeout=self._timeout_s)
            except KernelPortError as error:
                self._pause(patience, error)
                continue
            self._answered = True
            patience = self._patience()
            yield from page.items
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def output(self, job_id: str, item_id: str) -> Iterator[bytes]:
        """The file that an item became, in pieces."""
        request = pb.GetItemOutputRequest(job_id=job_id, item_id=item_id)
        with translated():
            for answer in self._stub.GetItemOutput(request):
                yield answer.chunk

    def fetch(self, job_id: str, item: pb.Item, folder: Path) -> Path:
        """The output of an item that succeeded as a file in a folder, under the name that the job gave it. A file that
        is there already and has the right hash stays.

        Raises:
            InternalError: when what came is not what the job made.
        """
        patience = self._patience()
        while True:
            try:
                with fetching.Target(item, folder) as target:
                    if not target.is_there():
                        for chunk in self.output(job_id, item.id):
                            target.write(chunk)
                return target.path
            except KernelPortError as error:
                self._pause(patience, error)

    def fetch_manifest(self, job_id: str, folder: Path) -> Path:
        """The manifest of a job that is over, as the server wrote it, in a folder; the summary beside it.

        Raises:
            FailedPreconditionError: while the job is active.
            NotFoundError: when there is no such job, or the manifest could not be written.
        """
        path, patience = folder / MANIFEST, self._patience()
        while True:
            try:
                with translated(), fetching.whole(path) as manifest, fetching.whole(folder / SUMMARY) as summary:
                    for answer in self._stub.GetManifest(pb.GetManifestRequest(job_id=job_id)):
                        summary.write(answer.summary)
                        manifest.write(answer.chunk)
                return path
            except KernelPortError as error:
                self._pause(patience, error)

    def cancel(self, job_id: str, reason: str = "") -> pb.Job:
        """Starts no further item of a job."""
        with translated():
            request = pb.CancelJobRequest(job_id=job_id, reason=reason)
            return self._stub.CancelJob(request, timeout=self._timeout_s).job

    def resume(self, job_id: str, *, deadline: datetime | None = None) -> pb.Job:
        """Runs what failed, was cancelled or expired; what succeeded stays."""
        with translated():
            request = pb.ResumeJobRequest(job_id=job_id, deadline_unix_us=unix_us(deadline))
            return self._stub.ResumeJob(request, timeout=self._timeout_s).job

    def seal(self, job_id: str) -> pb.Job:
        """Lets a job take no further items: one whose submission broke off is run, or resumed, as it is."""
        with translated():
            return self._stub.AddItems(iter([sealing(job_id)]), timeout=self._timeout_s).job

    def delete(self, job_id: str, *, delete_outputs: bool = False, wait: bool = True) -> None:
        """Forgets a job that is over, and deletes its outputs if asked to.

        Args:
            wait: whether to return only when the outputs are gone. They go by themselves.

        Raises:
            FailedPreconditionError: the job is active.
            UnavailableError: the outputs cannot be deleted now; it is tried again by itself.
        """
        with translated():
            request = pb.DeleteJobRequest(job_id=job_id, delete_outputs=delete_outputs)
            self._stub.DeleteJob(request, timeout=self._timeout_s)
        if wait:
            for _ in self.deletion(job_id):
                pass

    def deletion(self, job_id: str) -> Iterator[pb.Job]:
        """A job that is being deleted, now and then, until it is gone.

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
                time.sleep(patience.pause_s(error))
                continue
            patience.succeeded()
            check_deletion(job)
            yield job
            time.sleep(next(pauses))

    def _add(self, job: pb.Job, coming: Iterator[_Items]) -> pb.Job:
        """Adds batches to an open job, making more while some are on their way, and seals it."""
        additions = Additions(job)
        waiting: list[pb.AddItemsRequest] = []
        sent: tuple[list[pb.AddItemsRequest], Any] | None = None
        for batch in coming:
            if (request := additions.request(batch)) is None:
                continue
            # The newest waits for one more, or for the seal: the last items and the seal go in one call.
            if waiting and (sent is None or sent[1].done() or len(waiting) == MESSAGES_A_CALL):
                if sent is not None:
                    self._added(*sent)
                sent, waiting = (waiting, self._stub.AddItems.future(iter(waiting))), []
            waiting.append(request)
        if sent is not None:
            self._added(*sent)
        waiting.append(additions.seal())
        return self._added(waiting, self._stub.AddItems.future(iter(waiting)))

    def _added(self, requests: Sequence[pb.AddItemsRequest], call: Any) -> pb.Job:
        """The job once requests have reached it: what the job has already is skipped, so they may be sent again."""
        patience = Patience(self.patience_s)
        while True:
            try:
                with translated():
                    added: pb.Job = call.result().job
                    return added
            except KernelPortError as error:
                # AbortedError: a try that broke off may still be at work.
                self._pause(patience, error, also=(AbortedError,))
            call = self._stub.AddItems.future(iter(requests))

    def _patience(self) -> Patience:
        """None before the first answer: the address may be wrong."""
        return Patience(self.patience_s if self._answered else 0.0)

    def _pause(self, patience: Patience, error: KernelPortError, also: Collection[type[KernelPortError]] = ()) -> None:
        """Waits for the next try; raises the error when there is to be none."""
        pause_s = patience.pause_s(error, also)
        if self.on_retry is not None:
            self.on_retry(error, pause_s)
        time.sleep(pause_s)
