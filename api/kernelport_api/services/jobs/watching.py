"""Tells of a job as it changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from kernelport.errors import FieldViolation, InvalidArgumentError, UnavailableError
from kernelport.internal.v1.job_store_pb2 import BatchResult
from kernelport.jobs.item_records import FAILED, SUCCEEDED, Results, item_of
from kernelport.jobs.records import JobRecord
from kernelport.v1 import job_pb2 as pb
from kernelport_api.services.jobs.store import JobStore, shown
from kernelport_api.services.jobs.waiting import Waiting

DEFAULT_INTERVAL_S = 0.5
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 60.0
# Batches told of in one event; and about where it is large enough for clients that take 4 MiB.
MOST_BATCHES = 64
EVENT_BYTES = 2**20


async def watch(
    store: JobStore, waiting: Waiting, job_id: str, request: pb.WatchJobRequest, stop: asyncio.Event
) -> AsyncIterator[pb.WatchJobResponse]:
    """The job's events behind the request's cursor, and one whenever it begins or ends to wait for a worker; ends after
    the one that shows its final state, or its deletion.

    The cursor is the number of the last log entry that was told.

    Args:
        job_id: under which the job is stored.
        stop: set when the front door is to stop. It does not wait for the end of a watch, which may be hours away.

    Raises:
        NotFoundError: when there is no such job, or none any more.
        InvalidArgumentError: when the interval is out of range.
        UnavailableError: when the front door stops.
    """
    interval_s = request.interval_s or DEFAULT_INTERVAL_S
    if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        found = f"expected {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} seconds, got {interval_s:g}"
        raise InvalidArgumentError.of([FieldViolation("interval_s", found)])
    cursor, began, is_first, reason = request.cursor, 0, True, ""
    while True:
        record = await store.get(job_id)
        began = record.log_length if is_first else began
        job = await waiting.told(shown(record))
        event = pb.WatchJobResponse(job=job, cursor=max(cursor, record.log_length))
        if request.items and cursor < record.log_length:
            event.cursor = await _add_items(store, record, event, cursor, began)
        if is_first or event.cursor > cursor or job.reason != reason:
            yield event
        cursor, is_first, reason = event.cursor, False, job.reason
        if cursor < record.log_length:
            continue
        if record.is_final or record.is_deleting:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval_s):
                await stop.wait()
            raise UnavailableError("the front door stops: watch on from the cursor at another one, or once it is back")


async def _add_items(store: JobStore, record: JobRecord, event: pb.WatchJobResponse, cursor: int, began: int) -> int:
    """Adds the items that are done behind the cursor; returns the cursor behind those that fit into the event.

    What was done before the watch began is told as it stands: of an item that has been run again since, or is about to
    be, a later entry tells. What is done under the watch is told whatever becomes of it.

    Args:
        began: the number of the newest log entry when the watch began.
    """
    size = 0
    attempts: dict[int, bytes] = {}
    standing: dict[int, tuple[bytes, Results]] = {}
    async for number, batch in store.log(record.id, cursor, MOST_BATCHES):
        if batch is not None:
            page = await store.page(record, batch.page)
            if batch.page not in attempts:
                attempts[batch.page] = await store.attempts(record.id, batch.page)
            may_be_old = number <= began and record.has_run_again
            if may_be_old and batch.page not in standing:
                states, _, results = await store.results(record.id, batch.page)
                standing[batch.page] = states, results
            for own in batch.items:
                state = FAILED if own.error else SUCCEEDED
                if may_be_old and not _stands(*standing[batch.page], own.position, state, batch):
                    continue
                item = item_of(record, page, own.position, state, attempts[batch.page], (batch, own))
                size += item.ByteSize()
                event.items.append(item)
        cursor = number
        if size > EVENT_BYTES:
            break
    return cursor


def _stands(states: bytes, results: Results, position: int, state: int, batch: BatchResult) -> bool:
    """Whether an item of a page is still in the state that a batch has left it in."""
    newest = results.get(position)
    return states[position] == state and newest is not None and newest[0].finished_unix_us == batch.finished_unix_us
