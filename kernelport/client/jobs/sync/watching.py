"""The synchronous twin of `jobs/aio/watching.py`: generated, not to be edited; `make sync` writes it."""

import contextlib
from collections.abc import Generator

from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.calling.sync import pause
from kernelport.client.jobs.messages import STREAM_S, Patience, check_deletion, deletion_pauses, is_over
from kernelport.client.jobs.sync.calls import JobCalls
from kernelport.errors import DeadlineExceededError, KernelPortError, NotFoundError, UnavailableError
from kernelport.v1 import job_pb2 as pb


def events(calls: JobCalls, request: pb.WatchJobRequest, whole: Deadline) -> Generator[pb.WatchJobResponse]:
    """How a job stands, now and whenever that changes; goes on from the last event when a stream ends."""
    patience = calls.patience()
    while True:
        over = told = False
        part = whole.portion(STREAM_S)
        stream = calls.stream("WatchJob", request, part)
        try:
            with contextlib.closing(stream):
                for event in stream:
                    patience, told = calls.patience(), True
                    request.cursor = event.cursor
                    yield event
                    over = is_over(event.job)
            ended: KernelPortError = UnavailableError("the front door ended the stream")
        except DeadlineExceededError as error:
            if told and not over and part is not whole:
                continue  # the stream's own limit
            ended = error if part is whole else UnavailableError(f"the front door told nothing in {STREAM_S:g} s")
        except KernelPortError as error:
            ended = error
        if over:
            return
        calls.pause(patience, ended, whole)


def deletion(calls: JobCalls, job_id: str) -> Generator[pb.Job]:
    """A job that is being deleted, now and then, until it is gone."""
    patience, pauses = Patience(calls.patience_s), deletion_pauses()
    while True:
        try:
            job = (calls.call("GetJob", message(pb.GetJobRequest, job_id=job_id))).job
        except NotFoundError:
            return
        except KernelPortError as error:
            pause(patience.pause_s(error))
            continue
        patience.succeeded()
        check_deletion(job)
        yield job
        pause(next(pauses))
