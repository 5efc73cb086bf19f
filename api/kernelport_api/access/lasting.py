"""Calls that go on for long, such as streams: each ends with what has let it begin."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kernelport.errors import KernelPortError


class _Lasting:
    """One of them.

    Attributes:
        refusal: why it may not go on; None as long as it may.
    """

    def __init__(self, task: asyncio.Task[Any], check: Callable[[], object]) -> None:
        self.task = task
        self.check = check
        self.refusal: KernelPortError | None = None


class LastingCalls:
    """The calls that are looked at again while they go on."""

    def __init__(self) -> None:
        self._calls: set[_Lasting] = set()

    @contextmanager
    def watched(self, check: Callable[[], object]) -> Iterator[None]:
        """Stands around what the current task does for such a call.

        Args:
            check: raises the error that is to end it.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("expected to be called in a task that handles a call")
        call = _Lasting(task, check)
        self._calls.add(call)
        try:
            yield
        except asyncio.CancelledError:
            if call.refusal is not None and task.uncancel() == 0:
                raise call.refusal from None
            raise
        finally:
            self._calls.discard(call)

    def check(self) -> None:
        """Ends those that may not go on."""
        for call in [*self._calls]:
            try:
                call.check()
            except KernelPortError as error:
                call.refusal = error
                self._calls.discard(call)
                call.task.cancel()
