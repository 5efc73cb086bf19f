"""Jobs, deployments, workers, voices, dead letters and events as plain JSON."""

import http.client
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from redis import Redis

from kernelport import Client
from kernelport.audio import encode_audio
from kernelport.broker import keys
from kernelport.coercion import to_tensors
from kernelport.supervisor.stack import Stack
from kernelport.v1 import dead_letter_pb2, inference_pb2
from tests.cli.running import called
from tests.http.calls import ask
from tests.waiting import wait_for

NAME = "identity-onnx"


def form(fields: dict[str, str], file: tuple[str, str, bytes] | None = None) -> tuple[bytes, dict[str, str]]:
    """A form, and the header that it goes with."""
    parts = [f'--edge\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    if file:
        name, filename, data = file
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join([*parts, b"--edge--\r\n"]), {"Content-Type": "multipart/form-data; boundary=edge"}


def over(stack: Stack, job_id: str) -> dict[str, Any]:
    """A job when it is over."""

    def job() -> Any:
        found = ask(stack.url, "GET", f"/api/jobs/{job_id}").json()
        return found if found["finished_unix_us"] else None

    return dict(wait_for(job))


def submitted(stack: Stack, **body: Any) -> str:
    reply = ask(stack.url, "POST", "/api/jobs", {"deployment": "hibari-en", "items": ["One.", "Two."], **body})
    assert reply.status == 201, reply.body
    return str(reply.json()["id"])


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    """The id of a job of two items that is over."""
    job_id = submitted(stack, items=[{"id": "a b/\u00e9", "inputs": {"text": "One."}}, "Two."], metadata={"k": "v"})
    assert over(stack, job_id)["state"] == "succeeded"
    return job_id


def test_what_is_told_has_the_shape_of_the_commands(stack: Stack, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELPORT_TARGET", stack.target)

    def told(*command: str) -> list[Any]:
        return [json.loads(line) for line in called(*command, "--json").stdout.splitlines()]

    assert [ask(stack.url, "GET", f"/api/jobs/{job}").json()] == told("jobs", "show", job)
    assert ask(stack.url, "GET", "/api/jobs?limit=1").json()["jobs"] == told("jobs", "list", "--limit", "1")
    assert ask(stack.url, "GET", f"/api/jobs/{job}/items?inputs=true").json()["items"] == told("jobs", "items", job)
    assert ask(stack.url, "GET", "/api/deployments").json()["deployments"] == told("deployments", "list")
    assert [ask(stack.url, "GET", f"/api/deployments/{NAME}").json()] == told("deployments", "show", NAME)
    assert ask(stack.url, "GET", "/api/voices").json()["voices"] == told("voices", "list")
    assert ask(stack.url, "GET", f"/api/dead-letters/{NAME}").json()["dead_letters"] == told("dlq", "list", NAME)


def test_live_workers_are_listed_with_what_they_serve(stack: Stack) -> None:
    workers = ask(stack.url, "GET", "/api/workers").json()["workers"]
    assert {name for worker in workers for name in worker["deployments"]} == {NAME, "helion-demo", "hibari-en"}


def test_jobs_come_in_pages_and_by_state(stack: Stack, job: str) -> None:
    submitted(stack)
    first = ask(stack.url, "GET", "/api/jobs?limit=1").json()
    second = ask(stack.url, "GET", f"/api/jobs?limit=1&page_token={first['next_page_token']}").json()
    assert first["jobs"][0]["id"] > second["jobs"][0]["id"]
    done = ask(stack.url, "GET", "/api/jobs?state=succeeded&deployment=hibari-en").json()["jobs"]
    assert job in [each["id"] for each in done]
    assert {each["state"] for each in done} == {"succeeded"}


def test_a_file_and_all_files_can_be_downloaded(stack: Stack, job: str) -> None:
    items = ask(stack.url, "GET", f"/api/jobs/{job}/items").json()["items"]
    one = ask(stack.url, "GET", f"/api/jobs/{job}/outputs/a%20b/%C3%A9")
    assert (one.status, one.headers["content-type"]) == (200, "audio/wav")
    assert "attachment" in one.headers["content-disposition"]
    assert len(one.body) == items[0]["file_bytes"] == int(one.headers["content-length"])
    archive = zipfile.ZipFile(io.BytesIO(ask(stack.url, "GET", f"/api/jobs/{job}/outputs.zip").body))
    assert archive.testzip() is None
    assert set(archive.namelist()) == {*(item["file"] for item in items), "manifest.jsonl"}
    assert archive.read(items[0]["file"]) == one.body
    manifest = ask(stack.url, "GET", f"/api/jobs/{job}/manifest").body
    assert archive.read("manifest.jsonl") == manifest
    assert [json.loads(line)["id"] for line in manifest.splitlines()] == ["a b/\u00e9", "000002"]


def test_a_file_of_items_becomes_a_job(stack: Stack) -> None:
    fields = {"deployment": "hibari-en", "output_format": "flac", "priority": "200", "metadata.book": "Alice"}
    body, headers = form(fields, ("file", "book.csv", b"id,text\nfirst,Down.\nsecond,Up.\n"))
    made = ask(stack.url, "POST", "/api/jobs", body, headers)
    assert made.status == 201, made.body
    found = over(stack, made.json()["id"])
    assert (found["spec"]["output_format"], found["spec"]["priority"]) == ("flac", 200)
    assert found["spec"]["metadata"] == {"book": "Alice"}
    items = ask(stack.url, "GET", f"/api/jobs/{found['id']}/items").json()["items"]
    assert [item["id"] for item in items] == ["first", "second"]


def test_bad_rows_are_told_with_their_lines_unless_they_are_to_be_left_out(stack: Stack) -> None:
    rows = ("file", "book.csv", b"id,text\nfirst,Down.\nsecond,\n")
    body, headers = form({"deployment": "hibari-en"}, rows)
    refused = ask(stack.url, "POST", "/api/jobs", body, headers)
    assert refused.status == 400
    assert refused.json()["error"]["violations"][0]["field"] == "file:3: text"
    body, headers = form({"deployment": "hibari-en", "skip_bad": "maybe"}, rows)
    unclear = ask(stack.url, "POST", "/api/jobs", body, headers)
    assert (unclear.status, unclear.json()["error"]["violations"][0]["field"]) == (400, "skip_bad")
    body, headers = form({"deployment": "hibari-en", "skip_bad": "true"}, rows)
    made = ask(stack.url, "POST", "/api/jobs", body, headers).json()
    assert over(stack, made["id"])["progress"]["items"] == 1


def test_a_request_id_names_one_job(stack: Stack) -> None:
    one = submitted(stack, request_id="api-1")
    assert submitted(stack, request_id="api-1") == one
    other = {"deployment": "hibari-en", "items": ["Other."], "request_id": "api-1"}
    assert ask(stack.url, "POST", "/api/jobs", other).status == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"items": ["a"]}, "deployment"),
        ({"deployment": "hibari-en", "items": "One."}, "items"),
        ({"deployment": "hibari-en", "items": []}, "items"),
        ({"deployment": "hibari-en", "items": [3]}, "items[0]"),
        ({"deployment": "hibari-en", "items": [{"id": "a", "inputs": {"speed": "x"}}]}, 'items[0].inputs["speed"]'),
        ({"deployment": "hibari-en", "items": ["a"], "priority": "high"}, "priority"),
        ({"deployment": "hibari-en", "items": ["a"], "priority": -1}, "priority"),
        ({"deployment": "hibari-en", "items": ["a"], "priority": 20_000}, "priority"),
        ({"deployment": "hibari-en", "items": ["a"], "output_format": "avi"}, "output_format"),
        ({"deployment": "hibari-en", "items": ["a"], "metadata": {"a": 1}}, "metadata"),
        ({"deployment": "hibari-en", "items": ["a"], "colour": 1}, "colour"),
        ({"deployment": "hibari-en", "items": ["a"], "request_id": "r" * 200}, "request_id"),
    ],
)
def test_a_malformed_submission_names_the_field_and_leaves_no_job(stack: Stack, body: Any, field: str) -> None:
    newest = ask(stack.url, "GET", "/api/jobs?limit=1").json()["jobs"]
    reply = ask(stack.url, "POST", "/api/jobs", body)
    assert (reply.status, reply.json()["error"]["violations"][0]["field"]) == (400, field)
    assert [each["id"] for each in ask(stack.url, "GET", "/api/jobs?limit=1").json()["jobs"]] == [
        each["id"] for each in newest
    ]


