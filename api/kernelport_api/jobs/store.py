"""The job store as the front door reads it."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import keys
from kernelport.errors import InvalidArgumentError, NotFoundError
from kernelport.internal.v1.job_store_pb2 import Page
from kernelport.jobs import scripts
from kernelport.jobs.pages import id_digest
from kernelport.jobs.records import JobRecord, Results, results_of
from kernelport.v1 import job_pb2 as pb
from kernelport_api.outages import unreachable

# Pages are at most some MiB each.
_PAGES_AT_HAND = 8
_JOBS_AT_ONCE = 100


class JobStore:
    """Every method raises UnavailableError while Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._pages: OrderedDict[tuple[str, int], Page] = OrderedDict()

    async def run(self, name: scripts.Name, *arguments: str | bytes | float) -> Any:
        """Runs one of the job store's scripts."""
        return await reached(scripts.run(self.redis, name, *arguments))

    async def find(self, job_id: str) -> JobRecord | None:
        """A job; None when there is none of that id."""
        fields: dict[bytes, bytes] = await reached(self.redis.hgetall(keys.job(job_id)))
        return JobRecord(job_id, fields) if b"spec" in fields else None

    async def get(self, job_id: str) -> JobRecord:
        """A job.

        Raises:
            NotFoundError: when there is none of that id.
        """
        record = await self.find(job_id) if job_id else None
        if record is None:
            raise NotFoundError(f'job_id: there is no job "{job_id}"')
        return record

    async def spec(self, job_id: str) -> pb.JobSpec:
        """A job's spec with shared inputs and secrets."""
        return pb.JobSpec.FromString(await reached(self.redis.get(keys.job(job_id, "spec"))))

    async def jobs(
        self, deployment: str, states: Collection[pb.JobState], most: int, token: str
    ) -> tuple[list[pb.Job], str]:
        """Jobs, newest first, and the token of what follows."""
        created, before = _read_token(token)
        found: list[pb.Job] = []
        while True:
            entries = await reached(
                self.redis.zrevrangebyscore(
                    keys.JOBS, created if before else "+inf", "-inf", start=0, num=_JOBS_AT_ONCE, withscores=True
                )
            )
            # Those created in the same microsecond come sorted by id, backwards.
            new = [(int(score), job.decode()) for job, score in entries]
            new = [entry for entry in new if not before or entry < (created, before)]
            for created, before in new:
                record = await self.find(before)
                if record is None:  # its retention is over
                    await reached(self.redis.zrem(keys.JOBS, before))
                    continue
                job = record.job()
                if (not deployment or record.deployment == deployment) and (not states or job.state in states):
                    found.append(job)
                    if len(found) == most:
                        return found, f"{created}:{before}"
            if len(entries) < _JOBS_AT_ONCE:
                return found, ""

    async def page(self, job_id: str, number: int) -> Page:
        """A page of a job. Those read last stay at hand."""
        key = (job_id, number)
        if key not in self._pages:
            value = await reached(self.redis.hget(keys.job(job_id, "pages"), str(number)))
            if value is None:
                raise NotFoundError(f'job_id: there is no job "{job_id}"')
            self._pages[key] = Page.FromString(value)
        self._pages.move_to_end(key)
        if len(self._pages) > _PAGES_AT_HAND:
            self._pages.popitem(last=False)
        return self._pages[key]

    async def states(self, job_id: str, number: int) -> bytes:
        """The states of a page's items, a byte each."""
        return bytes(await reached(self.redis.hget(keys.job(job_id, "states"), str(number))) or b"")

    async def results(self, job_id: str, number: int) -> Results:
        """What came of a page's items so far."""
        index = await reached(self.redis.hget(keys.job(job_id, "index"), str(number))) or b""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for entry in index.split():
                pipeline.xrange(keys.job(job_id, "log"), entry, entry)
            found = await reached(pipeline.execute())
        return results_of(fields[b"result"] for entries in found for _, fields in entries)

    async def log(self, job_id: str, after: int, most: int) -> AsyncIterator[tuple[int, bytes | None]]:
        """Log entries behind number `after`: their numbers, with a serialized BatchResult where they are about one."""
        entries = await reached(self.redis.xrange(keys.job(job_id, "log"), f"({after}-0", "+", most))
        for number, fields in entries:
            yield int(number.partition(b"-")[0]), fields.get(b"result")

    async def locate(self, job_id: str, item_id: str) -> tuple[int, int]:
        """The page and position of an item.

        Raises:
            NotFoundError: when the job has no such item.
        """
        number = await reached(self.redis.hget(keys.job(job_id, "ids"), id_digest(item_id)))
        if number is not None:
            page = await self.page(job_id, int(number))
            for position, serialized in enumerate(page.items):
                if pb.NewItem.FromString(serialized).id == item_id:
                    return int(number), position
        raise NotFoundError(f'item_id: job "{job_id}" has no item "{item_id}"')


async def reached(answer: Awaitable[Any] | Any) -> Any:
    """Redis's answer, or the error that a caller is told when there is none."""
    try:
        return await answer
    except RedisError as error:
        raise unreachable(error) from error


def _read_token(token: str) -> tuple[int, str]:
    created, _, job_id = token.partition(":")
    if not token:
        return 0, ""
    if not created.isdigit() or not job_id:
        raise InvalidArgumentError("page_token: expected the next_page_token of an earlier answer")
    return int(created), job_id


def page_token(number: int, place: int) -> str:
    """Stands for a place among a job's items."""
    return f"{number}:{place}"


def read_page_token(token: str) -> tuple[int, int]:
    """The page and the place in it that a token stands for.

    Raises:
        InvalidArgumentError: when it is no such token.
    """
    parts: Sequence[str] = token.split(":") if token else ("0", "0")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise InvalidArgumentError("page_token: expected the next_page_token of an earlier answer")
    return int(parts[0]), int(parts[1])
