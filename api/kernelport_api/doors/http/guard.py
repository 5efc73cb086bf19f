"""Browsers are callers that somebody else steers: what a page of another origin may not do here.

A page can post forms and plain text to any address that its browser reaches, open WebSockets there, and under a name of
its own that it lets point here (DNS rebinding) read the answers. So calls must name this server as its callers do, and
what changes anything must not come from another origin, unless that is configured.
"""

import functools
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernelport.config.settings import is_loopback
from kernelport_api.doors.http.errors import Refusal, answer_to

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = b"GET, HEAD, POST, PUT, DELETE"
_PREFLIGHT_S = b"600"
# What pages of other origins may read of an answer beside its body.
_EXPOSED = (
    b"kernelport-request-id, x-request-id, openai-processing-ms, retry-after, inference-header-content-length, "
    b"content-disposition"
)


class Guard:
    """ASGI middleware around all routes.

    Args:
        hosts: names and addresses by which callers may call this server, beside those of loopback and the address that
            they have connected to.
        origins: whose pages may call it.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host, origin = headers.get(b"host", b""), headers.get(b"origin")
        refused = self._refusal(scope, host, origin, headers.get(b"sec-fetch-site", b"none"))
        if refused is not None:
            await answer_to(refused, scope)(scope, receive, send)
        elif origin is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._preflight(origin, headers.get(b"access-control-request-headers", b""), send)
        else:
            await self._app(scope, receive, self._telling(origin, send))

    def _refusal(self, scope: Scope, host: bytes, origin: bytes | None, fetched_from: bytes) -> Refusal | None:
        name = _name_of(host)
        if not (name in self._hosts or _is_loopback(name) or name == (scope["server"] or ("",))[0]):
            expected = "expected a loopback name, the address listened on, or one of KERNELPORT_HTTP_HOSTS"
            return Refusal(403, f"Host: {expected}; got {host.decode('latin-1')!r}")
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return None
        if origin is not None:
            if self._is_configured(origin) or _authority_of(origin) == host.lower():
                return None
            expected = "expected this server's own, or one of KERNELPORT_HTTP_ORIGINS"
            return Refusal(403, f"Origin: {expected}; got {origin.decode('latin-1')!r}")
        if fetched_from not in (b"same-origin", b"none"):
            return Refusal(403, f"Sec-Fetch-Site: expected same-origin, got {fetched_from.decode('latin-1')!r}")
        return None

    def _is_configured(self, origin: bytes) -> bool:
        return origin.decode("latin-1").lower() in self._origins

    async def _preflight(self, origin: bytes, wanted: bytes, send: Send) -> None:
        headers = [(b"vary", b"Origin")]
        if self._is_configured(origin):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", wanted),
                (b"access-control-max-age", _PREFLIGHT_S),
            ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body"})

    def _telling(self, origin: bytes, send: Send) -> Send:
        """A `send` that says in an answer's headers that pages of a configured origin may read it."""
        if not self._is_configured(origin):
            return send
        added = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return telling


_is_loopback = functools.lru_cache(256)(is_loopback)


@functools.lru_cache(256)
def _name_of(host: bytes) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host.decode('latin-1')}").hostname or "").lower()
    except ValueError:
        return ""


def _authority_of(origin: bytes) -> bytes:
    return origin.lower().partition(b"://")[2]
