"""The job store's steps that must happen whole or not at all: the Lua scripts in the folder `lua`.

Each script's first lines say what it takes and gives.
"""

from functools import cache
from typing import Any, Literal

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.broker.lua_files import LuaFiles
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


_FILES = LuaFiles("kernelport.jobs", moves=lua_moves())


def run(redis: Redis | AsyncRedis, name: Name, *arguments: str | bytes | float) -> Any:
    """Runs a script: its answer, or with an asyncio client an awaitable of it."""
    return _script(redis, name)(args=arguments)


@cache
def _script(redis: Redis | AsyncRedis, name: Name) -> Any:
    return redis.register_script(_FILES.source(name))
