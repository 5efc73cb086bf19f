"""Quotas are set, hold for a tenant and a key at every door, and are told as clients look for them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from kernelport import Client, ResourceExhaustedError, UnauthenticatedError
from kernelport.access.quotas import QuotaExceededError
from kernelport.broker.scripts import bury
from kernelport.coercion import to_tensors
from kernelport.v1.dead_letter_pb2 import DeadLetter
from kernelport.v1.inference_pb2 import InferRequest
from kernelport_ops.chaos.disk import recording
from tests.access.conftest import Guarded
from tests.cli.running import called
from tests.http.calls import Reply, ask
from tests.waiting import wait_for

ROW = {"x": np.ones((1, 1, 1, 4), np.float32)}
BODY = {"inputs": [{"name": "x", "shape": [1, 1, 1, 1], "datatype": "FP32", "data": [1.0]}]}
TENANT = "limited"


@pytest.fixture(scope="module")
def token(guarded: Guarded) -> str:
    """A key of a tenant that the tests limit."""
    with guarded.client() as admin:
        return admin.access.create_key("limited", tenant=TENANT, scopes=["infer", "jobs", "voices"])[1]


@pytest.fixture
def limited(guarded: Guarded, token: str) -> Iterator[Client]:
    """A client with it. In the end the tenant has no quotas, and nothing is counted."""
    with guarded.client(token, door=0) as client:
        yield client
    with guarded.client() as admin, Redis.from_url(guarded.stack.settings.redis_url) as redis:
        admin.access.set_tenant(TENANT)
        for key in redis.scan_iter("kp:quota-*"):
            redis.delete(key)


def admin(guarded: Guarded, *arguments: object, expect: int = 0) -> str:
    """What a command of the administrator says."""
    target = {"KERNELPORT_TARGET": guarded.stack.target, "KERNELPORT_API_KEY": guarded.first}
    finished = called(*arguments, expect=expect, **target)
    return finished.stdout + finished.stderr


def refusal(client: Client) -> ResourceExhaustedError:
    """What a client is told once what it may use is used up, at whichever door."""

    def refused() -> ResourceExhaustedError | None:
        try:
            client.infer("identity-onnx", ROW)
        except ResourceExhaustedError as error:
            return error
        except UnauthenticatedError:  # a door has not heard of the key yet
            pass
        return None

    return wait_for(refused, what="a refusal")


def test_a_quota_of_a_tenant_is_set_and_taken_away_by_command(guarded: Guarded, limited: Client) -> None:
    assert "calls_a_second=0.05" in admin(guarded, "tenants", "set", TENANT, "--quota", "calls_a_second=0.05")
    error = refusal(limited)
    assert error.reason == "QUOTA_EXCEEDED"
    assert 0 < (error.retry_after_s or 0) <= 20
    assert "tenant:limited" in error.message
    admin(guarded, "tenants", "set", TENANT, "--weight", 2)
    assert "calls_a_second=0.05" in admin(guarded, "tenants", "show", TENANT)
    assert "none" in admin(guarded, "tenants", "set", TENANT, "--quota", "calls_a_second=")
    wait_for(lambda: limited.infer("identity-onnx", ROW) if _is_let_in(limited) else None)


def _is_let_in(client: Client) -> bool:
    try:
        client.infer("identity-onnx", ROW)
    except ResourceExhaustedError:
        return False
    return True


def _refused(url: str, path: str, body: object, headers: dict[str, str]) -> Reply | None:
    """The answer of a door that has heard of the quota, once it is used up."""
    reply = ask(url, "POST", path, body, headers)
    return reply if reply.status == 429 else None


def test_http_says_so_as_clients_look_for_it(guarded: Guarded, limited: Client, token: str) -> None:
    with guarded.client() as client:
        client.access.set_tenant(TENANT, quotas={"calls_a_second": 0.05})
    refusal(limited)
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/v2/models/identity-onnx/infer", "/v1/audio/speech"):
        body = BODY if path.startswith("/v2") else {"model": "hibari-en", "input": "Hello."}
        reply = wait_for(partial(_refused, guarded.stack.url, path, body, headers))
        assert 1 <= int(reply.headers["retry-after"]) <= 20
        assert reply.headers["x-ratelimit-limit-requests"] == "0.05"
        assert reply.headers["x-ratelimit-remaining-requests"] in ("0", "0.05")
        assert reply.headers["x-ratelimit-reset-requests"].endswith("s")


def test_a_key_has_quotas_of_its_own(guarded: Guarded, limited: Client) -> None:
    with guarded.client() as client:
        _, narrow = client.access.create_key("narrow", tenant=TENANT, scopes=["infer"], quotas={"bytes_a_day": 10})
    with guarded.client(narrow) as client:
        assert refusal(client).message.startswith("bytes_a_day: key:")
    limited.infer("identity-onnx", ROW)


def test_what_a_key_may_use_can_be_changed(guarded: Guarded, limited: Client) -> None:
    with guarded.client() as client:
        key, changing = client.access.create_key("changing", tenant=TENANT, scopes=["infer"])
        assert dict(client.access.set_key(key.id, quotas={"bytes_a_day": 10}).quotas) == {"bytes_a_day": 10}
    with guarded.client(changing) as client:
        assert refusal(client).message.startswith("bytes_a_day: key:")
    headers = {"Authorization": f"Bearer {guarded.first}"}
    reply = ask(guarded.stack.url, "PUT", "/api/keys/changing", {"quotas": {}}, headers)
    assert (reply.status, reply.json()["quotas"]) == (200, {})
    with guarded.client(changing) as client:
        wait_for(lambda: _is_let_in(client))
    reply = ask(guarded.stack.url, "PUT", "/api/keys/nobody", {"quotas": {"calls": 1}}, headers)
    assert (reply.status, reply.json()["error"]["reason"]) == (404, "KEY_NOT_FOUND")
    reply = ask(guarded.stack.url, "PUT", "/api/keys/changing", {"quotas": {"colour": 1}}, headers)
    assert (reply.status, reply.json()["error"]["violations"][0]["field"]) == (400, "quotas")


def test_tenants_come_from_a_file(guarded: Guarded, limited: Client, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(f"{TENANT}:\n  weight: 3\n  quotas: {{bytes_a_day: 1KiB, calls: 20}}\n")
    assert "bytes_a_day=1024, calls=20" in admin(guarded, "tenants", "apply", file)
    file.write_text(f"{TENANT}:\n  quotas: {{calls: many}}\n")
    assert "limited.quotas: calls: expected a number such as 20 or 1e6" in admin(
        guarded, "tenants", "apply", file, expect=2
    )
    # Of a name that YAML reads as a number, or has twice, nobody knows which tenant was meant.
    for text, told in ((f"{TENANT}: {{}}\n007: {{}}\n", "in quotes"), (f"{TENANT}: {{}}\n" * 2, "duplicate key")):
        file.write_text(text)
        assert told in admin(guarded, "tenants", "apply", file, expect=2).replace("\n", " ")


def test_a_weight_of_nothing_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(f"{TENANT}: {{weight: 0}}\n")
    for command in (("set", TENANT, "--weight", 0), ("apply", file)):
        assert "weight: expected a number above 0, got 0" in admin(guarded, "tenants", *command, expect=2)
    headers = {"Authorization": f"Bearer {guarded.first}"}
    assert ask(guarded.stack.url, "PUT", f"/api/tenants/{TENANT}", {"weight": 0}, headers).status == 400


def test_a_dead_letter_that_runs_again_is_a_call_like_any(guarded: Guarded, token: str, limited: Client) -> None:
    request = InferRequest(model="identity-onnx", inputs=to_tensors(ROW)).SerializeToString()
    with Redis.from_url(guarded.stack.settings.redis_url) as redis:
        bury(redis, DeadLetter(id="again", deployment="identity-onnx", reason="of old", request=request), TENANT)
    with guarded.client(door=0) as client:
        client.access.set_tenant(TENANT, quotas={"calls": 0})
    with pytest.raises(ResourceExhaustedError, match="calls: tenant:limited may have 0"):
        limited.replay_dead_letter("identity-onnx", "again")
    with guarded.client(door=0) as client:
        client.access.set_tenant(TENANT)
    assert limited.replay_dead_letter("identity-onnx", "again")["y"].tolist() == ROW["x"].tolist()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("colour=3", "expected one of calls_a_second, calls,"),
        ("calls=-1", "calls: expected a number such as 20 or 1e6, at least 0, got '-1'"),
        ("calls=1.5", "calls: expected a number"),
        ("stored_bytes=much", "stored_bytes: expected a size such as 10GiB"),
    ],
)
def test_what_is_no_quota_is_refused(guarded: Guarded, given: str, told: str) -> None:
    assert told in admin(guarded, "tenants", "set", TENANT, "--quota", given, expect=2).replace("\n", " ")


def test_voices_items_and_stored_bytes_are_limited(guarded: Guarded, token: str, limited: Client) -> None:
    with guarded.client(door=0) as client:  # which knows of it at once
        client.access.set_tenant(TENANT, quotas={"voices": 1, "items_waiting": 5, "stored_bytes": 40})
    told = _refusal_of(lambda: limited.jobs.submit("identity-onnx", [ROW] * 6))
    assert "items_waiting: tenant:limited may have 5, and 0 are used" in told
    _submit_and_cancel(limited, 5)
    job = limited.jobs.submit("identity-onnx", [ROW] * 5)
    limited.jobs.wait(job.id)
    assert _refusal_of(lambda: limited.jobs.submit("identity-onnx", [ROW])).startswith("stored_bytes: tenant:limited")
    limited.jobs.delete(job.id, delete_outputs=True)
    limited.add_voice("anna", recording(1), consent="given", owner="o")
    told = _refusal_of(lambda: limited.add_voice("bert", recording(2), consent="given", owner="o"))
    assert told == "voices: tenant:limited may have 1, and 1 are used"
    with guarded.client(guarded.other) as other:
        other.add_voice("bert", recording(2), consent="given", owner="o")
        other.delete_voice("bert")
    limited.delete_voice("anna")


def _submit_and_cancel(client: Client, items: int) -> None:
    """A job of which nothing runs, as nobody serves its deployment."""
    job = client.jobs.submit("luxtts", ["Nobody speaks it."] * items)
    client.jobs.cancel(job.id)
    client.jobs.wait(job.id)


@pytest.mark.parametrize(("seconds", "told"), [(0.05, "0.05 s"), (2.5, "2.50 s"), (2060.3, "2,060 s")])
def test_when_to_come_again_is_told_as_people_write_it(seconds: float, told: str) -> None:
    error = QuotaExceededError.by("tenant:limited", "calls", 60, 60, seconds)
    assert error.message == f"calls: tenant:limited may have 60, and 60 are used; come again in {told}"


def _refusal_of(call: Callable[[], object]) -> str:
    """What is told of a call that passes a quota; empty when it does not."""
    try:
        call()
    except ResourceExhaustedError as error:
        return error.message
    return ""
