"""What every route has in common: a body within bounds, a caller who may hang up, and errors in the right shape."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from starlette.datastructures import FormData
from starlette.types import ASGIApp, Receive, Scope, Send

from kernelport.errors import FieldViolation, InvalidArgumentError, in_words
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.http.answers import JSON, Streamed
from kernelport_api.doors.http.bodies import pass_over, read_body, read_form, why_no_json
from kernelport_api.doors.http.errors import Refusal, answer_to
from kernelport_api.doors.http.server import HUNG_UP

log = logging.getLogger(__name__)

FORM = "multipart/form-data"
# In the scope of a call: gives what stands around an answer that goes on for long, which ends with the caller's key.
WHILE_ALLOWED = "kernelport.while_allowed"
_OF_ANY_PAGE = frozenset({FORM, "application/x-www-form-urlencoded", "text/plain"})


class _OverHttp:
    """What the services of the contract ask about a call: there is no gRPC around it."""

    def time_remaining(self) -> None:
        """Its caller tells no deadline."""


OVER_HTTP: Any = _OverHttp()


class CutOffError(Exception):
    """An answer ends before it is whole: whoever reads it must not take it for that."""


class HungUpError(Exception):
    """The caller has gone: nobody is left to be answered."""


class _SaidAlready(logging.Filter):
    """Keeps the server from telling again what the log has of an answer that is cut off."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], CutOffError))


logging.getLogger("uvicorn.error").addFilter(_SaidAlready())


class HttpCall:
    """What a caller of a route sends. Who it is, and when the call came, is with `kernelport_api.calls.current`.

    Attributes:
        scope: as ASGI has it.
        headers: by their names in small letters.
        body: of a route that takes one.
        form: of a route that takes one.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body = b""
        self.form = FormData()

    @property
    def path(self) -> dict[str, str]:
        """What the variable parts of the path are."""
        found: dict[str, str] = self.scope["path_params"]
        return found

    def header(self, name: bytes) -> str:
        """A header; empty when it is not there."""
        return self.headers.get(name, b"").decode("latin-1")

    async def json_or(self, default: Any) -> Any:
        """What the body says; the default when there is none."""
        return await self.json() if self.body else default

    async def json(self) -> Any:
        """What the body says; a large one is read aside from the event loop.

        Raises:
            InvalidArgumentError: it is no JSON.
        """
        try:
            is_large = len(self.body) > SMALL_BYTES
            return await aside(msgspec.json.decode, self.body) if is_large else msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            expected = f"expected JSON: {why_no_json(error, self.body)}"
            raise InvalidArgumentError.of([FieldViolation("body", expected)]) from error


Handle = Callable[[HttpCall], Awaitable[ASGIApp]]


class Endpoint:
    """A handler of calls as an ASGI application.

    Attributes:
        takes: the media types of its bodies; empty for any, None when it takes none.
        summary: what it does.

    Args:
        handle: gives the answer to a call.
        calls: those that it is one of.
        takes: as the attribute.
        most_bytes: of a body, at most.
        most_form_bytes: of a form, which is kept on the disk; 0 for the same.
    """

    def __init__(
        self,
        handle: Handle,
        calls: Calls,
        takes: tuple[str, ...] | None = None,
        most_bytes: int = 2**20,
        most_form_bytes: int = 0,
    ) -> None:
        self._handle = handle
        self._calls = calls
        self.summary: str = handle.__doc__ or ""
        self.takes = takes
        self._most_bytes = most_bytes
        self._most_form_bytes = most_form_bytes or most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call, is_let_in, has_begun = HttpCall(scope), False, False
        try:
            with self._calls:
                is_let_in = True
                if self.takes is not None:
                    kind = _checked_type(call, self.takes)
                    if kind == FORM:
                        call.form = await read_form(call.headers, receive, self._most_form_bytes)
                    else:
                        call.body = await read_body(call.headers, receive, self._most_bytes)
                with _until_hung_up(scope):
                    answer = await self._handle(call)
                    lasts: AbstractContextManager[None] = contextlib.nullcontext()
                    if isinstance(answer, Streamed):
                        await answer.begin()
                        lasts = scope[WHILE_ALLOWED]()
                    has_begun = True
                    with lasts:
                        await answer(scope, receive, send)
        except HungUpError:
            pass
        except Exception as error:
            if has_begun:
                log.warning("an answer to %s is cut off: %s", scope["path"], in_words(error))
                raise CutOffError from error
            if not is_let_in:
                await pass_over(call.headers, receive)
            await answer_to(error, scope)(scope, receive, send)
        finally:
            await call.form.close()


def _checked_type(call: HttpCall, expected: tuple[str, ...]) -> str:
    """The media type of a body.

    Raises:
        Refusal: it is another; where any will do, it is one that a page of any origin may send.
    """
    got = call.header(b"content-type").partition(";")[0].strip().lower()
    if not got and call.header(b"content-length") in ("", "0") and b"transfer-encoding" not in call.headers:
        return got  # there is no body
    if got not in expected if expected else got in _OF_ANY_PAGE:
        known = " or ".join(expected or (JSON, "application/octet-stream"))
        raise Refusal(415, f"Content-Type: expected {known}, got {got or 'none'}")
    return got


@contextlib.contextmanager
def _until_hung_up(scope: Scope) -> Iterator[None]:
    """Ends what the current task does in it, by HungUpError, when the caller hangs up."""
    task, hung_up = asyncio.current_task(), scope[HUNG_UP]
    if task is None:
        raise RuntimeError("expected to be called in a task")

    is_over = False

    def end(_: object) -> None:
        if not is_over:
            task.cancel()

    hung_up.add_done_callback(end)
    try:
        yield
    except asyncio.CancelledError:
        if hung_up.done() and task.uncancel() == 0:
            raise HungUpError from None
        raise
    finally:
        is_over = True
        hung_up.remove_done_callback(end)
