"""A slice of a job in a worker's hands, with all that running it takes."""

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from redis import Redis

from kernelport import keys
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs import scripts
from kernelport.jobs.pages import expected_cost
from kernelport.v1 import inference_pb2
from kernelport.v1.job_pb2 import JobSpec, NewItem

NEVER_UNIX_US = 2**63 - 1

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Held:
    """What a ticket's bearer holds: items `first` to `first + count` of a page.

    Attributes:
        attempt: names this taking of it, for ever.
        died: the workers that died over it, oldest first.
        died_alone: how many of those had no other item in hand; by these it is given up.
        states: a byte an item; only those that are `r` are to be run.
        deadline_unix_us: the job's, in microseconds of Unix time.
        edition: how often items of the job have been replaced.
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

    @property
    def positions(self) -> list[int]:
        """The places in the page of the items to be run."""
        return [self.first + offset for offset, state in enumerate(self.states) if state == ord("r")]

    @classmethod
    def take(
        cls, redis: Redis, deployment: str, ticket: str, worker: str, attempt: str, max_attempts: int
    ) -> Self | None:
        """Takes the slice that is due; None when there is nothing to do."""
        found = scripts.run(redis, "take", deployment, ticket, worker, attempt, max_attempts)
        if found is None:
            return None
        held: dict[str, Any] = json.loads(found[0])
        page, first, count, _, *died = held["slice"]
        workers, alone = (*died, 0)[:2] if died else ([], 0)
        deadline = int(found[2]) or NEVER_UNIX_US
        where = int(page), int(first), int(count)
        return cls(held["job"], *where, attempt, workers, int(alone), found[1], deadline, int(found[3] or 0))

    def is_ours(self, redis: Redis, deployment: str, ticket: str) -> bool:
        """Whether nobody else has been given it since."""
        held: Any = redis.hget(keys.taken_slices(deployment), ticket)
        return held is not None and json.loads(held)["attempt"] == self.attempt


@dataclass(frozen=True)
class JobItem:
    """One item, ready to run.

    Attributes:
        position: its place in the page.
        request: a serialized InferRequest.
        cost: what it is expected to take, in the unit of kernelport.jobs.pages.
    """

    id: str
    position: int
    request: bytes
    cost: int


class Loader:
    """Reads specs and pages of jobs; those in use stay at hand, as a page is read for every batch cut from it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._specs: _Recent[str, JobSpec] = _Recent(8)
        self._pages: _Recent[tuple[str, int, int], Page] = _Recent(8)

    def spec(self, job: str) -> JobSpec:
        """What a job runs and how."""
        return self._specs.get(job, lambda: self._spec(job))

    def items(self, held: Held) -> list[JobItem]:
        """The items of a slice that are to be run."""
        spec = self.spec(held.job)
        page = self._pages.get((held.job, held.edition, held.page), lambda: self._page(held.job, held.page))
        return [_item(spec, position, page.items[position]) for position in held.positions]

    def _spec(self, job: str) -> JobSpec:
        return JobSpec.FromString(self._there(self._redis.get(keys.job(job, "spec")), job))

    def _page(self, job: str, page: int) -> Page:
        return Page.FromString(self._there(self._redis.hget(keys.job(job, "pages"), str(page)), job))

    def _there(self, value: Any, job: str) -> bytes:
        if value is None:
            raise LookupError(f"job {job} is gone from Redis")
        return bytes(value)


class _Recent(Generic[Key, Value]):
    """The values used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return self._values[key]


def _item(spec: JobSpec, position: int, serialized: bytes) -> JobItem:
    new = NewItem.FromString(serialized)
    own = {tensor.name for tensor in new.inputs}
    shared = [tensor for tensor in spec.shared_inputs if tensor.name not in own]
    request = inference_pb2.InferRequest(model=spec.deployment, inputs=[*new.inputs, *shared])
    return JobItem(new.id, position, request.SerializeToString(), expected_cost(new.inputs))
