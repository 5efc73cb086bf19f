"""What callers over gRPC show of who they are."""

from collections.abc import Iterable
from typing import Any

import grpc

from kernelport_api.access.decision import Shown

_BEARER = "bearer "


def shown(context: grpc.aio.ServicerContext[Any, Any]) -> Shown:
    """The key in the metadata of a call: `authorization`, or as over HTTP; where there is none, the name in the
    certificate of the caller."""
    metadata: Iterable[Any] = context.invocation_metadata() or ()
    found = {name: value for name, value in metadata if name in ("authorization", "x-api-key", "api-key")}
    token = token_of(found.get("authorization", ""), found.get("x-api-key") or found.get("api-key", ""))
    return Shown(token=token, certificate="" if token else _certificate(context), peer=context.peer)


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The name in it, once gRPC has held it to the authorities of clients; empty where none is asked for."""
    names = tuple(context.auth_context().get("x509_common_name", ()))
    return names[0].decode(errors="replace") if names else ""


def token_of(authorization: str, key: str) -> str:
    """The key that two headers tell; empty where they tell none."""
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else key
