"""The job store's steps that must happen whole or not at all: the Lua scripts in the folder `lua`.

Each script's first lines say what it takes and gives.
"""

import secrets
from functools import cache
from typing import Any, Literal

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker.lua_files import LuaFiles
from kernelport.broker.queues import job_message, job_queue_key
from kernelport.jobs.states import lua_moves

Name = Literal[
    "append",
    "backlog",
    "census",
    "complete",
    "create",
    "decline",
    "delete",
    "discard",
    "expire",
    "expiring",
    "finish",
    "finishing",
    "hook",
    "hooked",
    "lacking",
    "lost",
    "pin",
    "refuse",
    "renew",
    "replace",
    "resume",
    "seal",
    "shrink",
    "stop",
    "sweeping",
    "swept",
    "take",
    "tick",
]

# A tick makes no more of them; the next one does.
_MOST_TICKETS = 32
_FILES = LuaFiles("kernelport.jobs", moves=lua_moves(), used=LuaFiles("kernelport.access").source("used"))


def run(redis: Redis | AsyncRedis, name: Name, *arguments: str | bytes | float) -> Any:
    """Runs a script: its answer, or with an asyncio client an awaitable of it."""
    return _script(redis, name)(args=arguments)


@cache
def _script(redis: Redis | AsyncRedis, name: Name) -> Any:
    return redis.register_script(_FILES.source(name))


def tick_arguments(deployment: str, live_workers: int) -> list[str | bytes | int]:
    """What the script `tick` takes, with as many new tickets as it may have use for.

    A ticket is the Celery message by which a worker comes to the next slice of a job. It names no job: its bearer gets
    whichever slice is due then. So a cancelled job stops at once, jobs share as their priorities say at every batch,
    and the queue holds no more than workers can take up.
    """
    arguments: list[str | bytes | int] = [deployment, job_queue_key(deployment), live_workers]
    for _ in range(min(live_workers, _MOST_TICKETS)):
        ticket = secrets.token_hex(12)
        arguments += [ticket, job_message(deployment, ticket)]
    return arguments
