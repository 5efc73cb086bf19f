"""Turns what a service raises into the gRPC status that its caller gets."""

import copy
import logging
from typing import Any, NoReturn

import grpc
from grpc_status import rpc_status

from kernelport.broker.stored import StoredError, tell
from kernelport.errors import FieldViolation, InternalError, KernelPortError, to_status
from kernelport.telemetry import logs
from kernelport_api.calls import AccessLog, Call

log = logging.getLogger(__name__)

# An error travels in trailers, of which gRPC takes 8 KiB: the message twice (once with up to three bytes for one), the
# violations once, in base64. Both may echo what the caller sent. What the request's id takes, twice, the message lacks.
_MAX_MESSAGE_BYTES = 1000
_MAX_VIOLATIONS_BYTES = 1500
_MAX_FIELD_BYTES = 200
_MAX_DESCRIPTION_BYTES = 500


async def abort(
    context: grpc.aio.ServicerContext[Any, Any], error: Exception, call: Call, access_log: AccessLog
) -> NoReturn:
    """Ends a call with what went wrong; raises what ends its task. Whatever is no KernelPortError becomes INTERNAL, and
    a traceback in the log."""
    if isinstance(error, grpc.aio.AbortError):
        raise error  # it has been ended
    if isinstance(error, StoredError):
        tell(error)
        error = InternalError(f"what Redis holds cannot be read: {error}")
    if not isinstance(error, KernelPortError):
        log.error("%s failed", call.method, exc_info=error, extra=logs.WITHOUT_TEXT)
        error = InternalError("the front door failed; its log has the details")
    access_log.failed(call, error)
    told = call.metadata()
    bounded = _bounded(error, _MAX_MESSAGE_BYTES - len(told[1]) // 2)
    bounded.request_id = call.request_id
    status = rpc_status.to_status(to_status(bounded))
    await context.abort(status.code, status.details, (*status.trailing_metadata, told))
    raise AssertionError("aborting always raises")


def _bounded(error: KernelPortError, message_bytes: int) -> KernelPortError:
    """A copy of the error, with its texts cut and its last violations dropped where trailers would not hold them."""
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
    bounded.message = _cut(error.message, message_bytes)
    bounded.violations = tuple(violations)
    return bounded


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit else f"{encoded[: limit - 3].decode(errors='ignore')}..."
