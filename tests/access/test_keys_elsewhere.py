"""The life of a key as other callers lead it: over HTTP, and by the asyncio client."""

from collections.abc import Mapping
from typing import Any

import pytest

from kernelport import AsyncClient, NotFoundError
from tests.access.conftest import Guarded
from tests.http.calls import ask

FIELDS = {"name": "over-http", "scopes": ["infer"], "tenant": "web", "deployments": ["identity-onnx"]}


def test_a_key_lives_over_http(guarded: Guarded) -> None:
    made = _ask(guarded, "POST", "/api/keys", {**FIELDS, "quotas": {"calls": 3}}, status=201)
    assert {name: made[name] for name in FIELDS} == FIELDS
    assert _names(guarded) >= {"first", "over-http"}
    assert "token" not in str(_ask(guarded, "GET", "/api/keys"))

    rotated = _ask(guarded, "POST", "/api/keys/over-http/rotate", {"grace_s": 0})
    assert (rotated["id"], rotated["token"] != made["token"]) == (made["id"], True)

    assert _ask(guarded, "DELETE", "/api/keys/over-http") == {"key": "over-http", "revoked": True}
    assert "over-http" not in _names(guarded)
    again = _ask(guarded, "DELETE", "/api/keys/over-http", status=404)
    assert again["error"]["reason"] == "KEY_NOT_FOUND"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scopes": "infer"}, "scopes"),
        ({"scopes": [1]}, "scopes"),
        ({"scopes": ["infer"], "expires_unix_us": "tomorrow"}, "expires_unix_us"),
        ({"scopes": ["infer"], "expires_unix_us": 2**70}, "expires_unix_us"),
        ({"scopes": ["infer"], "quotas": {"calls": "many"}}, "quotas"),
        ({"scopes": ["infer"], "color": "red"}, "color"),
    ],
)
def test_what_a_key_cannot_have_is_named(wrong: dict[str, Any], field: str, guarded: Guarded) -> None:
    answer = _ask(guarded, "POST", "/api/keys", {"name": "wrong", **wrong}, status=400)
    assert answer["error"]["violations"][0]["field"] == field
    assert "wrong" not in _names(guarded)


def test_a_tenant_is_set_and_shown_over_http(guarded: Guarded) -> None:
    given = {"weight": 2.5, "quotas": {"voices": 4}}
    made = _ask(guarded, "PUT", "/api/tenants/web", given)
    assert (made["name"], made["weight"], made["quotas"]) == ("web", 2.5, {"voices": 4})
    assert _ask(guarded, "GET", "/api/tenants/web") == made
    assert made in _ask(guarded, "GET", "/api/tenants")["tenants"]


async def test_the_asyncio_client_makes_changes_and_ends_keys(guarded: Guarded) -> None:
    async with AsyncClient(guarded.stack.target, api_key=guarded.first) as client:
        tenant = await client.access.set_tenant("loop", weight=2, quotas={"calls": 9})
        assert (await client.access.tenant("loop"), tenant in await client.access.list_tenants()) == (tenant, True)
        key, token = await client.access.create_key("by-loop", scopes=["infer"], tenant="loop")
        assert key in await client.access.list_keys()
        assert dict((await client.access.set_key("by-loop", quotas={"calls": 2})).quotas) == {"calls": 2}
        same, other = await client.access.rotate_key("by-loop")
        assert (same.id, other != token) == (key.id, True)
        assert await client.access.usage(tenant="loop") == []
        assert [await client.access.revoke_key("by-loop") for _ in range(2)] == [True, False]
        with pytest.raises(NotFoundError):
            await client.access.tenant("nobody")


def _ask(guarded: Guarded, method: str, path: str, body: Mapping[str, object] | None = None, status: int = 200) -> Any:
    reply = ask(guarded.stack.url, method, path, body, {"Authorization": f"Bearer {guarded.first}"})
    assert reply.status == status, reply.body
    return reply.json()


def _names(guarded: Guarded) -> set[str]:
    return {key["name"] for key in _ask(guarded, "GET", "/api/keys")["keys"]}
