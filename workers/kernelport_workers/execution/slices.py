"""Slices of jobs: how much of a job a worker takes at once, and a slice in its hands with all that running it takes."""

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from redis import Redis

from kernelport.broker import keys, large, stored
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.items import expected_cost
from kernelport.jobs import scripts
from kernelport.jobs.item_records import RUNNING, page_of
from kernelport.tensors import to_array
from kernelport.v1.inference_pb2 import Tensor
from kernelport.v1.job_pb2 import JobSpec, NewItem
from kernelport_workers.execution.execution import Shared

NEVER_UNIX_US = 2**63 - 1
# Of specs, and of pages, that a worker keeps at hand.
RECENT, RECENT_BYTES = 256, 32 * 2**20
# What a worker runs of a job at once should not take longer: a call may have come that waits for it.
SLICE_S = 0.5
_JOBS_KEPT = 16

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", Page, JobSpec)


class Pace:
    """The costs (see kernelport.items) that a worker runs in SLICE_S, as it has measured: of each job that it had
    of late, since jobs may ask the same model for more or for less work a byte."""

    def __init__(self) -> None:
        self._costs: OrderedDict[str, float] = OrderedDict()
        self._latest = 0.0

    def note(self, job: str, cost: int, seconds: float) -> None:
        """Items of a job that cost so much have taken so long."""
        self._latest = self._costs[job] = max(1, cost) * SLICE_S / max(seconds, 1e-6)
        self._costs.move_to_end(job)
        if len(self._costs) > _JOBS_KEPT:
            self._costs.popitem(last=False)

    def arguments(self) -> list[str | float]:
        """What the script `take` takes: the most cost of any other job (0, which is one item, before anything has been
        measured), then jobs, each followed by its own."""
        return [self._latest, *(argument for pair in self._costs.items() for argument in pair)]


@dataclass(frozen=True)
class SliceLease:
    """What a ticket's bearer holds: items `first` to `first + count` of a page.

    Attributes:
        attempt: names this taking of it, for ever.
        died: the workers that died over it, oldest first.
        died_alone: how many of those had no other item in hand; by these it is given up.
        states: a byte an item; only those that are RUNNING are to be run.
        deadline_unix_us: the job's.
        edition: how often items of the job have been replaced.
        request_id: of the call that submitted the job; empty for a job of an earlier version.
    """

    job: str
    page: int
    first: int
    count: int
    attempt: str
    died: list[str]
    died_alone: int
    states: bytes
    deadline_unix_us: int
    edition: int
    request_id: str

    @property
    def positions(self) -> list[int]:
        """The places in the page of the items to be run."""
        return [self.first + offset for offset, state in enumerate(self.states) if state == RUNNING]

    @classmethod
    def take(
        cls, redis: Redis, deployment: str, ticket: str, worker: str, attempt: str, max_attempts: int, pace: Pace
    ) -> Self | None:
        """Takes the slice that is due, or as much of it as the pace allows; None when there is nothing to do."""
        found = scripts.run(redis, "take", deployment, ticket, worker, attempt, max_attempts, *pace.arguments())
        if found is None:
            return None
        piece: dict[str, Any] = json.loads(found[0])
        page, first, count, _, *died = piece["slice"]
        workers, alone = (*died, 0)[:2] if died else ([], 0)
        record = keys.job(piece["job"])
        deadline = stored.number(found[2], f"{record} deadline") or NEVER_UNIX_US
        edition = stored.number(found[3], f"{record} edition")
        where = int(page), int(first), int(count)
        request_id = stored.name(found[4] or b"")
        return cls(piece["job"], *where, attempt, workers, int(alone), found[1], deadline, edition, request_id)

    def is_ours(self, redis: Redis, deployment: str, ticket: str) -> bool:
        """Whether nobody else has been given it since."""
        piece: Any = redis.hget(keys.taken_slices(deployment), ticket)
        return piece is not None and json.loads(piece)["attempt"] == self.attempt


@dataclass(frozen=True)
class JobItem:
    """One item, ready to run.

    Attributes:
        position: its place in the page.
        inputs: without what it shares with the others.
        cost: what it is expected to take, in the unit of kernelport.jobs.pages.
        size: bytes that it was submitted as.
    """

    id: str
    position: int
    inputs: Sequence[Tensor]
    cost: int
    size: int


class Loader:
    """Reads specs and pages of jobs; those in use stay at hand, as a page is read for every batch cut from it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._specs: _Recent[str, JobSpec] = _Recent()
        self._pages: _Recent[tuple[str, int, int], Page] = _Recent()

    def spec(self, job: str) -> JobSpec:
        """What a job runs and how.

        Raises:
            StoredError: Redis holds none, or it cannot be read.
        """
        return self._specs.get(job, lambda: self._spec(job))

    def items(self, piece: SliceLease) -> list[JobItem]:
        """The items of a slice that are to be run.

        Raises:
            StoredError: what Redis holds of the job cannot be read.
        """
        page = self._pages.get((piece.job, piece.edition, piece.page), lambda: self._page(piece.job, piece.page))
        if len(page.items) < piece.first + piece.count:
            where = keys.job(piece.job, "pages")
            raise stored.StoredError(f"{where}: expected a slice of page {piece.page} of {len(page.items)} items")
        return [_item(piece, page, position) for position in piece.positions]

    def _spec(self, job: str) -> JobSpec:
        value = large.read(self._redis, keys.job(job, "spec"))
        return stored.message(JobSpec, value, keys.job(job, "spec"))

    def _page(self, job: str, page: int) -> Page:
        value: Any = self._redis.hget(keys.job(job, "pages"), str(page))
        return page_of(value, job, page)


class _Recent(Generic[Key, Value]):
    """The values used last, up to RECENT of them and RECENT_BYTES, or the one used last."""

    def __init__(self) -> None:
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        if key not in self._values:
            value = make()
            size = value.ByteSize()
            self._values[key] = value, size
            self._bytes += size
        self._values.move_to_end(key)
        while len(self._values) > RECENT or (self._bytes > RECENT_BYTES and len(self._values) > 1):
            _, (_, size) = self._values.popitem(last=False)
            self._bytes -= size
        return self._values[key][0]


def shared_inputs(spec: JobSpec) -> Shared:
    """The inputs that the items of a job share."""
    return {tensor.name: (tensor, to_array(tensor)) for tensor in spec.shared_inputs}


def _item(piece: SliceLease, page: Page, position: int) -> JobItem:
    item = page.items[position]
    new = stored.message(NewItem, item, keys.job(piece.job, "pages"))
    return JobItem(new.id, position, new.inputs, expected_cost(new.inputs), len(item))
