"""Files and batches of OpenAI's stock client, on our jobs."""

import io
import json
from collections.abc import Iterator
from typing import Any

import av
import openai
import pytest

from kernelport.speech_request import FORMATS
from kernelport.supervisor.stack import Stack
from tests.http.calls import ask
from tests.waiting import wait_for

URL = "/v1/audio/speech"


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    url = f"{stack.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", _strict_response_validation=True, max_retries=0) as made:
        yield made


def request(custom_id: str, text: str = "Hi.", **more: Any) -> dict[str, Any]:
    body = {"model": "hibari-en", "input": text, "voice": "alloy", **more}
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}


def uploaded(client: openai.OpenAI, requests: list[Any]) -> Any:
    data = b"".join((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n" for line in requests)
    return client.files.create(file=("requests.jsonl", data), purpose="batch")


def run(client: openai.OpenAI, requests: list[Any], **more: Any) -> Any:
    """A batch when it is over."""
    file = uploaded(client, requests)
    made = client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h", **more)  # type: ignore[arg-type]

    def over() -> Any:
        found = client.batches.retrieve(made.id)
        return found if found.status not in ("validating", "in_progress", "finalizing", "cancelling") else None

    return wait_for(over)


def lines(client: openai.OpenAI, file_id: str) -> dict[str, Any]:
    """The lines of an output or error file, by their custom ids."""
    told = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    return {line["custom_id"]: line["response"] for line in told}


def test_forty_requests_of_which_six_are_bad_run_to_the_end(client: openai.OpenAI) -> None:
    bad: list[dict[str, Any]] = [
        {"input": ""},
        {"speed": 9},
        {"stream_format": "sse"},
        {"include": ["spans"]},
        {"seed": "x"},
        {"input": "\u0422\u0438\u0448\u0438\u043d\u0430."},
    ]
    requests = [request(f"good-{number}", response_format="pcm") for number in range(34)]
    requests[20:20] = [request(f"bad-{n}", **{"response_format": "pcm", **more}) for n, more in enumerate(bad)]
    batch = run(client, requests, metadata={"book": "Alice"})
    assert batch.status == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (40, 34, 6)
    assert (batch.metadata, batch.model, batch.errors) == ({"book": "Alice"}, "hibari-en", None)
    spoken, refused = lines(client, batch.output_file_id), lines(client, batch.error_file_id)
    assert set(spoken) == {f"good-{number}" for number in range(34)}
    assert set(refused) == {f"bad-{number}" for number in range(6)}
    params = [refused[f"bad-{number}"]["body"]["error"]["param"] for number in range(5)]
    assert params == ["input", "speed", "stream_format", "include", "seed"]
    assert {response["status_code"] for response in refused.values()} == {400}
    body = spoken["good-7"]["body"]
    audio = client.files.content(body["file_id"]).content
    assert (len(audio), body["object"], body["format"]) == (body["bytes"], "audio.speech", "pcm")
    assert body["seconds"] == len(audio) / 48_000
    assert client.files.retrieve(body["file_id"]).bytes == len(audio)
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_each_format_of_the_endpoint_can_be_asked_for(client: openai.OpenAI, name: str) -> None:
    batch = run(client, [request("a", response_format=name)])
    (response,) = lines(client, batch.output_file_id).values()
    answer = client.files.content(response["body"]["file_id"])
    assert answer.response.headers["content-type"] == FORMATS[name][1]
    with av.open(io.BytesIO(answer.content)) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) > 6_000


@pytest.mark.parametrize(
    ("requests", "line", "code"),
    [
        (["no JSON"], 1, "invalid_json_line"),
        ([request("a"), [1]], 2, "invalid_json_line"),
        ([request("a"), {**request("b"), "custom_id": None}], 2, "invalid_custom_id"),
        ([request("a"), request("a")], 2, "duplicate_custom_id"),
        ([{**request("a"), "method": "GET"}], 1, "invalid_method"),
        ([{**request("a"), "url": "/v1/chat/completions"}], 1, "invalid_url"),
        ([request("a"), request("b", model="tts-1")], 2, "mismatched_model"),
        ([request("a"), request("b", response_format="wav")], 2, "mismatched_format"),
        ([request("a", model="nobody")], 1, "model_not_found"),
        ([request("a", model="identity-onnx")], 1, "invalid_model"),
        ([], None, "empty_file"),
    ],
)
def test_a_file_that_breaks_a_rule_fails_as_a_whole_and_tells_the_line(
    client: openai.OpenAI, requests: list[Any], line: int | None, code: str
) -> None:
    batch = run(client, requests)
    assert batch.status == "failed"
    assert batch.output_file_id is None
    (error,) = batch.errors.data
    assert (error.code, error.line) == (code, line)
    assert client.batches.retrieve(batch.id).status == "failed"


def test_files_are_listed_in_pages_and_deleted(client: openai.OpenAI) -> None:
    made = [uploaded(client, [request("a")]).id for _ in range(3)]
    listed = [file.id for file in client.files.list(purpose="batch", limit=2)]
    assert set(made) <= set(listed), "the client goes through all pages"
    assert client.files.content(made[0]).text == json.dumps(request("a")) + "\n"
    assert client.files.delete(made[0]).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made[0])
    expiring = client.files.create(
        file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert expiring.expires_at == expiring.created_at + 3600


def test_batches_are_listed_and_cancelled(client: openai.OpenAI) -> None:
    file = uploaded(client, [request(str(number), "A sentence of some length.") for number in range(400)])
    made = client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")  # type: ignore[arg-type]
    assert client.batches.cancel(made.id).status in ("cancelling", "cancelled")
    assert next(iter(client.batches.list(limit=1))).id == made.id
    wait_for(lambda: client.batches.retrieve(made.id).status == "cancelled")
    found = client.batches.retrieve(made.id)
    assert found.request_counts is not None
    assert found.request_counts.completed + found.request_counts.failed == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input_file_id": "file-none", "endpoint": URL}, 404),
        ({"input_file_id": "x", "endpoint": "/v1/embeddings"}, 400),
        ({"input_file_id": "x", "endpoint": URL, "completion_window": "1h"}, 400),
        ({"input_file_id": "x", "endpoint": URL, "metadata": {"a": 1}}, 400),
    ],
)
def test_a_batch_that_cannot_be_is_refused(stack: Stack, body: dict[str, Any], status: int) -> None:
    reply = ask(stack.url, "POST", "/v1/batches", body)
    assert reply.status == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
