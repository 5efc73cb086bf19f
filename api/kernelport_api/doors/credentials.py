"""What callers show of who they are, in the words of each protocol."""

from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

import grpc
from starlette.types import Scope

from kernelport_api.access.decision import Shown

COOKIE, SIGNATURE = "kernelport-session", "signature"
_BEARER = "bearer "
_MOST_FIELDS = 64


def shown_over_grpc(context: grpc.aio.ServicerContext[Any, Any]) -> Shown:
    """The key in the metadata of a call: `authorization`, or as over HTTP; where there is none, the name in the
    certificate of the caller."""
    metadata: Iterable[Any] = context.invocation_metadata() or ()
    found = {name: value for name, value in metadata if name in ("authorization", "x-api-key", "api-key")}
    token = token_of(found.get("authorization", ""), found.get("x-api-key") or found.get("api-key", ""))
    return Shown(token=token, certificate="" if token else _certificate(context), peer=context.peer)


def shown_over_http(scope: Scope) -> Shown:
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


def token_of(authorization: str, key: str) -> str:
    """The key that two headers tell; empty where they tell none."""
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else key


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The name in it, once gRPC has held it to the authorities of clients; empty where none is asked for."""
    names = tuple(context.auth_context().get("x509_common_name", ()))
    return names[0].decode(errors="replace") if names else ""


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
