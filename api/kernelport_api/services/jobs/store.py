"""The job store as the front door reads it."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from kernelport.broker import keys, large, stored
from kernelport.broker.tenants import tenants_async
from kernelport.errors import (
    OUTPUT_NOT_FOUND,
    AbortedError,
    FailedPreconditionError,
    KernelPortError,
    NotFoundError,
)
from kernelport.internal.v1.job_store_pb2 import BatchResult, Page
from kernelport.items import NO_ITEMS, running_digests
from kernelport.jobs import scripts
from kernelport.jobs.item_records import Results, in_order, page_of, result_of, results_of
from kernelport.jobs.pages import id_digest
from kernelport.jobs.records import JobRecord
from kernelport.jobs.shrinking import bucket_of, pages_in
from kernelport.jobs.states import Stage, Verb, refusal
from kernelport.names import is_job_id, owner_of
from kernelport.v1 import job_pb2 as pb
from kernelport_api import calls
from kernelport_api.aside import aside
from kernelport_api.queueing.redis_errors import reached
from kernelport_api.services.jobs import day_quotas
from kernelport_api.services.jobs.page_tokens import job_token, read_job_token
from kernelport_api.services.tenants import seen_tenants

Value = TypeVar("Value")

# Pages are at most some MiB each.
_PAGES_AT_HAND = 8
_JOBS_AT_ONCE = 100


class JobNotFoundError(NotFoundError):
    """There is no such job, or none any more."""

    reason = "JOB_NOT_FOUND"


class ItemNotFoundError(NotFoundError):
    """The job has no such item."""

    reason = "ITEM_NOT_FOUND"


class OutputNotFoundError(NotFoundError):
    """There is no such file, or a file that a job wrote is gone or is another one now."""

    reason = OUTPUT_NOT_FOUND


class JobStore:
    """Every method raises UnavailableError while Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._pages: OrderedDict[tuple[str, int, int], Page] = OrderedDict()
        # With the entries of the log in which they are.
        self._results: OrderedDict[tuple[str, int], tuple[bytes, Results]] = OrderedDict()

    async def run(self, name: scripts.Name, *arguments: str | bytes | float) -> Any:
        """Runs one of the job store's scripts."""
        return await reached(scripts.run(self.redis, name, *arguments))

    async def change(self, verb: Verb, name: scripts.Name, job_id: str, *arguments: str | bytes | float) -> None:
        """Runs the script of a verb on a job.

        Raises:
            JobNotFoundError: when there is none of that id.
            FailedPreconditionError: when the job is where the verb is refused, or has no items to be sealed with.
            QuotaExceededError: when its items would pass a quota by running again.
            AbortedError: when somebody else was faster.
        """
        answer, *stage = await self.run(name, job_id, *arguments)
        if answer == b"refused":
            raise await self.refusal(verb, stage[0], job_id)
        if answer == b"quota":
            raise day_quotas.refusal(stage)
        if answer == b"empty":
            raise FailedPreconditionError(
                f'job_id: job "{_name(job_id)}" has no items: expected one at least before the seal'
            )
        if answer == b"moved":
            raise AbortedError(f'job_id: somebody else changes job "{_name(job_id)}" at the same time; try again')

    async def refusal(self, verb: Verb, told: bytes, job_id: str) -> KernelPortError:
        """The error of a call that a job's stage, as a script has told it, does not allow."""
        stage = cast(Stage, stored.name(told))
        record = await self.find(job_id)
        if stage == "gone" or record is None:
            return _no_job(job_id)
        if verb == "add" and record.is_sealed and not record.is_deleting:
            stage = "sealed"
        return refusal(verb, stage, _name(job_id), record.state, record.reason, record.items)

    async def find(self, job_id: str) -> JobRecord | None:
        """A job; None when there is none of that id."""
        if not is_job_id(job_id):
            return None
        fields: dict[bytes, bytes] = await reached(self.redis.hgetall(keys.job(job_id)))
        return JobRecord(job_id, fields) if b"spec" in fields else None

    async def get(self, job_id: str) -> JobRecord:
        """A job, as the caller may know of it.

        Raises:
            JobNotFoundError: when there is none of that id, or its deployment is none of those that the caller may use.
        """
        record = await self.find(job_id) if job_id else None
        if record is None or not calls.current().principal.may_use(record.deployment):
            raise _no_job(job_id)
        return record

    async def with_items(self, job_id: str) -> JobRecord:
        """A job whose items can be asked for.

        Raises:
            JobNotFoundError: when there is none of that id, or none any more.
        """
        record = await self.get(job_id)
        if record.is_deleting:
            raise JobNotFoundError(f'job_id: the items of job "{_name(job_id)}" are gone: it is being deleted')
        return record

    async def digest(self, record: JobRecord, count: int) -> bytes:
        """The running digest of a job's first `count` items, as kernelport.items has it.

        Read where a page ends there, else made of that page's items; of all items in a job from version 0.1.0.
        """
        if not count:
            return NO_ITEMS
        behind: Any = keys.job(record.id, "digests")
        found = await reached(self.redis.zrevrangebyscore(behind, count, 0, start=0, num=1, withscores=True))
        number, done, digest = 0, 0, NO_ITEMS
        for value, items in found:
            page, _, digest = value.partition(b":")
            number, done = stored.number(page, keys.job(record.id, "digests")) + 1, int(items)
        while done < count:
            page_there = await self.page(record, number)
            items = [page_there.items[position] for position in in_order(page_there)][: count - done]
            digest = (await aside(running_digests, digest, items))[-1]
            number, done = number + 1, done + len(items)
        return digest

    async def put_spec(self, job_id: str, spec: pb.JobSpec) -> bytes:
        """What the script that creates a job takes as its spec; a large one is there by then."""
        serialized = spec.SerializeToString()
        if len(serialized) <= large.PIECE_BYTES:
            return serialized
        await reached(large.write_async(self.redis, keys.job(job_id, "spec"), serialized, keys.SPEC_TTL_S))
        return b""

    async def spec(self, job_id: str) -> pb.JobSpec:
        """A job's spec with shared inputs and secrets.

        Raises:
            JobNotFoundError: when there is no such job any more.
            FailedPreconditionError: when it is being deleted.
        """
        value = await reached(large.read_async(self.redis, keys.job(job_id, "spec")))
        if value is None:
            raise await self.refusal("add", b"deleting", job_id)
        return stored.message(pb.JobSpec, value, keys.job(job_id, "spec"))

    async def jobs(
        self, deployment: str, states: Collection[pb.JobState], most: int, token: str
    ) -> tuple[list[pb.Job], str]:
        """The jobs that the caller sees, newest first, and the token of what follows."""
        created, before = read_job_token(token)
        principal = calls.current().principal
        found: list[pb.Job] = []
        indexes = [keys.owned(keys.JOBS, tenant) for tenant in await seen_tenants(self.redis)]
        while True:
            entries = await self._newest(indexes, created if before else "(+inf", _JOBS_AT_ONCE)
            new = [entry for entry in entries if not before or entry < (created, before)]
            for created, before in new:
                record = await self.find(before)
                if record is None:  # its retention is over
                    await reached(self.redis.zrem(keys.owned(keys.JOBS, owner_of(before)[0]), before))
                    continue
                try:
                    job = shown(record)
                except stored.StoredError as error:
                    stored.tell(error)
                    continue
                if deployment not in ("", record.deployment) or not principal.may_use(record.deployment):
                    continue
                if not states or job.state in states:
                    found.append(job)
                    if len(found) == most:
                        return found, job_token(created, before)
            if len(entries) < _JOBS_AT_ONCE:
                return found, ""

    async def _newest(self, indexes: Sequence[str], created: int | str, most: int) -> list[tuple[int, str]]:
        """When jobs were created, and their ids: the newest of some sets, of those that were created at a time or
        before. Those of the same microsecond come sorted by id, backwards."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for index in indexes:
                pipeline.zrevrangebyscore(index, created, "(-inf", start=0, num=most, withscores=True)
            found = await reached(pipeline.execute())
        entries = [(int(score), job.decode(errors="replace")) for some in found for job, score in some]
        return sorted(entries, reverse=True)[:most]

    async def newest(self, most: int) -> list[str]:
        """The ids under which the newest jobs of all tenants are stored, newest first."""
        indexes = [keys.owned(keys.JOBS, tenant) for tenant in await reached(tenants_async(self.redis))]
        return [job_id for _, job_id in await self._newest(indexes, "(+inf", most)]

    async def active(self, deployments: Iterable[str], most: int) -> list[str]:
        """The ids under which active jobs are stored, of each deployment and tenant those that have had the least, up
        to `most`."""
        all_tenants = await reached(tenants_async(self.redis))
        async with self.redis.pipeline(transaction=False) as pipeline:
            for name in deployments:
                for tenant in all_tenants:
                    pipeline.zrange(keys.owned(keys.active_jobs(name), tenant), 0, most - 1)
            found = await reached(pipeline.execute())
        return [job.decode(errors="replace") for jobs in found for job in jobs]

    async def records(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Some jobs, without those that there are none of."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hgetall(keys.job(job_id))
            found = await reached(pipeline.execute()) if job_ids else []
        both = zip(job_ids, found, strict=True)
        return [JobRecord(job_id, fields) for job_id, fields in both if b"spec" in fields]

    async def job_states(self, job_ids: Sequence[str]) -> dict[str, str]:
        """The states of some jobs as the store names them, without those that there are none of."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hget(keys.job(job_id), "state")
            found = await reached(pipeline.execute()) if job_ids else []
        return {job_id: stored.name(state) for job_id, state in zip(job_ids, found, strict=True) if state}

    async def page_at(self, record: JobRecord, index: int) -> int:
        """The number of the page that has the item of this index; one behind the last page for none."""
        number = 0
        behind: Any = keys.job(record.id, "digests")
        found = await reached(self.redis.zrevrangebyscore(behind, index, "-inf", start=0, num=1))
        if found:
            number = stored.number(found[0].partition(b":")[0], behind) + 1
        # A job of version 0.1.0 has none of these.
        while number < record.pages:
            page = await self.page(record, number)
            if index < page.first_index + len(page.items):
                break
            number += 1
        return number

    async def all_states(self, job_id: str) -> dict[int, bytes]:
        """The states of all items by page, a byte each: a megabyte of a million."""
        where = keys.job(job_id, "states")
        found: dict[bytes, bytes] = await reached(self.redis.hgetall(where))
        return {stored.number(number, where): states for number, states in found.items()}

    async def page(self, record: JobRecord, number: int) -> Page:
        """A page of a job. Those read last stay at hand."""
        key = (record.id, record.edition, number)
        if key not in self._pages:
            value = await reached(self.redis.hget(keys.job(record.id, "pages"), str(number)))
            self._pages[key] = page_of(_there(value, record.id), record.id, number)
        _drop_oldest(self._pages, key)
        return self._pages[key]

    async def states(self, job_id: str, number: int) -> bytes:
        """The states of a page's items, a byte each."""
        return bytes(_there(await reached(self.redis.hget(keys.job(job_id, "states"), str(number))), job_id))

    async def attempts(self, job_id: str, number: int) -> bytes:
        """How often workers took a page's items, a byte each; empty when they took none."""
        return bytes(await reached(self.redis.hget(keys.job(job_id, "attempts"), str(number))) or b"")

    async def results(self, job_id: str, number: int) -> tuple[bytes, bytes, Results]:
        """A page's items at one moment: their states and attempts, a byte each, and what came of them so far, which is
        for reading only. What was read last stays at hand: many look at one page."""
        async with self.redis.pipeline() as pipeline:
            for part in ("states", "attempts", "index"):
                pipeline.hget(keys.job(job_id, part), str(number))
            states, attempts, index = await reached(pipeline.execute())
        known = self._results.get((job_id, number))
        if known is None or known[0] != (index or b""):
            known = self._results[job_id, number] = (index or b"", await self._results_at(job_id, index or b""))
        _drop_oldest(self._results, (job_id, number))
        return _there(states, job_id), attempts or b"", known[1]

    async def _results_at(self, job_id: str, index: bytes) -> Results:
        """What some entries of the log say."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for entry in index.split():
                pipeline.xrange(keys.job(job_id, "log"), entry, entry)
            found = await reached(pipeline.execute())
        # An entry that is gone went with its job.
        entries = (fields.get(b"result", b"") for entries in found for _, fields in _there(entries, job_id))
        return results_of(entries, keys.job(job_id, "log"))

    async def log(self, job_id: str, after: int, most: int) -> AsyncIterator[tuple[int, BatchResult | None]]:
        """Log entries behind number `after`: their numbers, with what came of a batch where they are about one."""
        where = keys.job(job_id, "log")
        entries = await reached(self.redis.xrange(where, f"({after}-0", "+", most))
        for number, fields in entries:
            result = fields.get(b"result")
            yield int(number.partition(b"-")[0]), None if result is None else result_of(result, where)

    async def locate(self, record: JobRecord, item_ids: Sequence[str]) -> dict[int, dict[str, int]]:
        """The positions of items by their ids, by page.

        Raises:
            ItemNotFoundError: when the job has no such item.
        """
        wanted: dict[int, set[str]] = {}
        digests = [id_digest(item_id) for item_id in item_ids]
        for item_id, numbers in zip(item_ids, await self._pages_of(record.id, digests), strict=True):
            for number in numbers:
                wanted.setdefault(number, set()).add(item_id)
        found = {
            number: await aside(_positions, await self.page(record, number), ids, keys.job(record.id, "pages"))
            for number, ids in wanted.items()
        }
        known = {item_id for positions in found.values() for item_id in positions}
        missing = next((item_id for item_id in item_ids if item_id not in known), None)
        if missing is not None:  # an empty id, too, is one that no item has
            raise ItemNotFoundError(f'item_id: job "{record.name}" has no item "{missing}"')
        return found

    async def _pages_of(self, job_id: str, digests: Sequence[bytes]) -> list[list[int]]:
        """The pages that may have items, by the digests of their ids."""
        ids, places = keys.job(job_id, "ids"), keys.job(job_id, "places")
        async with self.redis.pipeline() as pipeline:
            pipeline.hmget(ids, digests)
            pipeline.hget(keys.job(job_id), "buckets")
            numbers, value = await reached(pipeline.execute())
        buckets = stored.number(value, f"{keys.job(job_id)} buckets")
        if buckets <= 0:
            return [[] if number is None else [stored.number(number, ids)] for number in numbers]
        found = await reached(self.redis.hmget(places, [str(bucket_of(digest, buckets)) for digest in digests]))
        try:
            return [pages_in(bucket or b"", digest) for bucket, digest in zip(found, digests, strict=True)]
        except ValueError as error:
            raise stored.StoredError(f"{places}: expected places of items: {error}") from None


def _drop_oldest(at_hand: OrderedDict[Any, Any], newest: Any) -> None:
    at_hand.move_to_end(newest)
    if len(at_hand) > _PAGES_AT_HAND:
        at_hand.popitem(last=False)


def _positions(page: Page, item_ids: set[str], where: str) -> dict[str, int]:
    """The positions of items in a page, as far as it has them, by their ids."""
    found: dict[str, int] = {}
    for position, serialized in enumerate(page.items):
        item_id = stored.message(pb.NewItem, serialized, where).id
        if item_id in item_ids:
            found[item_id] = position
            if len(found) == len(item_ids):
                break
    return found


def _there(value: Value | None, job_id: str) -> Value:
    """A part of a job, which may have been deleted meanwhile."""
    if not value:
        raise _no_job(job_id)
    return value


def _no_job(job_id: str) -> JobNotFoundError:
    return JobNotFoundError(f'job_id: there is no job "{_name(job_id)}"')


def _name(job_id: str) -> str:
    """What the caller calls a job."""
    return calls.current().principal.shown(job_id)


def shown(record: JobRecord) -> pb.Job:
    """A job as the caller is shown it."""
    job = record.job()
    job.id = _name(record.id)
    return job
