"""Every method and every route: nobody gets in without a key that lets them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from redis.asyncio import Redis

from kernelport.access.principals import ADMIN, SCOPES
from kernelport.config.settings import Settings
from kernelport.errors import PermissionDeniedError
from kernelport_api.access.decision import Access, Shown
from kernelport_api.access.needs import METHODS, ROUTES, TABLE, Need
from kernelport_api.calls import AccessLog
from tests.access.conftest import Guarded
from tests.http.calls import Reply, ask

_CODES = grpc.StatusCode
_ROUTES = {route.replace(":path}", "}"): need for route, need in ROUTES.items()}
_NEEDS = {**METHODS, **_ROUTES}
_SHAPES = {
    "/v1/": lambda told: {"message", "type", "param", "code"} <= told["error"].keys(),
    "/v2": lambda told: isinstance(told["error"], str),
    "": lambda told: {"reason", "message", "violations"} <= told["error"].keys(),
}


def test_every_method_is_in_the_table_and_no_other(guarded: Guarded) -> None:
    _expect_rows(METHODS, _methods(guarded))


def test_every_route_is_in_the_table_and_no_other(guarded: Guarded) -> None:
    _expect_rows(_ROUTES, _routes(guarded))


async def test_the_log_names_what_is_refused_for_want_of_a_row(caplog: pytest.LogCaptureFixture) -> None:
    AccessLog("door").begin("GET /api/mood")
    with pytest.raises(PermissionDeniedError):
        Access(Redis(), Settings()).decide(None, Shown)
    assert caplog.messages == [f"GET /api/mood is refused to everybody: it has no row in {TABLE}"]


def test_no_method_answers_without_a_key(guarded: Guarded) -> None:
    refused = {name: _call(guarded, path) for name, path in _methods(guarded).items() if not _is_open(_need(name))}
    assert set(refused.values()) == {_CODES.UNAUTHENTICATED}
    assert len(refused) > 40


def test_no_method_answers_a_key_that_nobody_has_made(guarded: Guarded) -> None:
    token = guarded.first[:-4] + "AAAA"
    answers = {_call(guarded, path, token) for name, path in _methods(guarded).items() if not _is_open(_need(name))}
    assert answers == {_CODES.UNAUTHENTICATED}


def test_no_method_answers_a_key_of_another_scope(guarded: Guarded) -> None:
    for name, path in _methods(guarded).items():
        for scope in _lacking(_need(name)):
            assert _call(guarded, path, guarded.scoped[scope]) is _CODES.PERMISSION_DENIED, (name, scope)


def test_no_route_answers_without_a_key(guarded: Guarded) -> None:
    for route in _routes(guarded):
        if not _is_open(_need(route)):
            reply = _ask(guarded, route)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), route
            shape = next(fits for prefix, fits in _SHAPES.items() if route.split()[1].startswith(prefix))
            assert shape(reply.json()), route


def test_no_route_answers_a_key_of_another_scope(guarded: Guarded) -> None:
    for route in _routes(guarded):
        for scope in _lacking(_need(route)):
            assert _ask(guarded, route, guarded.scoped[scope]).status == 403, (route, scope)


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "api-key"])
def test_a_key_comes_in_any_of_three_headers(header: str, guarded: Guarded) -> None:
    value = f"Bearer {guarded.first}" if header == "Authorization" else guarded.first
    assert ask(guarded.stack.url, "GET", "/api/jobs", headers={header: value}).status == 200


def test_health_needs_no_key(guarded: Guarded) -> None:
    assert ask(guarded.stack.url, "GET", "/health").status == 200
    assert _call(guarded, "/grpc.health.v1.Health/Check") is _CODES.OK


def _expect_rows(rows: Iterable[str], served: Iterable[str]) -> None:
    """Holds the table against what the front door serves."""
    expected, found = set(served), set(rows)
    missing, needless = ", ".join(sorted(expected - found)), ", ".join(sorted(found - expected))
    assert found == expected, f"expected a row in {TABLE} for {missing or 'no more'}, none for {needless or 'others'}"


def _methods(guarded: Guarded) -> Mapping[str, str]:
    """The paths of all methods that the server tells of, by their names in the table."""
    return {path.lstrip("/").removeprefix("kernelport.v1."): path for path in _paths(guarded)}


def _paths(guarded: Guarded) -> Iterator[str]:
    metadata = (("authorization", f"Bearer {guarded.first}"),)
    request = reflection_pb2.ServerReflectionRequest
    with grpc.insecure_channel(guarded.stack.target) as channel:
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (listed,) = reflect(iter([request(list_services="")]), metadata=metadata)
        for service in listed.list_services_response.service:
            (answer,) = reflect(iter([request(file_containing_symbol=service.name)]), metadata=metadata)
            for serialized in answer.file_descriptor_response.file_descriptor_proto:
                file = FileDescriptorProto.FromString(serialized)
                for found in file.service:
                    if f"{file.package}.{found.name}" == service.name:
                        yield from (f"/{service.name}/{method.name}" for method in found.method)


def _routes(guarded: Guarded) -> list[str]:
    told = ask(guarded.stack.url, "GET", "/openapi.json", headers={"api-key": guarded.first}).json()
    described = [f"{method.upper()} {path}" for path, methods in told["paths"].items() for method in methods]
    return [*described, "GET /openapi.json", "GET /docs", "GET /", "GET /studio/{name}"]


def _need(name: str) -> Need:
    """What a method or a route asks for. One without a row is passed over: the tests of the table tell of it."""
    return _NEEDS.get(name, Need("nothing", is_open=True))


def _is_open(need: Need) -> bool:
    return need.is_open or need.setting == "open_health"


def _lacking(need: Need) -> list[str]:
    """The scopes that do not suffice by themselves."""
    return [] if _is_open(need) else [scope for scope in SCOPES if scope not in (*need.scopes, ADMIN)]


def _call(guarded: Guarded, path: str, token: str = "") -> grpc.StatusCode:
    """What a call without a body ends with."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(guarded.stack.target) as channel:
        call = channel.stream_stream(path)(iter([b""]), timeout=20, metadata=metadata)
        try:
            for _ in call:
                break
        except grpc.RpcError as error:
            return error.code()
        return _CODES.OK


def _ask(guarded: Guarded, route: str, token: str = "") -> Reply:
    method, path = route.split()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return ask(guarded.stack.url, method, re.sub(r"{\w+}", "x", path), b"" if method == "POST" else None, headers)
