"""Submits a job: its items go in portions, while more are made."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence

from kernelport.client.calling.aio import AsyncBegun, in_thread
from kernelport.client.calling.limits import Deadline
from kernelport.client.calling.messages import message
from kernelport.client.inference.aio import AsyncInference
from kernelport.client.jobs.aio.calls import AsyncJobCalls
from kernelport.client.jobs.messages import (
    GIVE_UP_S,
    MESSAGES_A_CALL,
    Additions,
    Patience,
    fits_one_call,
    given_up,
    what_goes_on,
    what_is_left,
)
from kernelport.errors import AbortedError, KernelPortError, of_request
from kernelport.signature import Signature
from kernelport.v1 import job_pb2 as pb

_Items = list[pb.NewItem]


async def signature_of(inference: AsyncInference, calls: AsyncJobCalls, deployment: str, whole: Deadline) -> Signature:
    """What a deployment takes, as it is now; asked for again while the front door is away."""
    patience = calls.patience()
    while True:
        try:
            return await inference.fetch_signature(deployment, calls.portion(whole))
        except KernelPortError as error:
            await calls.pause(patience, error, whole)


async def submit(
    calls: AsyncJobCalls,
    spec: pb.JobSpec,
    coming: AsyncIterator[_Items],
    request_id: str,
    on_existing: Callable[[pb.Job], None] | None,
    whole: Deadline,
) -> pb.Job:
    """Makes a job and seals it. Without a request id, one that does not get all of its items is cancelled.

    Args:
        coming: its items in batches, at least one.
        on_existing: called with a job that is there, before its items are compared.
    """
    first = await anext(coming)
    second = await anext(coming, None)
    request = message(pb.SubmitJobRequest, request_id=request_id or secrets.token_hex(16), spec=spec)
    request.one_time_id = not request_id
    fits = fits_one_call(spec, first)
    request.open = second is not None or not fits
    request.items.extend(first if fits else [])
    try:
        with of_request(request.request_id):
            answer = await _created(calls, request, whole)
    except KernelPortError:
        raise
    except BaseException as error:  # broken off from outside: asking again tells which job that is, if it is there
        if not request_id:
            with contextlib.suppress(KernelPortError):
                begun = await _created(calls, request, Deadline(GIVE_UP_S))
                await _give_up(calls, begun.job, error)
        raise
    job: pb.Job = answer.job
    if answer.existed and on_existing is not None:
        on_existing(job)
    if not request.open:
        return job
    try:
        return await _add(calls, job, [first, second or []], coming, whole)
    except BaseException as error:
        if not request_id:
            await _give_up(calls, job, error)
        raise


async def _give_up(calls: AsyncJobCalls, job: pb.Job, error: BaseException) -> None:
    """Cancels a job whose submission an error has ended, and notes with the error what is left of it."""
    try:
        left = (await calls.call("CancelJob", given_up(job), Deadline(GIVE_UP_S))).job
    except KernelPortError:  # the error that led here says more
        error.add_note(what_goes_on(job))
    else:
        error.add_note(what_is_left(left))


async def replace(calls: AsyncJobCalls, job_id: str, coming: AsyncIterator[_Items]) -> int:
    """Gives items of a job that is over other inputs; says how many there were.

    Args:
        coming: the items in batches.
    """
    count = 0
    async for batch in coming:
        if batch:
            await calls.call("ReplaceItems", message(pb.ReplaceItemsRequest, job_id=job_id, items=batch))
            count += len(batch)
    return count


async def _created(calls: AsyncJobCalls, request: pb.SubmitJobRequest, whole: Deadline) -> pb.SubmitJobResponse:
    """The job of a request. While another process submits under the same id, this one waits and looks again."""
    answer: pb.SubmitJobResponse = await calls.patient_call("SubmitJob", request, whole, also=(AbortedError,))
    return answer


async def _add(
    calls: AsyncJobCalls, job: pb.Job, begun: Sequence[_Items], coming: AsyncIterator[_Items], whole: Deadline
) -> pb.Job:
    """Adds batches to an open job, making more while some are on their way, and seals it.

    Args:
        begun: batches that were made before the job.
        coming: those that follow.
    """
    additions = Additions(job)
    made = [await in_thread(additions.request, batch) for batch in begun]
    waiting = [request for request in made if request is not None]
    sent: tuple[list[pb.AddItemsRequest], AsyncBegun] | None = None
    try:
        async for batch in coming:
            whole.left_s()
            if (request := await in_thread(additions.request, batch)) is None:
                continue
            # The newest waits for one more, or for the seal: the last items and the seal go in one call.
            if waiting and (sent is None or sent[1].done() or len(waiting) >= MESSAGES_A_CALL):
                if sent is not None:
                    await _added(calls, *sent, whole)
                sent, waiting = (waiting, calls.begin(waiting, whole)), []
            waiting.append(request)
        if sent is not None:
            await _added(calls, *sent, whole)
    finally:
        if sent is not None:
            sent[1].cancel()
    waiting.append(additions.seal())
    return await _added(calls, waiting, calls.begin(waiting, whole), whole)


async def _added(
    calls: AsyncJobCalls, requests: Sequence[pb.AddItemsRequest], call: AsyncBegun, whole: Deadline
) -> pb.Job:
    """The job once requests have reached it: what the job has already is skipped, so they may be sent again."""
    patience = Patience(calls.patience_s)
    while True:
        try:
            job: pb.Job = (await call.result()).job
            return job
        except KernelPortError as error:
            # AbortedError: a try that broke off may still be at work.
            await calls.pause(patience, error, whole, also=(AbortedError,))
        call = calls.begin(requests, whole)
