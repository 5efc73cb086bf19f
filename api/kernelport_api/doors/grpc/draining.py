"""Stops a gRPC server without a call that is cancelled.

gRPC by itself answers CANCELLED to calls that come while it shuts down and to those that outlast its grace time, as if
their callers had given them up. So callers are sent away first: whoever calls is told UNAVAILABLE and when to try
again. Once hardly anybody calls, connections get a GOAWAY and calls in flight finish. What is left just before the time
is over is told UNAVAILABLE, too.
"""

import asyncio
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc

from kernelport.errors import ResourceExhaustedError, UnavailableError

RETRY_AFTER_S, CROWD_RETRY_AFTER_S = 0.2, 1.0
# Callers count as gone when none has called for so long; a client that does not heed what it is told is not waited for.
QUIET_S, PATIENCE_S = 0.1, 1.0
# So long before the time is over, what is left is told.
MARGIN_S = 1.0


class Calls:
    """The calls that are being handled: `with calls:` stands around the handling of each.

    Args:
        most: how many there may be.

    Attributes:
        refused_at: when the server last refused one because it stops, in seconds of the event loop's clock.

    Raises:
        ResourceExhaustedError: on entry, when there are too many.
        UnavailableError: on entry, when the server stops; at the end, of one that it has ended.
    """

    def __init__(self, most: float = math.inf) -> None:
        self.refused_at = 0.0
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_refusing = False
        self._is_over = False

    def __enter__(self) -> None:
        if self._is_refusing:
            self.refused_at = asyncio.get_running_loop().time()
            raise _stopping("the front door stops")
        if len(self._tasks) >= self._most:
            found = f"the front door answers {self._most:,} calls at once, which is the limit"
            raise ResourceExhaustedError(found, retry_after_s=CROWD_RETRY_AFTER_S)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("expected to be called in the task in which gRPC handles a call")
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
        self._is_refusing = True
        self.refused_at = asyncio.get_running_loop().time()

    async def finished(self, until: float) -> None:
        """Returns when none is in flight, or at a time of the event loop."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, until - asyncio.get_running_loop().time()))

    def end(self) -> None:
        """Ends those that are still in flight: they are told so."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()


async def stop(server: grpc.aio.Server, calls: Sequence[Calls], watches: Calls, stop_s: float) -> None:
    """Stops a server within `stop_s` seconds.

    Args:
        calls: those that are waited for.
        watches: those that would go on for ever.
    """
    loop = asyncio.get_running_loop()
    margin_s = min(MARGIN_S, stop_s / 2)
    ends_at = loop.time() + stop_s - margin_s
    patient_until = min(loop.time() + PATIENCE_S, ends_at)
    for each in calls:
        each.refuse()
    while True:
        quiet_s = min(max(each.refused_at for each in calls) + QUIET_S, patient_until) - loop.time()
        if quiet_s <= 0:
            break
        await asyncio.sleep(quiet_s)
    stopped = asyncio.create_task(server.stop(max(0.0, ends_at - loop.time()) + margin_s))
    for each in calls:
        await each.finished(ends_at)
    for each in (*calls, watches):
        each.end()
    await stopped


def _stopping(what: str) -> UnavailableError:
    return UnavailableError(what, retry_after_s=RETRY_AFTER_S, reason="STOPPING")
