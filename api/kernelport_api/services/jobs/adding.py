"""Takes the items of a job in: checks them, packs them into pages, and puts them into the job store."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from kernelport.broker.clock import clock
from kernelport.broker.voices import VoiceNotFoundError
from kernelport.config.deployments import Deployment
from kernelport.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from kernelport.items import running_digests
from kernelport.jobs.inputs import VOICE_INPUT, voice_names_in
from kernelport.jobs.pages import PAGE_BYTES, PAGE_ITEMS, pack
from kernelport.jobs.records import JobRecord
from kernelport.jobs.scripts import tick_arguments
from kernelport.jobs.voices import pin
from kernelport.limits import MAX_ITEMS
from kernelport.signature import Signature
from kernelport.stacking import Stacking
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor
from kernelport_api.aside import SMALL_BYTES, Pace, Result, aside
from kernelport_api.queueing.live_workers import WorkerView
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.inputs import are_slow_to_check
from kernelport_api.services.jobs import day_quotas
from kernelport_api.services.jobs.memory import JobMemory
from kernelport_api.services.jobs.store import JobStore
from kernelport_api.services.jobs.validation import item_violations
from kernelport_api.services.stock import Stock

# Other callers get their turn after so many items have been checked.
CHECKED_AT_ONCE = 16
# Fewer, and small ones, are packed and digested sooner than another thread could begin with it.
FEW_ITEMS = 16
# What a slow caller has sent starts after this, though it fills no page.
LONGEST_WAIT_S = 1.0
TICK_INTERVAL_S = 0.2


class ItemExistsError(AlreadyExistsError):
    """The job has an item of this id."""

    reason = "ITEM_EXISTS"


class Adder:
    """Adds items to one job, in the order in which they come.

    Args:
        digest: the running digest of the items that the job has.
        repeated: whether items that the job has not, though it is sealed, are another submission's.
    """

    def __init__(
        self,
        store: JobStore,
        memory: JobMemory,
        stock: Stock,
        workers: WorkerView,
        job: JobRecord,
        deployment: Deployment,
        shared: Sequence[Tensor],
        signature: Signature | None,
        digest: bytes,
        repeated: bool,
    ) -> None:
        self._store = store
        self._memory = memory
        self._stock = stock
        self._workers = workers
        self._job = job
        self._job_id = job.id
        self._digest = digest
        self._repeated = repeated
        self._deployment = deployment
        self._shared = shared
        self._signature = signature
        self._stored = job.items
        self._pinned: set[str] = set()
        self._items: list[pb.NewItem] = []
        self._bytes = 0
        self._since = time.monotonic()
        self._ticked_at = 0.0

    async def add(
        self, items: Sequence[pb.NewItem], offset: int | None, *, digest: bytes = b"", last: bool = False
    ) -> None:
        """Takes items, and stores pages as they fill.

        Args:
            offset: the first one's place in the job; what is there already is compared and skipped. None: after what is
                there.
            digest: the running digest that the job must have with these items; empty when the caller does not say.
            last: whether the job has no items behind these.

        Raises:
            InvalidArgumentError: when one is no good, or they are too many for one message.
            AlreadyExistsError: when the job has other items than these, or an item of the same id; or when items of the
                job have been replaced, and these would have to be compared.
            ResourceExhaustedError: when Redis has no room for them, or they would pass a quota; those before them may
                be stored.
        """
        check_count(items)
        there = self._stored + len(self._items)
        place = there if offset is None else offset
        if place > there:
            raise FailedPreconditionError(f"offset: expected at most {there}, the items there are; got {offset}")
        if last and place + len(items) < there:
            raise self._other_items(f"it has {there}, not {place + len(items)}")
        skipped = min(there - place, len(items))
        if len(items) > skipped and self._job.is_sealed:
            if self._repeated:
                raise self._other_items(f"it has {there}, not {place + len(items)} or more")
            raise await self._store.refusal("add", b"sealed", self._job_id)
        if self._job.edition and (skipped or digest):
            raise self._other_items("some of them have been replaced since")
        digests = await self._digests(place, items, skipped)
        if digest and digest != digests[-1]:
            raise self._other_items(f"the first {place + len(items)} are not the same")
        items, digests = items[skipped:] if skipped else items, digests[skipped + 1 :]
        await self._stock.check_items(len(items) + len(self._items))
        names = await voices_of(items, self._shared, self._signature, first=skipped)
        if repeated := await _aside_if_many(items, repeated_id, items):
            raise duplicate(repeated)
        if new := names - self._pinned:
            self._pinned |= await pin_voices(self._store, self._job_id, new, self._signature)
        page_bytes = min(PAGE_BYTES, self._deployment.batching.max_bytes)
        for item, reached_digest in zip(items, digests, strict=True):
            size = item.ByteSize()
            if self._items and (len(self._items) == PAGE_ITEMS or self._bytes + size > page_bytes):
                await self.flush()
            if not self._items:
                self._since = time.monotonic()
            self._items.append(item)
            self._bytes += size
            self._digest = reached_digest
        if self._items and time.monotonic() - self._since > LONGEST_WAIT_S:
            await self.flush()

    async def flush(self) -> None:
        """Stores what has gathered as a page."""
        if not self._items:
            return
        items, self._items, self._bytes = self._items, [], 0
        stacking = Stacking.of(self._signature)
        limits = self._workers.batching(self._deployment)
        packed = await _aside_if_many(items, pack, items, self._stored, limits, stacking, self._shared)
        if len(set(packed.digests)) < len(items) and (repeated := repeated_id(items)):
            raise duplicate(repeated)
        limited = day_quotas.limited()
        takes = await aside(day_quotas.taken, items, self._shared, limited) if limited else ""
        await self._memory.take(len(packed.page), len(items))
        answer, *details = await self._store.run(
            "append",
            self._job_id,
            self._stored,
            len(items),
            packed.cost,
            packed.page,
            packed.slices_json,
            clock.now_us(),
            self._digest,
            takes,
            *packed.digests,
        )
        match answer:
            case b"duplicate":
                raise duplicate(items[int(details[0])].id)
            case b"quota":
                raise day_quotas.refusal(details)
            case b"refused" if not (self._repeated and details[0] == b"sealed"):
                raise await self._store.refusal("add", details[0], self._job_id)
            case b"refused" | b"moved":  # by a submission of the same id: the next try compares with its items
                raise AbortedError(f'job_id: somebody else adds items to "{self._job.name}"; try again')
        self._stored += len(items)
        if time.monotonic() - self._ticked_at > TICK_INTERVAL_S:
            self._ticked_at = time.monotonic()
            await tick(self._store, self._workers, self._deployment.name)

    async def finish(self, seal: bool, *, as_it_is: bool = False) -> None:
        """Stores what has gathered; with `seal` the job takes no more items.

        Args:
            as_it_is: whether it is sealed with items that others have added meanwhile, too.

        Raises:
            AbortedError: when others have, and it is not.
        """
        await self.flush()
        if seal:
            await self._store.change("seal", "seal", self._job_id, "" if as_it_is else self._stored)
        await tick(self._store, self._workers, self._deployment.name)

    async def _digests(self, place: int, items: Sequence[pb.NewItem], skipped: int) -> list[bytes]:
        """The job's running digest before some items, the first of which are there, and after each of them."""
        before = self._digest
        if place < self._stored + len(self._items):
            await self.flush()
            before = await self._store.digest(self._job, place)
        digests = [before, *await _aside_if_many(items, running_digests, before, items)] if items else [before]
        if skipped and digests[skipped] != await self._store.digest(self._job, place + skipped):
            last = place + skipped - 1
            differing = f"item {place} is" if last == place else f"items {place} to {last} are"
            raise self._other_items(f"{differing} not the same, counted from 0")
        return digests

    def _other_items(self, found: str) -> AlreadyExistsError:
        return AlreadyExistsError(f'items: job "{self._job.name}" was submitted with other items: {found}')


