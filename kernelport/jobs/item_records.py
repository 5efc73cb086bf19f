"""Reads what the job store holds of items: pages, their states, and what came of each."""

import re
from collections.abc import Collection, Iterable, Iterator

from kernelport.broker import keys, stored
from kernelport.internal.v1.job_store_pb2 import BatchResult, ItemResult, Page
from kernelport.items import TEXT_INPUT
from kernelport.jobs.pages import PAGE_ITEMS
from kernelport.jobs.records import JobRecord
from kernelport.jobs.shrinking import decompressed
from kernelport.names import file_name
from kernelport.tensors import to_array
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import STRING

# What the names of files end in, as formats of outputs say.
_SUFFIX = re.compile(r"[a-z0-9]{0,8}")
# The states of items: a page has a byte for each. UNCHANGED leaves what there is, in what came of a slice.
WAITING, RUNNING, SUCCEEDED, FAILED, UNCHANGED = b"wrsf."
_ITEM_STATES: dict[int, pb.ItemState] = {
    WAITING: pb.ITEM_STATE_WAITING,
    RUNNING: pb.ITEM_STATE_RUNNING,
    SUCCEEDED: pb.ITEM_STATE_SUCCEEDED,
    FAILED: pb.ITEM_STATE_FAILED,
}

Results = dict[int, tuple[BatchResult, ItemResult]]
"""What came of a page's items, by position."""


def result_of(entry: bytes, where: str) -> BatchResult:
    """What came of a batch.

    Args:
        entry: from the job's log.
        where: that is, for people.

    Raises:
        StoredError: it is none.
    """
    batch = stored.message(BatchResult, entry, where)
    if not _SUFFIX.fullmatch(batch.suffix) or any(item.position >= PAGE_ITEMS for item in batch.items):
        raise stored.StoredError(f"{where}: expected a result with positions in a page and the ending of a file's name")
    return batch


def results_of(entries: Iterable[bytes], where: str) -> Results:
    """The results in serialized log entries of one page; a later one replaces an earlier one.

    Raises:
        StoredError: one cannot be read.
    """
    results: Results = {}
    for entry in entries:
        batch = result_of(entry, where)
        results.update((item.position, (batch, item)) for item in batch.items)
    return results


def page_of(value: bytes | None, job_id: str, number: int) -> Page:
    """A page of a job.

    Raises:
        StoredError: there is none, or it is something else.
    """
    where = f"{keys.job(job_id, 'pages')} {number}"
    page = stored.message(Page, value, where)
    if page.compressed:
        try:
            page = stored.message(Page, decompressed(page, stored.MAX_DATA_BYTES), where)
        except ValueError as error:
            raise stored.StoredError(f"{where}: expected a compressed Page: {error}") from None
    if len(page.items) > PAGE_ITEMS or sorted(page.places) != list(range(len(page.items))):
        raise stored.StoredError(f"{where}: expected at most {PAGE_ITEMS} items, each in a place of its own")
    return page


def _state(job: JobRecord, state: int) -> pb.ItemState:
    if state not in _ITEM_STATES:
        raise stored.StoredError(f"{keys.job(job.id, 'states')}: expected states of items, got {state:#x}")
    return job.state_of_the_rest if state == WAITING else _ITEM_STATES[state]


def bytes_of(job: JobRecord, states: Collection[pb.ItemState]) -> bytes:
    """How items of these states are written down; all bytes for none."""
    return bytes(each for each in _ITEM_STATES if not states or _state(job, each) in states)


def items_of(
    job: JobRecord,
    page: Page,
    states: bytes,
    attempts: bytes,
    results: Results,
    *,
    inputs: bool = False,
    first: int = 0,
    only: bytes = bytes(_ITEM_STATES),
    named: bytes = b"",
) -> Iterator[pb.Item]:
    """A page's items in the order of submission, with their inputs if asked for.

    Args:
        first: the place in the page to begin at.
        only: the states that are wanted, a byte each.
        named: what the ids have in them.

    Raises:
        StoredError: one cannot be read, or its state.
    """
    if len(states) != len(page.items) or (attempts and len(attempts) != len(states)):
        raise stored.StoredError(f"{keys.job(job.id, 'states')}: expected {len(page.items)} states, got {len(states)}")
    for position in in_order(page)[first:]:
        if states[position] not in only and states[position] in _ITEM_STATES:
            continue
        if named not in page.items[position]:  # serialized, an item has its id in it
            continue
        item = item_of(job, page, position, states[position], attempts, results.get(position), inputs=inputs)
        if named in item.id.encode():
            yield item


def in_order(page: Page) -> list[int]:
    """The positions of a page's items in the order of submission."""
    return sorted(range(len(page.items)), key=page.places.__getitem__)


def item_of(
    job: JobRecord,
    page: Page,
    position: int,
    state: int,
    attempts: bytes,
    result: tuple[BatchResult, ItemResult] | None,
    *,
    inputs: bool = False,
) -> pb.Item:
    """One item, with its inputs if asked for.

    Args:
        state: its byte in the page's states.
        attempts: how often workers took the page's items, a byte each; empty when none was taken since version 0.1.0.
    """
    new = stored.message(pb.NewItem, page.items[position], keys.job(job.id, "pages"))
    item = pb.Item(
        id=new.id, index=page.first_index + page.places[position], state=_state(job, state), text=text_of(new)
    )
    if inputs:
        item.inputs.extend(new.inputs)
    item.attempts = attempts[position] if attempts else 0
    if item.state in (pb.ITEM_STATE_CANCELLED, pb.ITEM_STATE_NOT_RUN):
        item.reason = job.reason
    if result is None or item.state not in (pb.ITEM_STATE_SUCCEEDED, pb.ITEM_STATE_FAILED):
        return item
    batch, own = result
    item.attempts = item.attempts or batch.attempts
    item.reason, item.lasting = own.error, own.lasting
    item.backend_s = batch.backend_s
    item.batch_size = batch.batch_size
    item.finished_unix_us = batch.finished_unix_us
    item.revision, item.device, item.compute_path = batch.revision, batch.device, batch.compute_path
    if not own.error:
        item.file = file_name(new.id, batch.suffix, portable=batch.portable_names)
        item.file_bytes = own.file_bytes
        item.sha256 = own.sha256
        item.audio_s = own.audio_s
        item.warnings.extend(own.warnings)
    return item


def text_of(item: pb.NewItem) -> str:
    """The UTF-8 of the input `text`, or its strings, a space between them; empty when there is none."""
    for tensor in item.inputs:
        if tensor.name == TEXT_INPUT:
            data = b" ".join(to_array(tensor).ravel().tolist()) if tensor.dtype == STRING else tensor.data
            return data.decode(errors="replace")
    return ""
