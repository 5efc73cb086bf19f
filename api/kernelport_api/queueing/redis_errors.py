"""What callers are told when Redis does not do what it should."""

from redis.exceptions import OutOfMemoryError, RedisError

from kernelport.broker.connections import reason
from kernelport.errors import KernelPortError, ResourceExhaustedError, UnavailableError

RETRY_AFTER_S = 1.0


def unreachable(error: RedisError, outcome: str = "") -> KernelPortError:
    """The error for a caller whose request Redis did not take.

    Args:
        outcome: what is known of the request, such as that it may run all the same.
    """
    if isinstance(error, OutOfMemoryError):
        return ResourceExhaustedError("the queue is full: Redis is out of memory", retry_after_s=RETRY_AFTER_S)
    so = f"; {outcome}" if outcome else ""
    return UnavailableError(f"the queue cannot be reached: {reason(error)}{so}", retry_after_s=RETRY_AFTER_S)
