"""What every method of every service has in common: requests that parse, texts of bounded length, and a crowd told so.

`Infer` has a way of its own, and limits by deployment: see kernelport_api.services.inference.
"""

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.parsing import parsed
from kernelport_api.doors.texts import with_short_texts

Context = grpc.aio.ServicerContext[Any, Any]


class Methods:
    """Adds services to a server: pass it to generated code in the server's place.

    Args:
        calls: those of its methods.
    """

    def __init__(self, server: grpc.aio.Server, calls: Calls) -> None:
        self._server = server
        self._calls = calls

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds the methods of a service."""
        self._server.add_generic_rpc_handlers([_Service(self, handler) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds nothing: generated code adds each service as a generic handler, too, and gRPC waits anew for calls of
        every registered method whenever one of any comes in. It saves small requests 7 % of the front door's CPU time.
        """

    def taking_bytes(self, name: str, handler: Any) -> Any:
        """A method's handler, made so that it is given bytes and parses them itself."""
        kind: type[Message] = handler.request_deserializer.__self__
        take = _messages if handler.request_streaming else _message
        shape = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        behavior = getattr(handler, shape)

        async def unary(received: Any, context: Context) -> Any:
            try:
                with self._calls:
                    return await behavior(await take(kind, received), context)
            except Exception as error:
                await abort(context, error, name)

        async def stream(received: Any, context: Context) -> AsyncIterator[Any]:
            try:
                with self._calls:
                    async for answer in behavior(await take(kind, received), context):
                        yield answer
            except Exception as error:
                await abort(context, error, name)

        method = stream if inspect.isasyncgenfunction(behavior) else unary
        return handler._replace(request_deserializer=None, **{shape: method})


class _Service(grpc.GenericRpcHandler):
    """A service whose methods are given bytes."""

    def __init__(self, methods: Methods, service: grpc.GenericRpcHandler) -> None:
        self._methods = methods
        self._service = service
        self._known: dict[str, Any] = {}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method; None when it is none of the service."""
        handler = self._known.get(details.method)
        if handler is None and (found := self._service.service(details)) is not None:
            handler = self._known[details.method] = self._methods.taking_bytes(details.method, found)
        return handler


async def _message(kind: type[Message], body: bytes) -> Message:
    return with_short_texts(await parsed(kind, body))


async def _messages(kind: type[Message], bodies: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async def each() -> AsyncIterator[Message]:
        async for body in bodies:
            yield await _message(kind, body)

    return each()


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"
