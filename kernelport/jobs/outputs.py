"""Outputs of jobs that Redis does not know: whose they are, and how they go.

The summary of a job names the stack that made it, by an id that Redis holds, and how many jobs that had ended by then.
So nothing goes by itself that another stack made, or this one before it lost its Redis. A Redis that was set back to an
earlier state is told by outputs of jobs that are yet to end there; the stack has another id from then on.
"""

import itertools
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from kernelport.broker import keys, stored
from kernelport.broker.tenants import tenants
from kernelport.jobs.artifacts import Artifacts, storage_errors
from kernelport.jobs.records import MICROSECONDS
from kernelport.names import SUMMARY, is_job_id

log: logging.Logger = logging.getLogger(__name__)

_AT_ONCE = 500
_MAX_SUMMARY_BYTES = 4 * 2**20


@dataclass(frozen=True)
class StackMark:
    """What the summary of a job says of the stack.

    Attributes:
        stack: its id; empty where there is none.
        ended: how many jobs of it had ended, the job included.
    """

    stack: str
    ended: int

    @classmethod
    def next(cls, redis: Redis) -> "StackMark":
        """Of the job that ends next."""
        redis.hsetnx(keys.JOB_STACK, "id", secrets.token_hex(8))
        found: Any = redis.hmget(keys.JOB_STACK, "id", "ended")
        stack, ended = found
        return cls(stored.name(stack or b""), stored.number(ended, keys.JOB_STACK) + 1)


@dataclass(frozen=True)
class Made:
    """What a job without a record has made, as its summary tells.

    Attributes:
        mark: of the stack.
        finished_unix_us: when the job was over.
        output_bytes: of the files of its items.
    """

    mark: StackMark
    finished_unix_us: int
    output_bytes: int


_NOBODYS = Made(StackMark("", 0), 0, 0)


def ownerless(redis: Redis, artifacts: Artifacts) -> Iterator[str]:
    """The folders that are named as jobs are, of which Redis knows no job.

    Raises:
        RedisError: it cannot be asked.
    """
    listed = artifacts.names("") if artifacts.is_local else [artifacts.folders()]
    names = (name for some in listed for name in some if is_job_id(name))
    while some := list(itertools.islice(names, _AT_ONCE)):
        with redis.pipeline(transaction=False) as pipeline:
            for name in some:
                pipeline.exists(keys.job(name))
            known = pipeline.execute()
        yield from (name for name, is_known in zip(some, known, strict=True) if not is_known)


def delete(artifacts: Artifacts, job_id: str) -> int:
    """Deletes the outputs of a job; returns how many files there were."""
    deleted = 0
    while some := artifacts.delete_some(job_id):
        deleted += some
    return deleted


def bytes_of_jobs(redis: Redis) -> int:
    """What the items of all jobs that Redis knows have made, in bytes.

    Raises:
        RedisError: it cannot be asked.
    """
    total = 0
    jobs = (
        job
        for tenant in tenants(redis)
        for job in cast(list[bytes], redis.zrange(keys.owned(keys.JOBS, tenant), 0, -1))
    )
    while some := list(itertools.islice(jobs, _AT_ONCE)):
        with redis.pipeline(transaction=False) as pipeline:
            for job in some:
                pipeline.hget(keys.job(stored.name(job)), "output_bytes")
            for value in pipeline.execute():
                total += stored.number(value, keys.job("*"))
    return total


class OldOutputs:
    """Which outputs of jobs that are gone have been kept for long enough. Of each the summary is read once.

    Args:
        keep_s: seconds after the end of their job; infinite for ever.
    """

    def __init__(self, redis: Redis, artifacts: Artifacts, keep_s: float) -> None:
        self._redis = redis
        self._artifacts = artifacts
        self._keep_s = keep_s
        self._made: dict[str, Made] = {}

    def due(self, folders: list[str]) -> list[str]:
        """Of the folders of jobs that are gone, those whose time has come."""
        found = ((folder, self._made.get(folder) or self._read(folder)) for folder in folders)
        self._made = {folder: made for folder, made in found if made is not None}
        following = StackMark.next(self._redis)
        own = [folder for folder, made in self._made.items() if made.mark.stack == following.stack]
        if any(self._made[folder].mark.ended >= following.ended for folder in own):
            self._redis.hset(keys.JOB_STACK, "id", secrets.token_hex(8))
            log.warning("Redis knows less jobs than have ended: outputs of before stay until `kernelport jobs prune`")
            return []
        seconds, microseconds = self._redis.time()
        before = (seconds - self._keep_s) * MICROSECONDS + microseconds
        return [folder for folder in own if self._made[folder].finished_unix_us <= before]

    def bytes(self) -> int:
        """What the jobs that are gone have made."""
        return sum(made.output_bytes for made in self._made.values())

    def _read(self, folder: str) -> Made | None:
        """What a summary says; None where there is none, or none that can be read now."""
        path = f"{folder}/{SUMMARY}"
        try:
            if self._artifacts.size(path) > _MAX_SUMMARY_BYTES:
                return _NOBODYS
            told: Any = json.loads(self._artifacts.read(path))
            mark = StackMark(str(told["stack"]), int(told["ended"]))
            return Made(mark, int(told["finished_unix_us"]), int(told["progress"]["output_bytes"]))
        except FileNotFoundError:
            return None
        except storage_errors() as error:
            log.warning("cannot read %s: %s", self._artifacts.url(path), error)
            return None
        except (ValueError, LookupError, TypeError):  # no summary of ours, or one of version 0.1.0
            return _NOBODYS
