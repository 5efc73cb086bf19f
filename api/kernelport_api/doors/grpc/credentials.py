"""What callers over gRPC show of who they are."""

from collections.abc import Iterable
from typing import Any

import grpc

from kernelport_api.access.decision import Shown

_BEARER = "bearer "


def shown(context: grpc.aio.ServicerContext[Any, Any]) -> Shown:
    """The key in the metadata of a call: `authorization`, or as over HTTP."""
    metadata: Iterable[Any] = context.invocation_metadata() or ()
    found = {name: value for name, value in metadata if name in ("authorization", "x-api-key", "api-key")}
    token = token_of(found.get("authorization", ""), found.get("x-api-key") or found.get("api-key", ""))
    return Shown(token=token, peer=context.peer)


def token_of(authorization: str, key: str) -> str:
    """The key that two headers tell; empty where they tell none."""
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else key
