"""What callers are told when Redis does not do what it should."""

from redis.exceptions import OutOfMemoryError, RedisError

from kernelport.connections import reason
from kernelport.errors import KernelPortError, ResourceExhaustedError, UnavailableError

RETRY_AFTER_S = 1.0


def unreachable(error: RedisError) -> KernelPortError:
    """The error for a caller whose request Redis did not take."""
    if isinstance(error, OutOfMemoryError):
        return ResourceExhaustedError("the queue is full: Redis is out of memory", retry_after_s=RETRY_AFTER_S)
    return UnavailableError(f"the queue cannot be reached: {reason(error)}", retry_after_s=RETRY_AFTER_S)
