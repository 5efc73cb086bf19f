"""Turns what a servicer raises into the gRPC status that its caller gets."""

import copy
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc_status import rpc_status

from kernelport.broker.stored import StoredError, tell
from kernelport.errors import FieldViolation, InternalError, KernelPortError, to_status

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Method = Callable[[Any, Any, Any], Awaitable[Answer]]

# An error travels in trailers, of which gRPC takes 8 KiB: the message twice (once with up to three bytes for one), the
# violations once, in base64. Both may echo what the caller sent.
_MAX_MESSAGE_BYTES = 1000
_MAX_VIOLATIONS_BYTES = 1500
_MAX_FIELD_BYTES = 200
_MAX_DESCRIPTION_BYTES = 500


def answer_errors(method: Method[Answer]) -> Method[Answer]:
    """Wraps a servicer's method: a KernelPortError becomes its status, anything else INTERNAL and a traceback."""

    @functools.wraps(method)
    async def wrapped(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        try:
            return await method(self, request, context)
        except Exception as error:
            await abort(context, error, method.__name__)
            raise AssertionError("aborting always raises") from None

    return wrapped


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception, method: str) -> None:
    """Ends a call with what went wrong; raises what ends its task."""
    if isinstance(error, grpc.aio.AbortError):
        raise error  # it has been ended
    if isinstance(error, StoredError):
        tell(error)
        error = InternalError(f"what Redis holds cannot be read: {error}")
    if not isinstance(error, KernelPortError):
        log.error("%s failed", method, exc_info=error)
        error = InternalError("the front door failed; its log has the details")
    await context.abort_with_status(rpc_status.to_status(to_status(_bounded(error))))


def _bounded(error: KernelPortError) -> KernelPortError:
    """The error, with its texts cut and its last violations dropped where trailers would not hold them."""
    violations: list[FieldViolation] = []
    size = 0
    for violation in error.violations:
        field = _cut(violation.field, _MAX_FIELD_BYTES)
        description = _cut(violation.description, _MAX_DESCRIPTION_BYTES)
        size += len(field.encode()) + len(description.encode())
        if size > _MAX_VIOLATIONS_BYTES:
            break
        violations.append(FieldViolation(field, description))
    bounded = copy.copy(error)
    bounded.message = _cut(error.message, _MAX_MESSAGE_BYTES)
    bounded.violations = tuple(violations)
    return bounded


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else f"{encoded[: limit - 3].decode(errors='ignore')}..."
