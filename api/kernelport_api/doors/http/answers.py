"""Answers of the HTTP door."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

JSON = "application/json"
# What is handed to a connection at once: a caller that does not read holds up so much.
_PIECE_BYTES = 2**20
# Up to here a copy takes less than handing on another part.
_JOINED_BYTES = 16 * 2**10
Part = bytes | memoryview


class Answer:
    """A whole answer; an ASGI application.

    Args:
        body: its bytes, or parts of them, which are sent as they are.
    """

    def __init__(
        self,
        body: Part | Sequence[Part],
        media_type: str = JSON,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._parts = [body] if isinstance(body, (bytes, memoryview)) else body
        self._status = status
        size = sum(map(len, self._parts))
        if size <= _JOINED_BYTES:
            self._parts = [b"".join(self._parts)]
        self._headers = [(b"content-type", media_type.encode()), (b"content-length", str(size).encode())]
        self._headers += [
            (name.encode(), value.encode("latin-1", "replace")) for name, value in (headers or {}).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        *first, last = _pieces(self._parts)
        for part in first:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})


def _pieces(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        if len(part) <= _PIECE_BYTES:
            yield part
            continue
        view = memoryview(part)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


class Streamed:
    """An answer that is sent as it is made. Its status line waits for the first piece; what goes wrong after that cuts
    the connection, since an end would say that the answer is whole."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str]) -> None:
        self._pieces = pieces
        self._headers = [(b"content-type", media_type.encode())]
        self._headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]

    async def begin(self) -> None:
        """Waits for the first piece; raises what goes wrong with it."""
        self._first = await anext(self._pieces, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        async with contextlib.aclosing(self._pieces):
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def json_answer(value: Any, status: int = 200) -> Answer:
    """A value as JSON."""
    return Answer(msgspec.json.encode(value), status=status)
