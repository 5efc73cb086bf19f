"""The calls that a door handles: how many there may be, and how they end when the front door stops."""

import asyncio
import math
from types import TracebackType
from typing import Any

from kernelport.errors import ResourceExhaustedError, UnavailableError

RETRY_AFTER_S, FULL_RETRY_AFTER_S = 0.2, 1.0
# The reason that callers are told when the front door stops.
STOPPING = "STOPPING"


class Calls:
    """The calls that are being handled: `with calls:` stands around the handling of each.

    Args:
        most: how many there may be.

    Attributes:
        refused_at: when the server last refused one because it stops, in seconds of the event loop's clock.
        is_refusing: whether it lets none in, because it stops.

    Raises:
        ResourceExhaustedError: on entry, when there are too many.
        UnavailableError: on entry, when the server stops; at the end, of one that it has ended.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.refused_at = 0.0
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_refusing = False
        self._are_sent_away = asyncio.Event()
        self._is_over = False

    def __enter__(self) -> None:
        if self.is_refusing:
            self.refused_at = asyncio.get_running_loop().time()
            raise _stopping("the front door stops: try again at another one, or once it is back")
        if len(self._tasks) >= self._most:
            found = f"the front door answers {self._most:,} calls at once, which is the limit"
            raise ResourceExhaustedError(found, retry_after_s=FULL_RETRY_AFTER_S)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("expected to be called in a task that handles a call")
        self._tasks.add(task)
        # Not on the way out: what is left of a stream whose caller has gone may be ended in another task.
        task.add_done_callback(self._tasks.discard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_over and isinstance(error, asyncio.CancelledError):
            raise _stopping("the front door has stopped; the request may still run") from None

    def refuse(self) -> None:
        """Lets none in from now on."""
        self.is_refusing = True
        self.refused_at = asyncio.get_running_loop().time()

    async def wait_to_be_told(self) -> None:
        """Holds one that has come while none is let in, until callers are sent away: told at once, it would come back
        here again and again, over the connection that it has."""
        self.refused_at = asyncio.get_running_loop().time()
        await self._are_sent_away.wait()

    def send_away(self) -> None:
        """Connections have been told to go elsewhere: so are those who wait for it."""
        self._are_sent_away.set()

    async def finished(self, until: float) -> None:
        """Returns when none is in flight, or at a time of the event loop."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, until - asyncio.get_running_loop().time()))

    def end(self) -> None:
        """Ends those that are still in flight: they are told so."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()


def _stopping(what: str) -> UnavailableError:
    return UnavailableError(what, retry_after_s=RETRY_AFTER_S, reason=STOPPING)
