"""What callers are told when Redis does not do what it should."""

import inspect
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import OutOfMemoryError, RedisError

from kernelport.broker.connections import reason
from kernelport.errors import KernelPortError, ResourceExhaustedError, UnavailableError
from kernelport_api.turns import Turns

RETRY_AFTER_S = 1.0
_turns = Turns()


def unreachable(error: RedisError, outcome: str = "") -> KernelPortError:
    """The error for a caller whose request Redis did not take.

    Args:
        outcome: what is known of the request, such as that it may run all the same.
    """
    if isinstance(error, OutOfMemoryError):
        return ResourceExhaustedError("the queue is full: Redis is out of memory", retry_after_s=RETRY_AFTER_S)
    so = f"; {outcome}" if outcome else ""
    return UnavailableError(f"the queue cannot be reached: {reason(error)}{so}", retry_after_s=RETRY_AFTER_S)


async def reached_at_once(answer: Awaitable[Any] | Any, outcome: str = "") -> Any:
    """Redis's answer to a call of a model, or the error that its caller is told when there is none.

    Args:
        answer: of a command; redis-py's annotations leave open that it can be awaited.
        outcome: as `unreachable` takes it.
    """
    try:
        return await answer
    except RedisError as error:
        raise unreachable(error, outcome) from error


async def reached(answer: Awaitable[Any] | Any) -> Any:
    """The same for other calls, which ask Redis many times: of all that want to, one asks in each turn of the event
    loop, and calls of models go between them.

    Args:
        answer: as `reached_at_once` takes it.
    """
    try:
        await _turns.take()
    except BaseException:
        if inspect.iscoroutine(answer):
            answer.close()  # it will not be awaited
        raise
    return await reached_at_once(answer)
