"""Every call over HTTP has an id, which its answer carries, and a line of the access log."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernelport.telemetry.metrics import UNKNOWN
from kernelport_api.calls import AccessLog

_MAX_PATH = 200


class Logged:
    """An ASGI application whose calls are logged."""

    def __init__(self, app: ASGIApp, access_log: AccessLog) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = self._access_log.begin(f"{scope['method']} {scope['path'][:_MAX_PATH]}")
        call.route = UNKNOWN  # until one is found
        status = 0

        async def counted_receive() -> Message:
            message = await receive()
            call.bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                name, request_id = call.metadata()
                message["headers"] = [*message.get("headers", ()), (name.encode(), request_id.encode())]
            call.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            if not status:
                self._access_log.cancelled(call)
            elif status >= 400:
                self._access_log.refused(call, status)
            else:
                self._access_log.answered(call)
