"""What callers over HTTP show of who they are."""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import Scope

from kernelport_api.access.decision import Shown
from kernelport_api.doors.grpc.credentials import token_of

COOKIE, SIGNATURE = "kernelport-session", "signature"
_MOST_FIELDS = 64


def shown(scope: Scope) -> Shown:
    """The key in the headers of a call, the session in its cookie, or the signature of its address."""
    headers: dict[bytes, bytes] = dict(scope["headers"])

    def header(name: bytes) -> str:
        return headers.get(name, b"").decode("latin-1").strip()

    return Shown(
        token=token_of(header(b"authorization"), header(b"x-api-key") or header(b"api-key")),
        session=_session(header(b"cookie")),
        signature=_signature(scope["query_string"]),
        path=scope["path"],
    )


def _session(cookie: str) -> str:
    if COOKIE not in cookie:
        return ""
    try:
        morsel = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _signature(query: bytes) -> str:
    if SIGNATURE.encode() not in query:
        return ""
    try:
        found = parse_qs(query.decode("latin-1"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return ""
    return found.get(SIGNATURE, [""])[-1]
