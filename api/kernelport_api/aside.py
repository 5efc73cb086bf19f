"""Work that would keep the event loop from its other callers: done on one thread, which gives way to the loop."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

# One thread, so that the event loop competes with one alone for the interpreter, however many callers send such work.
_thread = ThreadPoolExecutor(1, "aside")
# How long the event loop waits until the thread gives way. Python's own 5 ms would be felt at each step of each call.
GIVES_WAY_S = 0.000_5
# Whatever is in so many bytes, as a tensor of 64 KiB is, is parsed or looked at within two milliseconds: it need not go
# aside.
SMALL_BYTES = 65 * 2**10


async def aside(work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` gives, done after what was handed in before."""
    return await asyncio.get_running_loop().run_in_executor(_thread, _giving_way, work, *arguments)


def _giving_way(work: Callable[..., Result], *arguments: object) -> Result:
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(GIVES_WAY_S)
    try:
        return work(*arguments)
    finally:
        sys.setswitchinterval(usual_s)
