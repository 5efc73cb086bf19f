"""Steps of calls that ask Redis many times, as those of jobs do: one in each turn of the event loop.

Hundreds of such calls at once have as many answers of Redis at once to go on with. All in one turn, they would keep the
calls that need a turn or two of their own from it for a tenth of a second each time.
"""

import asyncio
from collections import deque


class Turns:
    """Lets those who wait go on in the order in which they came, one in each turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self) -> None:
        """Returns at once for the first in a turn of the event loop, for others in a later one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # nobody has taken this turn
            self._loop = loop
            loop.call_soon(self._go_on)
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _go_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was given up
                turn.set_result(None)
                turn.get_loop().call_soon(self._go_on)
                return
        self._loop = None
