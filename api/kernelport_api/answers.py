"""Turns what a servicer raises into the gRPC status that its caller gets."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc_status import rpc_status

from kernelport.errors import InternalError, KernelPortError, to_status

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Method = Callable[[Any, Any, Any], Awaitable[Answer]]


def answer_errors(method: Method[Answer]) -> Method[Answer]:
    """Wraps a servicer's method: a KernelPortError becomes its status, anything else INTERNAL and a traceback."""

    @functools.wraps(method)
    async def wrapped(self: Any, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Answer:
        try:
            return await method(self, request, context)
        except KernelPortError as error:
            failure = error
        except Exception:
            log.exception("%s failed", method.__name__)
            failure = InternalError("the front door failed; its log has the details")
        await context.abort_with_status(rpc_status.to_status(to_status(failure)))
        raise AssertionError("abort_with_status always raises")

    return wrapped