async def _aside_if_many(items: Sequence[pb.NewItem], work: Callable[..., Result], *arguments: object) -> Result:
    if len(items) <= FEW_ITEMS and sum(item.ByteSize() for item in items) <= SMALL_BYTES:
        return work(*arguments)
    return await aside(work, *arguments)


async def tick(store: JobStore, workers: WorkerView, deployment: str) -> None:
    """Tops up the tickets of a deployment. Where Redis is full, whoever looks next does."""
    with contextlib.suppress(ResourceExhaustedError):
        await store.run("tick", *tick_arguments(deployment, len(workers.workers(deployment))))


def check_count(items: Sequence[pb.NewItem]) -> None:
    """Raises InvalidArgumentError for more items than a message may have."""
    if len(items) > MAX_ITEMS:
        words = f"expected at most {MAX_ITEMS:,} in one message, got {len(items):,}"
        raise_any([FieldViolation("items", words)])


async def voices_of(
    items: Sequence[pb.NewItem], shared: Sequence[Tensor], signature: Signature | None, *, first: int = 0
) -> set[str]:
    """Checks items, some at a time; gives the voices that they and the shared inputs name.

    Args:
        first: the place of the first one in its message.

    Raises:
        InvalidArgumentError: when one is no good.
    """

    def find(some: Sequence[pb.NewItem]) -> tuple[list[FieldViolation], set[str]]:
        found = list(item_violations(some, shared, signature))
        return found, set() if found else voice_names_in(tensor for item in some for tensor in item.inputs)

    is_slow = are_slow_to_check(shared, sum(tensor.ByteSize() for tensor in shared))
    names = await aside(voice_names_in, shared) if is_slow else voice_names_in(shared)
    pace = Pace()
    for start in range(0, len(items), CHECKED_AT_ONCE):
        some = items[start : start + CHECKED_AT_ONCE]
        is_slow = any(are_slow_to_check(item.inputs, item.ByteSize()) for item in some)
        found, named = await aside(find, some) if is_slow else find(some)
        raise_any([FieldViolation(_moved(each.field, first + start), each.description) for each in found])
        names |= named
        await pace.rest()
    return names


