"""One autoscaler acts at a time: a lock in Redis with a fencing token.

Whoever takes the lock gets a number higher than any before. Each change of what is known of the machines is made by a
script that looks whether the number is still the lock's: one that was paused while another took over changes nothing.
"""

import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from kernelport.broker import keys
from kernelport.broker.lua_files import LuaFiles

TTL_S = 60.0
# It stops acting this long before Redis gives the lock away, by its own clock.
MARGIN_S = 5.0

LUA = LuaFiles("kernelport_ops.autoscale")


class FencedError(Exception):
    """Another autoscaler has taken over, or may have."""


class Lock:
    """The lock of one fleet."""

    def __init__(self, redis: Redis, fleet: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._hold: Any = redis.register_script(LUA.source("hold_lock"))
        self._release: Any = redis.register_script(LUA.source("release_lock"))
        self._keys = [keys.autoscale_lock(fleet), keys.autoscale_fence(fleet)]
        self._monotonic = monotonic
        self._valid_until = 0.0
        self.token = 0

    def hold(self) -> bool:
        """Takes the lock or keeps it; False while another has it."""
        asked_at = self._monotonic()
        held = int(self._hold(keys=self._keys, args=[self.token, round(TTL_S * 1000), keys.FENCE_TTL_S]))
        if held:
            self.token = held
            self._valid_until = asked_at + TTL_S - MARGIN_S
        return bool(held)

    def check(self) -> None:
        """Raises FencedError unless the lock is certainly still held."""
        if self._monotonic() >= self._valid_until:
            raise FencedError("the lock may have passed to another autoscaler")

    def release(self) -> None:
        """Gives the lock up, if it is held."""
        self._release(keys=self._keys[:1], args=[self.token])
        self._valid_until = 0.0
