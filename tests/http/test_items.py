"""A job's items from any place on, by state and by id; and files of items before they are queued."""

import asyncio
import io
import itertools
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kernelport.client.item_files import ItemFile, Report
from kernelport.supervisor.stack import Stack
from kernelport_api.doors.http.api.item_form import _checked
from tests.http.calls import ask
from tests.http.test_api import form, over
from tests.waiting import wait_for

SPEECH = "hibari-en"
COUNT = 5000


@pytest.fixture(scope="module")
def large(stack: Stack) -> Iterator[str]:
    """A job of three pages in the store."""
    x: dict[str, Any] = {"x": [[[[1.0, 2.0]]]]}
    items = [{"id": f"item-{index:05}", "inputs": x} for index in range(COUNT)]
    reply = ask(stack.url, "POST", "/api/jobs", {"deployment": "identity-onnx", "items": items})
    assert reply.status == 201, reply.body
    job_id = str(reply.json()["id"])
    wait_for(lambda: ask(stack.url, "GET", f"/api/jobs/{job_id}").json()["state"] == "succeeded", 100)
    yield job_id
    ask(stack.url, "DELETE", f"/api/jobs/{job_id}?outputs=true")


def ids(stack: Stack, path: str) -> list[str]:
    reply = ask(stack.url, "GET", path)
    assert reply.status == 200, reply.body
    return [item["id"] for item in reply.json()["items"]]


@pytest.mark.parametrize("offset", [1, 2047, 2048, 4095, 4096, 4999])
def test_items_can_be_read_from_any_place_on(stack: Stack, large: str, offset: int) -> None:
    for narrowed in ("", "&state=succeeded"):
        found = ids(stack, f"/api/jobs/{large}/items?offset={offset}&limit=3{narrowed}")
        assert found == [f"item-{index:05}" for index in range(offset, min(offset + 3, COUNT))]


def test_behind_the_last_item_there_is_nothing(stack: Stack, large: str) -> None:
    for narrowed in ("", "&state=succeeded", "&state=failed"):
        reply = ask(stack.url, "GET", f"/api/jobs/{large}/items?offset={COUNT}{narrowed}").json()
        assert reply == {"items": [], "next_page_token": ""}


def test_the_place_counts_among_the_items_of_a_state(stack: Stack) -> None:
    items = [{"id": str(n), "inputs": {"text": "Good." if n % 2 else "<speak>bad", "speed": 1.0}} for n in range(8)]
    made = ask(stack.url, "POST", "/api/jobs", {"deployment": SPEECH, "items": items}).json()
    progress = over(stack, made["id"])["progress"]
    assert progress["succeeded"] + progress["failed"] == 8
    every = {
        item["id"]: item["state"] for item in ask(stack.url, "GET", f"/api/jobs/{made['id']}/items").json()["items"]
    }
    for state in ("succeeded", "failed"):
        expected = [item for item, its_state in every.items() if its_state == state]
        for offset in range(1, len(expected)):
            found = ids(stack, f"/api/jobs/{made['id']}/items?state={state}&offset={offset}")
            assert found == expected[offset:]