def test_a_job_is_cancelled_resumed_and_deleted(stack: Stack) -> None:
    job_id = submitted(stack, items=["A sentence of some length, to take a moment."] * 400)
    cancelled = ask(stack.url, "POST", f"/api/jobs/{job_id}/cancel", {"reason": "enough"})
    assert cancelled.json()["state"] in ("cancelling", "cancelled")
    assert ask(stack.url, "DELETE", f"/api/jobs/{job_id}").status in (200, 409)
    if ask(stack.url, "GET", f"/api/jobs/{job_id}").status == 200:
        assert over(stack, job_id)["state"] == "cancelled"
        assert ask(stack.url, "POST", f"/api/jobs/{job_id}/resume").json()["state"] in ("pending", "running")
        ask(stack.url, "POST", f"/api/jobs/{job_id}/cancel")
        over(stack, job_id)
        assert ask(stack.url, "DELETE", f"/api/jobs/{job_id}?outputs=true").json() == {"id": job_id, "deleted": True}
    wait_for(lambda: ask(stack.url, "GET", f"/api/jobs/{job_id}").status == 404)


def test_a_voice_is_added_shown_and_deleted(stack: Stack) -> None:
    wav = encode_audio(np.sin(np.arange(24_000, dtype=np.float32) / 20) / 2, 24_000, ".wav")
    fields = {"name": "api-anna", "consent": "on tape", "owner": "me"}
    body, headers = form(fields, ("audio", "anna.wav", wav))
    added = ask(stack.url, "POST", "/api/voices", body, headers)
    assert (added.status, added.json()["seconds"]) == (200, 1.0)
    assert ask(stack.url, "GET", "/api/voices/api-anna").json() == added.json()
    assert ask(stack.url, "DELETE", "/api/voices/api-anna").json() == {"name": "api-anna", "deleted": True}
    assert ask(stack.url, "GET", "/api/voices/api-anna").status == 404


