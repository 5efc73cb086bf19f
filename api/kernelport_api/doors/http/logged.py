"""Every call over HTTP has an id, which its answer carries, and a line of the access log; so has a WebSocket."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernelport.telemetry import tracing
from kernelport.telemetry.metrics import UNKNOWN
from kernelport_api.calls import AccessLog, Call

_MAX_PATH = 200
# Where OpenAI's clients look for the id of a call, such as `error.request_id`.
_OPENAI_NAME = "x-request-id"
# What queues no work has no trace.
_LOOKS = {"GET", "HEAD", "OPTIONS"}
# The status of a call that becomes a WebSocket, and the code with which such a one is closed that went well.
_SWITCHING, _NORMAL_CLOSE = 101, 1000


class Logged:
    """An ASGI application whose calls are logged. Within it a WebSocket is refused like any call."""

    def __init__(self, app: ASGIApp, access_log: AccessLog) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not tracing.is_on or scope.get("method") in _LOOKS:
            await self._handle(scope, receive, send)
            return
        with tracing.http_call(scope.get("method", "GET"), scope["headers"]) as span:
            call, status = await self._handle(scope, receive, send)
            tracing.answered(span, call.route, status)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> tuple[Call, int]:
        """Returns the call, and the status of its answer; 0 when it got none."""
        is_socket = scope["type"] == "websocket"
        call = self._access_log.begin(f"{'GET' if is_socket else scope['method']} {scope['path'][:_MAX_PATH]}")
        call.peer = ":".join(map(str, scope["client"] or ()))
        call.route = UNKNOWN  # until one is found
        status = 0

        async def counted_receive() -> Message:
            message = await receive()
            call.bytes_in += _size(message)
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind in ("http.response.start", "websocket.accept"):
                status = message.get("status", _SWITCHING)
                name, request_id = call.metadata()
                names = (name, _OPENAI_NAME) if scope["path"].startswith("/v1/") else (name,)
                ids = ((each.encode(), request_id.encode()) for each in names)
                message["headers"] = [*message.get("headers", ()), *ids]
            elif kind == "websocket.close" and message["code"] != _NORMAL_CLOSE:
                status = message["code"]
            call.bytes_out += _size(message)
            await send({**message, "type": f"websocket.{kind}"} if is_socket and kind.startswith("http.") else message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            if not status:
                self._access_log.cancelled(call)
            elif status >= 400:
                self._access_log.refused(call, status)
            else:
                self._access_log.answered(call)
        return call, status


def _size(message: Message) -> int:
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")
