"""What every method of every service has in common: requests that parse, bounds of texts and of calls.

`Infer` has a way of its own, and limits by deployment: see kernelport_api.services.inference.
"""

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from kernelport.telemetry import tracing
from kernelport_api.access.decision import Access
from kernelport_api.calls import AccessLog, Call
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.handling import Handling
from kernelport_api.doors.parsing import parsed
from kernelport_api.doors.texts import with_short_texts

Context = grpc.aio.ServicerContext[Any, Any]

# What such a method begins is followed by a trace.
_QUEUE_WORK = {"ModelInfer", "ReplayDeadLetter", "SubmitJob"}


class Methods:
    """Adds services to a server: pass it to generated code in the server's place.

    Args:
        calls: those of its methods.
    """

    def __init__(self, server: grpc.aio.Server, calls: Calls, access_log: AccessLog, access: Access) -> None:
        self._server = server
        self._access_log = access_log
        self._handling = Handling(calls, access_log, access)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds the methods of a service."""
        self._server.add_generic_rpc_handlers([_Service(self, handler) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds nothing: generated code adds each service as a generic handler, too, and gRPC waits anew for calls of
        every registered method whenever one of any comes in. It saves small requests 7 % of the front door's CPU time.
        """

    def taking_bytes(self, name: str, handler: Any) -> Any:
        """A method's handler, made so that it is given bytes and parses them itself."""
        full_name = name.lstrip("/")
        name = full_name.removeprefix("kernelport.v1.")
        kind: type[Message] = handler.request_deserializer.__self__
        take = self._messages if handler.request_streaming else self._message
        shape = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        behavior = getattr(handler, shape)

        async def unary(received: Any, context: Context) -> Any:
            async with self._handling.of(name, context) as call:
                answer = await behavior(await take(kind, received, call), context)
                self._note_answer(call, answer)
                return answer

        async def stream(received: Any, context: Context) -> AsyncIterator[Any]:
            async with self._handling.of(name, context, lasts=True, is_watched=True) as call:
                async for answer in behavior(await take(kind, received, call), context):
                    self._note_answer(call, answer)
                    yield answer

        async def traced(received: Any, context: Context) -> Any:
            with tracing.call(full_name, context.invocation_metadata()):
                return await unary(received, context)

        is_traced = tracing.is_on and full_name.rpartition("/")[2] in _QUEUE_WORK
        method = stream if inspect.isasyncgenfunction(behavior) else traced if is_traced else unary
        return handler._replace(request_deserializer=None, **{shape: method})

    async def _message(self, kind: type[Message], body: bytes, call: Call) -> Message:
        call.bytes_in += len(body)
        message = with_short_texts(await parsed(kind, body))
        _note_names(call, message)
        return message

    async def _messages(self, kind: type[Message], bodies: AsyncIterator[bytes], call: Call) -> AsyncIterator[Message]:
        async def each() -> AsyncIterator[Message]:
            async for body in bodies:
                yield await self._message(kind, body, call)

        return each()

    def _note_answer(self, call: Call, answer: Message) -> None:
        _note_names(call, answer)
        if self._access_log.tells_all:
            call.bytes_out += answer.ByteSize()


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


def _note_names(call: Call, message: Message) -> None:
    """Notes what a request or an answer tells of what its call is about."""
    job = getattr(message, "job", None)
    spec = getattr(job or message, "spec", None)
    call.request_id = _text(message, "request_id")
    call.job = call.job or _text(message, "job_id") or _text(job, "id")
    call.deployment = call.deployment or _text(message, "deployment") or _text(spec, "deployment")


def _text(message: Message | None, field: str) -> str:
    value = getattr(message, field, "")
    return value if isinstance(value, str) else ""


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"