def test_a_dead_letter_is_shown_replayed_and_purged(stack: Stack) -> None:
    inputs = to_tensors({"x": np.zeros((1, 1, 2, 2), np.float32)})
    request = inference_pb2.InferRequest(model=NAME, inputs=inputs).SerializeToString()
    with Redis.from_url(stack.settings.redis_url) as redis:
        for letter_id in ("over-http-1", "over-http-2"):
            letter = dead_letter_pb2.DeadLetter(id=letter_id, deployment=NAME, request=request)
            redis.hset(keys.dead_letters(NAME), letter_id, letter.SerializeToString())
    path = f"/api/dead-letters/{NAME}"
    shown = ask(stack.url, "GET", f"{path}/over-http-1").json()
    assert shown["inputs"] == {"x": {"dtype": "F32", "shape": [1, 1, 2, 2]}}
    replayed = ask(stack.url, "POST", f"{path}/over-http-1/replay").json()
    assert replayed["outputs"] == {"y": {"dtype": "F32", "shape": [1, 1, 2, 2]}}
    assert ask(stack.url, "DELETE", f"{path}/over-http-2").json() == {"id": "over-http-2", "deleted": True}
    assert ask(stack.url, "GET", path).json() == {"dead_letters": []}
    assert ask(stack.url, "DELETE", f"{path}/over-http-2").status == 404


@pytest.mark.parametrize(
    "path", ["jobs/none", "jobs/none/items", "jobs/none/outputs.zip", "deployments/none", "voices/x"]
)
def test_what_is_not_there_is_told_so(stack: Stack, path: str) -> None:
    reply = ask(stack.url, "GET", f"/api/{path}")
    assert reply.status == 404
    assert reply.json()["error"]["reason"].endswith("NOT_FOUND")


def events(stack: Stack) -> Iterator[tuple[str, Any]]:
    """The events of the stream, as they come."""
    with closing(http.client.HTTPConnection(str(urlsplit(stack.url).netloc), timeout=30)) as connection:
        connection.request("GET", "/api/events")
        response = connection.getresponse()
        assert response.headers["content-type"] == "text/event-stream"
        kind = ""
        while line := response.readline():
            name, _, rest = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = rest
            elif name == "data":
                yield kind, json.loads(rest)


def test_one_stream_tells_how_all_stands_and_what_changes(stack: Stack, client: Client) -> None:
    stream = events(stack)
    known = {told["name"] for kind, told in (next(stream) for _ in range(3)) if kind == "deployment"}
    assert known <= {each.name for each in client.deployments()}
    job_id = submitted(stack)
    states = []
    for kind, told in stream:
        if kind == "job" and told["id"] == job_id:
            states.append(told["state"])
            if told["state"] == "succeeded":
                break
    assert states[-1] == "succeeded"
    assert ask(stack.url, "DELETE", f"/api/jobs/{job_id}").status == 200
    assert next(told for kind, told in stream if kind == "gone") == {"kind": "job", "name": job_id}


def test_a_download_that_breaks_is_cut_off_and_not_ended(stack: Stack, job: str) -> None:
    job_id = submitted(stack)
    found = over(stack, job_id)
    files = sorted(Path(found["output_url"]).glob("*.wav"))
    files[-1].unlink()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(stack.url, "GET", f"/api/jobs/{job_id}/outputs.zip")