async def pin_voices(store: JobStore, job_id: str, names: Collection[str], signature: Signature | None) -> set[str]:
    """Pins voices to a job. What a model calls `voice` may be something else than a registered one.

    Raises:
        InvalidArgumentError: when the model wants a registered one, and there is none of a name nor has the job pinned
            one.
    """
    pinned: set[str] = await reached(pin(store.redis, job_id, names))
    if signature is None or not any(each.name == VOICE_INPUT and each.names_voice for each in signature.inputs):
        return pinned
    lacking = sorted(set(names) - pinned)
    raise_any([FieldViolation(f'inputs["{VOICE_INPUT}"]', VoiceNotFoundError(name).message) for name in lacking[:8]])
    return pinned


def _moved(field: str, by: int) -> str:
    """The path of a field of items[i], i counted from `by`."""
    number, rest = field.removeprefix("items[").split("]", 1)
    return f"items[{int(number) + by}]{rest}"


def repeated_id(items: Sequence[pb.NewItem]) -> str | None:
    """The first id that comes twice, if one does."""
    return next((item_id for item_id, count in Counter(item.id for item in items).items() if count > 1), None)


def duplicate(item_id: str) -> ItemExistsError:
    """The refusal of an id that comes twice."""
    return ItemExistsError(f'items: the job has an item "{item_id}" already; expected unique ids')


def raise_any(violations: list[FieldViolation]) -> None:
    """Raises InvalidArgumentError where there are findings."""
    if violations:
        raise InvalidArgumentError.of(violations)
