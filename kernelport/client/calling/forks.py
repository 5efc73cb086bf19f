"""Keeps gRPC usable in children that are forked.

gRPC makes itself anew in a child, but only when no thread was inside it at the fork. So a fork waits for the calls in
flight, and new calls wait for the fork. Streams need no wait: gRPC parks its thread of theirs. For channels of asyncio
it keeps a thread that it does not park: a child that is forked beside an open one is told so at its first call. So is
one that calls with asyncio whose parent had done so, too, after an earlier fork: gRPC would wait in it for ever, or
abort.
"""

import os
import threading
import weakref
from types import TracebackType
from typing import Protocol

from kernelport.client.calling import FORKS_SUPPORTED
from kernelport.errors import FailedPreconditionError

# What a fork waits for calls in flight at most.
LONGEST_WAIT_S = 5.0


class Polled(Protocol):
    """What may have channels of asyncio."""

    def is_open(self) -> bool:
        """Whether it has any."""
        ...


class Calls:
    """The calls in flight of this process: a context manager to make one in.

    Attributes:
        polled: what may have channels of asyncio.
        opening: held to open a channel, or to close what is open.
    """

    def __init__(self) -> None:
        self.polled: weakref.WeakSet[Polled] = weakref.WeakSet()
        self._used = False
        self._broken = self._will_break = False
        self._has_forked = self._polled_since = self._cannot_poll = False
        self._reset()
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)

    def check(self) -> None:
        """Raises FailedPreconditionError where gRPC cannot be used: it would wait for ever."""
        if self._broken:
            raise FailedPreconditionError(
                "this process was forked while its parent was calling, or had an AsyncClient open, which gRPC does not "
                'survive: fork before the first call, or start processes by the method "spawn" or "forkserver"',
                reason="FORKED",
            )
        self._used = True

    def check_polled(self) -> None:
        """As `check`, for a channel of asyncio that is opened now."""
        self.check()
        if self._cannot_poll:
            raise FailedPreconditionError(
                "this process was forked after its parent had forked before and then used an AsyncClient, which gRPC "
                'does not survive: use a Client here, or start processes by the method "spawn" or "forkserver"',
                reason="FORKED",
            )
        self._polled_since = self._has_forked

    def __enter__(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            if self._forks:
                self._changed.notify_all()

    def _reset(self) -> None:
        self.opening: threading.RLock = threading.RLock()
        self._changed = threading.Condition(threading.Lock())
        self._inside = self._forks = 0

    def _before(self) -> None:
        with self._changed:
            self._forks += 1
            over = self._changed.wait_for(lambda: not self._inside, LONGEST_WAIT_S)
        polled = [each.is_open() for each in list(self.polled)]
        self._will_break = self._used and not (over and FORKS_SUPPORTED and not any(polled))

    def _after(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()
        self._has_forked = True

    def _in_child(self) -> None:
        self._broken = self._broken or self._will_break
        self._cannot_poll = self._cannot_poll or self._polled_since
        self._has_forked = True
        self._reset()


calls: Calls = Calls()
