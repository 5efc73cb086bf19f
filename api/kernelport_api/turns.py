"""Steps that are one in each turn of the event loop: of calls that ask Redis many times, as those of jobs do, and of
messages so large that each step copies megabytes.

Hundreds of such calls at once have as many answers of Redis at once to go on with. All in one turn, they would keep the
calls that need a turn or two of their own from it for a tenth of a second each time. While models are called, there are
turns without such a step, too, for `RESTS` times as long as the turn with the last one took: gRPC hands over one call
in two turns, so that long ones make a queue before the door.
"""

import asyncio
import time
from collections import deque

from kernelport_api import calls
from kernelport_api.aside import MOST_REST_S, RESTS

# Copying so much keeps the event loop from others for some milliseconds.
LARGE_BYTES = 8 * 2**20


class Turns:
    """Lets those who wait go on in the order in which they came, one in each turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._others = 0

    async def take(self) -> None:
        """Returns at once for the first in a turn of the event loop, for others in a later one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # nobody has taken this turn
            self._loop = loop
            self._begin()
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin(self) -> None:
        """A step begins: the next turn is soon enough to see how long this one has taken."""
        self._began = time.monotonic()
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        others, self._others = self._others, calls.of_models
        if self._others == others:
            self._go_on()
            return
        took_s = time.monotonic() - self._began
        asyncio.get_running_loop().call_later(min(RESTS * took_s, MOST_REST_S), self._go_on)

    def _go_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was given up
                turn.set_result(None)
                self._begin()
                return
        self._loop = None


_large = Turns()


async def turn_if_large(size: int) -> None:
    """Waits for a turn before a message of `size` bytes is copied, unless it is small."""
    if size >= LARGE_BYTES:
        await _large.take()
