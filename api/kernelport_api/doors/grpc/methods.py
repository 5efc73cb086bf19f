"""What every method of every service has in common: requests that parse, texts of bounded length, and a crowd told so.

`Infer` has a way of its own, and limits by deployment: see kernelport_api.services.inference.
"""

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.limits import MAX_NAME, MAX_REASON, MAX_REQUEST_ID, MAX_TOKEN
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.parsing import parsed

Context = grpc.aio.ServicerContext[Any, Any]

# By the name of the field, in characters.
_LONGEST: Mapping[str, int] = {
    "deployment": MAX_NAME,
    "id": MAX_NAME,
    "item_id": MAX_NAME,
    "job_id": MAX_NAME,
    "name": MAX_NAME,
    "page_token": MAX_TOKEN,
    "reason": MAX_REASON,
    "request_id": MAX_REQUEST_ID,
}


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
    message = await parsed(kind, body)
    if violations := list(_long_texts(message)):
        raise InvalidArgumentError.of(violations)
    return message


async def _messages(kind: type[Message], bodies: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async def each() -> AsyncIterator[Message]:
        async for body in bodies:
            yield await _message(kind, body)

    return each()


def _long_texts(message: Message) -> Iterator[FieldViolation]:
    for field, value in message.ListFields():
        most = _LONGEST.get(field.name)
        if most is not None and isinstance(value, str) and len(value) > most:
            yield FieldViolation(field.name, f"expected at most {most} characters, got {len(value)}")


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"
