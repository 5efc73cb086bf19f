"""What the synchronous and the asyncio client of jobs have in common: messages, and when to try again."""

import asyncio
import itertools
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime, timedelta
from types import NoneType
from typing import Any, TypeAlias

from kernelport.client.calling.messages import checked_names, closing, deadline_fields, message
from kernelport.coercion import coerce, show, to_tensors
from kernelport.counting import counted
from kernelport.errors import (
    OUTPUT_NOT_FOUND,
    CancelledError,
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    UnavailableError,
)
from kernelport.items import NO_ITEMS, running_digests
from kernelport.signature import Signature
from kernelport.v1 import job_pb2 as pb

# A text; inputs by name; an item's id and its inputs; or the message itself.
ItemLike: TypeAlias = str | Mapping[str, Any] | tuple[str, Mapping[str, Any] | str] | pb.NewItem
Items: TypeAlias = Iterable[ItemLike]
AsyncItems: TypeAlias = Iterable[ItemLike] | AsyncIterable[ItemLike]

FORMATS = tuple(name.removeprefix("OUTPUT_FORMAT_").lower() for name in pb.OutputFormat.keys()[1:])
ACTIVE = (pb.JOB_STATE_PENDING, pb.JOB_STATE_RUNNING, pb.JOB_STATE_CANCELLING)
PAGE_SIZE = 1000
BATCH_BYTES, BATCH_ITEMS = 2**20, 5000
ONE_CALL_BYTES = 4 * 2**20
# What comes while a call is on its way goes with the next one, up to so many messages.
MESSAGES_A_CALL = 16
# A stream ends and goes on from its cursor after this many seconds, so that a connection that hangs is noticed.
STREAM_S = 60.0
GIVE_UP_S = 2.0
# An event loop makes so many items, in about a millisecond, before others come to run.
_ITEMS_A_TURN = 50
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


def job_spec(
    deployment: str,
    signature: Signature,
    *,
    shared: Mapping[str, Any] | None,
    output_format: str | None,
    outputs: Iterable[str] | None,
    priority: int,
    deadline: datetime | timedelta | None,
    metadata: Mapping[str, str] | None,
    webhook: pb.Webhook | None,
    retention_s: int,
    delete_outputs: bool,
) -> pb.JobSpec:
    """The message of what a job runs and how.

    Raises:
        InvalidArgumentError: when the format is none, the outputs are no names, or a shared input is not what the
            deployment declares.
    """
    output_format = "" if output_format is None else output_format
    if not isinstance(output_format, str) or (output_format and output_format not in FORMATS):
        violation = FieldViolation("output_format", f"expected one of {', '.join(FORMATS)}, got {show(output_format)}")
        raise InvalidArgumentError.of([violation])
    if not isinstance(shared, (Mapping, NoneType)):
        violation = FieldViolation("shared", f"expected a mapping of inputs by name, got {show(shared)}")
        raise InvalidArgumentError.of([violation])
    return message(
        pb.JobSpec,
        deployment=deployment,
        shared_inputs=to_tensors(coerce(shared or {}, signature)),
        output_format=f"OUTPUT_FORMAT_{output_format.upper() or 'UNSPECIFIED'}",
        outputs=checked_names("outputs", outputs),
        priority=priority,
        **deadline_fields(deadline),
        metadata=metadata or {},
        webhook=webhook,
        retention_s=retention_s,
        delete_outputs=delete_outputs,
    )


def new_item(item: ItemLike, number: int, signature: Signature) -> pb.NewItem:
    """The message of an item. One that has no id of its own gets its number, from 1, as six digits or more.

    Raises:
        InvalidArgumentError: when it is no item, or an input is not what the deployment declares; it names the item.
    """
    if isinstance(item, pb.NewItem):
        return item
    item_id, inputs = item if isinstance(item, tuple) and len(item) == 2 else (f"{number:06}", item)
    if not isinstance(item_id, str) or not isinstance(inputs, (str, Mapping)):
        expected = "expected a text, a mapping of inputs, or a tuple of an id and one of these"
        raise InvalidArgumentError.of([FieldViolation(f"items[{number - 1}]", f"{expected}; got {show(item)}")])
    if isinstance(inputs, str):
        inputs = {"text": inputs}
    try:
        return message(pb.NewItem, id=item_id, inputs=to_tensors(coerce(inputs, signature)))
    except InvalidArgumentError as error:
        found = [FieldViolation(f"items[{number - 1}].{each.field}", each.description) for each in error.violations]
        raise InvalidArgumentError(f'item "{item_id}": {error.message}', violations=found) from None


class Batcher:
    """Gathers items into messages of at most about 1 MiB."""

    def __init__(self) -> None:
        self._items: list[pb.NewItem] = []
        self._bytes = 0

    def add(self, item: pb.NewItem) -> list[pb.NewItem] | None:
        """The items before this one, when they make a message; the item itself goes into the next."""
        size = item.ByteSize()
        full = None
        if self._items and (self._bytes + size > BATCH_BYTES or len(self._items) == BATCH_ITEMS):
            full, self._items, self._bytes = self._items, [], 0
        self._items.append(item)
        self._bytes += size
        return full

    def rest(self) -> list[pb.NewItem]:
        """The items that are in no message yet."""
        return self._items


def batches(items: Items, signature: Signature, check: Callable[[], None]) -> Generator[list[pb.NewItem]]:
    """Items in lists that make one message each; at least one list, which may be empty.

    Args:
        check: raises what is in the way of going on; called with each item, as the next may take long to come.

    Raises:
        InvalidArgumentError: when it is one item itself, or an item is no good.
    """
    batcher = Batcher()
    for number, item in enumerate(_checked_items(items), 1):
        check()
        if full := batcher.add(new_item(item, number, signature)):
            yield full
    yield batcher.rest()


