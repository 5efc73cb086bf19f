"""The job store's steps that must happen whole or not at all: the Lua scripts in the folder `lua`.

Each script's first lines say what it takes and gives. The table of kernelport.jobs.states and `lua/common.lua` stand
before every one.
"""

from functools import cache
from importlib import resources
from typing import Any, Literal

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from kernelport.jobs.states import lua_moves

Name = Literal[
    "append",
    "backlog",
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
    "renew",
    "replace",
    "resume",
    "seal",
    "stop",
    "sweeping",
    "swept",
    "take",
    "tick",
]


def run(redis: Redis | AsyncRedis, name: Name, *arguments: str | bytes | float) -> Any:
    """Runs a script: its answer, or with an asyncio client an awaitable of it."""
    return _script(redis, name)(args=arguments)


@cache
def _script(redis: Redis | AsyncRedis, name: Name) -> Any:
    return redis.register_script(f"{lua_moves()}\n{_source('common')}\n{_source(name)}")


@cache
def _source(name: str) -> str:
    return (resources.files("kernelport.jobs") / "lua" / f"{name}.lua").read_text()
