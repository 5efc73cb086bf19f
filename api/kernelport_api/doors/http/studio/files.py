"""What the page is made of: a few files, which are kept in memory and sent with validators."""

import hashlib
import mimetypes
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from kernelport_api.doors.http.answers import Answer
from kernelport_api.doors.http.endpoint import HttpCall
from kernelport_api.doors.http.errors import Refusal

_FOLDER = Path(__file__).with_name("static")
_PAGE = "index.html"
_POLICY = (
    "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-cache",  # a browser asks each time whether it has the newest
    "content-security-policy": _POLICY,
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class StudioFiles:
    """`/`, and what is below `/studio`."""

    def __init__(self) -> None:
        self._files = {path.name: _File(path) for path in _FOLDER.iterdir()}

    async def page(self, call: HttpCall) -> ASGIApp:
        """The studio."""
        return self._files[_PAGE].answer(call)

    async def file(self, call: HttpCall) -> ASGIApp:
        """A file of the studio."""
        name = call.path["name"]
        if name not in self._files:
            raise Refusal(404, f"the studio has no file {name[:64]!r}")
        return self._files[name].answer(call)


class _File:
    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]
        self._media_type = f"{kind}; charset=utf-8"
        self._etag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'

    def answer(self, call: HttpCall) -> ASGIApp:
        headers = {"etag": self._etag, **_HEADERS}
        known = call.header(b"if-none-match").replace("W/", "").split(",")
        if self._etag in map(str.strip, known):
            return _NotModified(headers)
        return Answer(self._content, self._media_type, headers=headers)


class _NotModified:
    """Says that a browser has the file already; an ASGI application."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 304, "headers": self._headers})
        await send({"type": "http.response.body"})
