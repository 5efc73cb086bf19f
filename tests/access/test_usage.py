"""What tenants have used is told by day: calls at every door, items of jobs, audio, time of models and its price."""

import csv
import io
from datetime import UTC, datetime

import numpy as np
import pytest

from kernelport import InvalidArgumentError
from kernelport.v1.access_pb2 import Usage
from tests.access.conftest import Guarded
from tests.cli.running import called
from tests.http.calls import ask
from tests.waiting import wait_for

ROW = {"x": np.ones((1, 1, 1, 4), np.float32)}
TENANT, CALLS, ITEMS = "billed", 7, 5


@pytest.fixture(scope="module")
def token(guarded: Guarded) -> str:
    """A key of a tenant that has made calls at both doors, one in vain."""
    with guarded.client() as admin:
        _, token = admin.access.create_key("billed", tenant=TENANT, scopes=["infer", "jobs"])
    for number in range(CALLS):
        wait_for(lambda number=number: guarded.knows(token, number % 2))  # type: ignore[misc]
        with guarded.client(token, number % 2) as client:
            client.infer("identity-onnx", ROW)
    with guarded.client(token) as client, pytest.raises(InvalidArgumentError):
        client.infer("identity-onnx", {"x": np.ones(3, np.float32)})
    return token


def used(guarded: Guarded, token: str) -> list[Usage]:
    with guarded.client(token) as client:
        return client.access.usage()


def test_calls_are_counted_once_each(guarded: Guarded, token: str) -> None:
    (found,) = wait_for(lambda: [each for each in used(guarded, token) if each.calls == CALLS])
    assert (found.day, found.tenant) == (datetime.now(UTC).date().isoformat(), TENANT)
    assert (found.items, found.bytes > 0, found.audio_s) == (0, True, 0)
    assert 0 < found.model_s < 10
    assert found.dollars == pytest.approx(found.model_s * 3.6 / 3600, rel=0.01)


@pytest.mark.parametrize("text", ["Yes.", "The harbour was quiet. " * 9], ids=["one piece", "many pieces"])
def test_speech_that_was_sent_whole_is_a_call_that_went_well(guarded: Guarded, text: str) -> None:
    with guarded.client() as admin:
        _, token = admin.access.create_key(f"heard-{len(text)}", tenant=f"heard-{len(text)}", scopes=["infer"])
    body = {"model": "hibari-en", "input": text, "response_format": "pcm"}
    reply = ask(guarded.stack.url, "POST", "/v1/audio/speech", body, {"Authorization": f"Bearer {token}"})
    (found,) = wait_for(lambda: used(guarded, token))
    assert (found.calls, found.characters) == (1, len(text))
    assert found.audio_s == pytest.approx(len(reply.body) / 2 / 24_000, abs=0.01)


def test_items_of_jobs_are_counted_once_each(guarded: Guarded) -> None:
    def items() -> int:
        return sum(each.items for each in used(guarded, guarded.first))

    before = items()
    with guarded.client() as client:
        client.jobs.wait(client.jobs.submit("identity-onnx", [ROW] * ITEMS).id)
    assert items() == before + ITEMS


def test_others_are_seen_by_admins_alone(guarded: Guarded, token: str) -> None:
    assert {each.tenant for each in used(guarded, token)} == {TENANT}
    assert {each.tenant for each in wait_for(lambda: used(guarded, guarded.first))} >= {TENANT}
    with guarded.client(guarded.other) as other:
        assert TENANT not in {each.tenant for each in other.access.usage(tenant=TENANT)}


def test_command_and_route_give_a_table(guarded: Guarded, token: str) -> None:
    told = {"KERNELPORT_TARGET": guarded.stack.target, "KERNELPORT_API_KEY": guarded.first}
    by_command = called("usage", "--csv", "--tenant", TENANT, **told).stdout
    headers = {"Authorization": f"Bearer {guarded.first}"}
    reply = ask(guarded.stack.url, "GET", f"/api/usage?format=csv&tenant={TENANT}", headers=headers)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.body.decode() == by_command
    (row,) = csv.DictReader(io.StringIO(by_command))
    assert (row["tenant"], row["calls"]) == (TENANT, str(CALLS))
    assert TENANT in called("usage", **told).stdout


@pytest.mark.parametrize(
    "query", ["first_day=yesterday", "first_day=2020-01-01", "first_day=2026-02-01&last_day=2026-01-01"]
)
def test_days_that_are_none_are_refused(guarded: Guarded, query: str) -> None:
    headers = {"Authorization": f"Bearer {guarded.first}"}
    reply = ask(guarded.stack.url, "GET", f"/api/usage?{query}", headers=headers)
    assert (reply.status, reply.json()["error"]["violations"][0]["field"]) == (400, "first_day")


def test_the_first_days_that_there_are_have_no_month_before_them(guarded: Guarded) -> None:
    headers = {"Authorization": f"Bearer {guarded.other}"}
    reply = ask(guarded.stack.url, "GET", "/api/usage?last_day=0001-01-05", headers=headers)
    assert (reply.status, reply.json()) == (200, {"usage": []})