async def async_batches(
    items: AsyncItems, signature: Signature, check: Callable[[], None]
) -> AsyncGenerator[list[pb.NewItem]]:
    """The same; items may come asynchronously, and between them others come to run on the event loop."""
    batcher, numbers = Batcher(), itertools.count(1)
    coming = items if isinstance(items, AsyncIterable) else _in_turns(_checked_items(items))
    async with closing(coming):
        async for item in coming:
            check()
            number = next(numbers)
            if full := batcher.add(new_item(item, number, signature)):
                yield full
    yield batcher.rest()


async def _in_turns(items: Items) -> AsyncIterator[ItemLike]:
    for number, item in enumerate(items, 1):
        yield item
        if number % _ITEMS_A_TURN == 0:
            await asyncio.sleep(0)


def _checked_items(items: Items) -> Items:
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise InvalidArgumentError.of([FieldViolation("items", f"expected a list of items, got {show(items)}")])
    return items


class Additions:
    """The requests that add a job's items, each with its place, so that one may be sent again, and with the running
    digest that tells whether the items before it are the same.

    Args:
        job: as it stands; what it has of the items already is not sent again.
    """

    def __init__(self, job: pb.Job) -> None:
        self._job_id = job.id
        self._has = job.progress.items
        self._offset = 0
        self._digest = NO_ITEMS

    def request(self, batch: Sequence[pb.NewItem]) -> pb.AddItemsRequest | None:
        """The request for the next items; None when the job has them all, or there are none."""
        offset = self._offset
        self._offset += len(batch)
        if not batch:
            return None
        self._digest = running_digests(self._digest, batch)[-1]
        if self._offset <= self._has:
            return None
        return pb.AddItemsRequest(job_id=self._job_id, offset=offset, items=batch, digest=self._digest)

    def seal(self) -> pb.AddItemsRequest:
        """The request that ends the job's items."""
        return pb.AddItemsRequest(job_id=self._job_id, offset=self._offset, seal=True, digest=self._digest)


def fits_one_call(spec: pb.JobSpec, items: Sequence[pb.NewItem]) -> bool:
    """Whether a job and all its items may go in one message: of what is larger, items travel apart from the spec."""
    return spec.ByteSize() + sum(item.ByteSize() for item in items) <= ONE_CALL_BYTES


def given_up(job: pb.Job) -> pb.CancelJobRequest:
    """The request that ends a job whose items will not come."""
    return pb.CancelJobRequest(job_id=job.id, reason="its submission was given up")


def what_is_left(job: pb.Job) -> str:
    """What to say of a job whose submission was given up, as it stands."""
    if not job.sealed:
        seal = f"`kernelport jobs seal {job.id}` and `kernelport jobs resume {job.id}` run those that it got"
        return f"job {job.id} did not get all of its items and is cancelled; {seal}"
    if job.state == pb.JOB_STATE_SUCCEEDED:
        return f"job {job.id} had all of its items and has succeeded"
    return f"job {job.id} had all of its items and is cancelled; `kernelport jobs resume {job.id}` goes on"


def what_goes_on(job: pb.Job) -> str:
    """What to say of a job whose submission was given up when no front door could be told."""
    cancel = f"`kernelport jobs cancel {job.id}` ends it"
    return f"job {job.id} may not have all of its items, and could not be cancelled; {cancel}"


class Patience:
    """How long to go on trying while a front door cannot be reached: the pauses double, up to 5 s.

    Args:
        seconds: without success after which to give up; 0 to fail at once.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.succeeded()

    def succeeded(self) -> None:
        """Begins anew."""
        self._since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def pause_s(self, error: KernelPortError, also: Collection[type[KernelPortError]] = ()) -> float:
        """Seconds to wait before the next try.

        Raises:
            KernelPortError: the error itself, when trying again cannot help or has not for too long.
        """
        now = time.monotonic()
        self._since = self._since or now
        hopeless = not isinstance(error, (UnavailableError, CancelledError, DeadlineExceededError, *also))
        if hopeless or now - self._since >= self._seconds:
            raise error
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return max(pause_s, min(error.retry_after_s or 0.0, LONGEST_PAUSE_S))


def sealing(job_id: str) -> pb.AddItemsRequest:
    """The request that seals a job as it is."""
    return message(pb.AddItemsRequest, job_id=job_id, seal=True)


def deletion_pauses() -> Iterator[float]:
    """Seconds between two looks at a deletion."""
    yield from (0.02, 0.05, 0.1, 0.2)
    yield from itertools.repeat(0.5)


def check_deletion(job: pb.Job) -> None:
    """Raises UnavailableError when a job's files cannot be deleted now."""
    if job.state == pb.JOB_STATE_DELETING and job.reason:
        raise UnavailableError(f"{job.reason}; it is tried again until they are gone")


def without_files(missing: Sequence[FieldViolation]) -> NotFoundError:
    """The error that tells which items' files could not be fetched; it names the first in its message."""
    first = f"{missing[0].field}: {missing[0].description}"
    others = f" (and {counted(len(missing) - 1, 'other')}, see violations)" if missing[1:] else ""
    return NotFoundError(f"{first}{others}", violations=missing, reason=OUTPUT_NOT_FOUND)


def is_over(job: pb.Job) -> bool:
    """Whether nothing more will happen to a job, unless it is resumed."""
    return job.state not in ACTIVE