def test_items_are_found_by_what_their_ids_have_in_them(stack: Stack, large: str) -> None:
    assert ids(stack, f"/api/jobs/{large}/items?id=item-04999") == ["item-04999"]
    assert ids(stack, f"/api/jobs/{large}/items?id=2047") == ["item-02047"]
    assert len(ids(stack, f"/api/jobs/{large}/items?id=item-031&limit=5000")) == 100
    assert ids(stack, f"/api/jobs/{large}/items?id=float") == [], "what is no part of an id is not looked at"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("offset=-1", "offset"),
        ("offset=1&page_token=0:3", "offset"),
        ("offset=1&id=a", "offset"),
        ("id=" + "a" * 257, "id"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(stack: Stack, large: str, query: str, field: str) -> None:
    reply = ask(stack.url, "GET", f"/api/jobs/{large}/items?{query}")
    assert (reply.status, reply.json()["error"]["violations"][0]["field"]) == (400, field)


@pytest.mark.parametrize("name", ["a.\0b", "a." + "b" * 300, "../a.txt", "a.\u2028", ""])
def test_whatever_a_file_is_called_it_is_read(stack: Stack, name: str) -> None:
    body, headers = form({"deployment": "hibari-en"}, ("file", name, b"One line."))
    told = ask(stack.url, "POST", "/api/jobs/preview", body, headers).json()
    assert (told["kind"], told["items"]) == ("text", 1)


@pytest.mark.parametrize("inputs", ["[" * 100_000, '{"speed": ' + "[" * 900 + "]" * 900 + "}", "{", "3"])
def test_inputs_that_are_no_object_of_values_are_refused(stack: Stack, inputs: str) -> None:
    fields = {"deployment": "hibari-en", "shared_inputs": inputs}
    reply = ask(stack.url, "POST", "/api/jobs", *form(fields, ("file", "a.txt", b"One line.")))
    assert reply.status == 400, reply.body


class _Endless(ItemFile):
    """A file that is read until somebody says that it is enough."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    def check(self, seen: Callable[[int], None] = print, most_problems: int = 0) -> Report:
        try:
            for rows in itertools.count():
                seen(rows)
                self.begun.set()
        finally:
            self.over.set()
        raise AssertionError


async def test_a_file_is_not_read_on_when_its_caller_has_gone() -> None:
    file = _Endless()
    reading = asyncio.create_task(_checked(file, 1))
    assert await asyncio.to_thread(file.begun.wait, 10)
    reading.cancel()
    assert await asyncio.to_thread(file.over.wait, 10)


def test_some_of_the_files_come_as_a_zip(stack: Stack, large: str) -> None:
    reply = ask(stack.url, "GET", f"/api/jobs/{large}/outputs.zip?index=0-1,2047-2048&index=4999")
    names = zipfile.ZipFile(io.BytesIO(reply.body)).namelist()
    assert [name.partition(".")[0] for name in names] == [f"item-{index:05}" for index in (0, 1, 2047, 2048, 4999)]
    for index in ("1-x", "2-1"):
        refused = ask(stack.url, "GET", f"/api/jobs/{large}/outputs.zip?index={index}")
        assert (refused.status, refused.json()["error"]["violations"][0]["field"]) == (400, "index")


def preview(stack: Stack, name: str, data: bytes, **fields: str) -> Any:
    body, headers = form({"deployment": SPEECH, **fields}, ("file", name, data))
    reply = ask(stack.url, "POST", "/api/jobs/preview", body, headers)
    assert reply.status == 200, reply.body
    return reply.json()


def test_a_file_is_looked_at_before_anything_is_queued(stack: Stack) -> None:
    newest = ask(stack.url, "GET", "/api/jobs?limit=1").json()["jobs"]
    rows = b"id,text,notes\nfirst,Down.,x\nsecond,,x\nthird,Up.,x\nthird,Up.,x\n"
    assert preview(stack, "book.csv", rows)["fatal"] is True, "nobody has said what the notes are"
    told = preview(stack, "book.csv", rows, ignore="notes")
    assert (told["kind"], told["items"], told["bad"], told["fatal"]) == ("csv", 2, 2, False)
    assert [(each["line"], each["field"]) for each in told["problems"]] == [(3, "text"), (5, "id")]
    assert told["left_out"] == ["notes"]
    assert told["first"] == [
        {"id": "first", "text": "Down.", "inputs": {}},
        {"id": "third", "text": "Up.", "inputs": {}},
    ]
    assert ask(stack.url, "GET", "/api/jobs?limit=1").json()["jobs"] == newest


def test_every_bad_line_is_told_by_its_number(stack: Stack) -> None:
    lines = b"id,text\n" + b"".join(b"%d,%s\n" % (n, b"Good." if n % 2 else b"") for n in range(400))
    told = preview(stack, "book.csv", lines)
    assert [each["line"] for each in told["problems"]] == list(range(2, 402, 2))


def test_columns_and_inputs_for_all_items_can_be_named(stack: Stack) -> None:
    rows = b"key,says\nfirst,Down.\n"
    fields = {"column.id": "key", "column.text": "says", "shared_inputs": json.dumps({"speed": 1.2})}
    assert preview(stack, "book.csv", rows, **fields)["first"][0]["text"] == "Down."
    body, headers = form({"deployment": SPEECH, **fields}, ("file", "book.csv", rows))
    made = ask(stack.url, "POST", "/api/jobs", body, headers).json()
    assert over(stack, made["id"])["state"] == "succeeded"
    assert made["spec"]["shared_inputs"] == {"speed": {"dtype": "F32", "shape": [1]}}
    for wrong in ("[1]", "{", '{"speed": "fast"}'):
        body, headers = form({"deployment": SPEECH, "shared_inputs": wrong}, ("file", "book.csv", rows))
        assert ask(stack.url, "POST", "/api/jobs/preview", body, headers).status == 400


def test_a_file_of_requests_may_name_an_alias_of_the_deployment(stack: Stack) -> None:
    body = {"model": "tts-1", "input": "Hi.", "voice": "alloy"}
    lines = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/audio/speech", "body": body}).encode()
    told = preview(stack, "requests.jsonl", lines)
    assert (told["kind"], told["items"], told["problems"]) == ("openai", 1, [])
    sent, headers = form({"deployment": SPEECH}, ("file", "requests.jsonl", lines))
    assert over(stack, ask(stack.url, "POST", "/api/jobs", sent, headers).json()["id"])["state"] == "succeeded"
    other = preview(stack, "requests.jsonl", lines.replace(b"tts-1", b"nobody"))
    assert other["problems"][0]["finding"] == 'expected "hibari-en", got "nobody"'


def test_an_estimate_follows_from_the_jobs_that_have_run(stack: Stack) -> None:
    made = ask(stack.url, "POST", "/api/jobs", {"deployment": SPEECH, "items": ["Down, down, down."]}).json()
    job = over(stack, made["id"])
    told = preview(stack, "book.txt", b"Down, down, down.\n" * 10)["estimate"]
    assert told["jobs"] >= 1
    assert told["workers"] == 1
    assert 0 < told["audio_s"] < 100 * job["progress"]["audio_s"]
    assert told["run_s"] == pytest.approx(told["backend_s"])
    assert told["dollars"] is None
