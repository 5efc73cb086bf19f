"""Work that would keep the event loop from its other callers: done on one thread, which gives way to the loop, or in
pieces with rests between them."""

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kernelport_api import calls

Result = TypeVar("Result")

# One thread, so that the event loop competes with one alone for the interpreter, however many callers send such work.
_thread = ThreadPoolExecutor(1, "aside")
_rests_until = 0.0
# How long the event loop waits until a thread gives way, this one or those that finish and sweep jobs. Python's own
# 5 ms would be felt at each step of each call.
GIVES_WAY_S = 0.000_1
# While other calls come in, such work rests so many times as long as it has gone on, and no longer than so.
RESTS, MOST_REST_S = 8.0, 0.2
# Whatever is in so many bytes, as a tensor of 64 KiB is, is parsed or looked at within two milliseconds: it need not go
# aside.
SMALL_BYTES = 65 * 2**10


def let_event_loop_go_first() -> None:
    """Has every thread of this process give way to the event loop soon."""
    sys.setswitchinterval(GIVES_WAY_S)


async def aside(work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` gives, done after what was handed in before."""
    return await asyncio.get_running_loop().run_in_executor(_thread, _rested, work, *arguments)


class Pace:
    """Of work that goes on in pieces in the event loop, where none is worth a thread: while other calls come in, it
    rests after each."""

    def __init__(self) -> None:
        self._began, self._others = time.monotonic(), calls.of_models

    async def rest(self) -> None:
        """A piece is done: lets others go on."""
        worked_s = time.monotonic() - self._began
        others, self._others = self._others, calls.of_models
        await asyncio.sleep(min(RESTS * worked_s, MOST_REST_S) if self._others > others else 0)
        self._began = time.monotonic()


def _rested(work: Callable[..., Result], *arguments: object) -> Result:
    global _rests_until
    time.sleep(max(0.0, min(_rests_until - time.monotonic(), MOST_REST_S)))
    began, others = time.monotonic(), calls.of_models
    try:
        return work(*arguments)
    finally:
        ended = time.monotonic()
        _rests_until = ended + RESTS * (ended - began) if calls.of_models > others + 1 else 0.0
