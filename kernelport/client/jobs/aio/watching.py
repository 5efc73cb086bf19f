"""Follows a job until it is over, or gone, through connections that break."""

import contextlib
from collections.abc import AsyncGenerator

from kernelport.client.calling.aio import pause
from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.jobs.aio.calls import AsyncJobCalls
from kernelport.client.jobs.messages import STREAM_S, Patience, check_deletion, deletion_pauses, is_over
from kernelport.errors import DeadlineExceededError, KernelPortError, NotFoundError, UnavailableError
from kernelport.v1 import job_pb2 as pb


async def events(
    calls: AsyncJobCalls, request: pb.WatchJobRequest, whole: Deadline
) -> AsyncGenerator[pb.WatchJobResponse]:
    """How a job stands, now and whenever that changes; goes on from the last event when a stream ends."""
    patience = calls.patience()
    while True:
        over = told = False
        part = whole.portion(STREAM_S)
        stream = calls.stream("WatchJob", request, part)
        try:
            async with contextlib.aclosing(stream):
                async for event in stream:
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
        await calls.pause(patience, ended, whole)


async def deletion(calls: AsyncJobCalls, job_id: str) -> AsyncGenerator[pb.Job]:
    """A job that is being deleted, now and then, until it is gone."""
    patience, pauses = Patience(calls.patience_s), deletion_pauses()
    while True:
        try:
            job = (await calls.call("GetJob", message(pb.GetJobRequest, job_id=job_id))).job
        except NotFoundError:
            return
        except KernelPortError as error:
            await pause(patience.pause_s(error))
            continue
        patience.succeeded()
        check_deletion(job)
        yield job
        await pause(next(pauses))
