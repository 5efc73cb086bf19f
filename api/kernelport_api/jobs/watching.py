"""Tells of a job as it changes."""

import asyncio
from collections.abc import AsyncIterator

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.jobs.records import JobRecord, item_of
from kernelport.v1 import job_pb2 as pb
from kernelport_api.jobs.store import JobStore

DEFAULT_INTERVAL_S = 0.5
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 60.0
# Batches told of in one event; and about where it is large enough for clients that take 4 MiB.
MOST_BATCHES = 64
EVENT_BYTES = 2**20


async def watch(store: JobStore, request: pb.WatchJobRequest) -> AsyncIterator[pb.WatchJobResponse]:
    """The job's events behind the request's cursor; ends after the one that shows its final state, or its deletion.

    The cursor is the number of the last log entry that was told.

    Raises:
        NotFoundError: when there is no such job, or none any more.
        InvalidArgumentError: when the interval is out of range.
    """
    interval_s = request.interval_s or DEFAULT_INTERVAL_S
    if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        found = f"expected {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} seconds, got {interval_s:g}"
        raise InvalidArgumentError.of([FieldViolation("interval_s", found)])
    cursor, is_first = request.cursor, True
    while True:
        record = await store.get(request.job_id)
        event = pb.WatchJobResponse(job=record.job(), cursor=max(cursor, record.log_length))
        if request.items and cursor < record.log_length:
            event.cursor = await _add_items(store, record, event, cursor)
        if is_first or event.cursor > cursor:
            yield event
        cursor, is_first = event.cursor, False
        if cursor < record.log_length:
            continue
        if record.is_final or record.is_deleting:
            return
        await asyncio.sleep(interval_s)


async def _add_items(store: JobStore, record: JobRecord, event: pb.WatchJobResponse, cursor: int) -> int:
    """Adds the items that are done behind the cursor; returns the cursor behind those that fit into the event."""
    size = 0
    attempts: dict[int, bytes] = {}
    async for number, batch in store.log(record.id, cursor, MOST_BATCHES):
        if batch is not None:
            page = await store.page(record.id, batch.page)
            if batch.page not in attempts:
                attempts[batch.page] = await store.attempts(record.id, batch.page)
            for own in batch.items:
                state = ord("f" if own.error else "s")
                item = item_of(record, page, own.position, state, attempts[batch.page], (batch, own))
                size += item.ByteSize()
                event.items.append(item)
        cursor = number
        if size > EVENT_BYTES:
            break
    return cursor
