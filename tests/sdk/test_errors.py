"""Every mistake is a KernelPortError that names the field, and nothing is changed in silence."""

import inspect
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from kernelport import (
    AsyncClient,
    Client,
    FailedPreconditionError,
    InvalidArgumentError,
    ItemState,
    JobState,
    KernelPortError,
    NotFoundError,
    UnavailableError,
)
from kernelport.coercion import utf8
from kernelport.v1 import job_pb2 as pb
from tests.sdk.servers import Echo, another, serving

X = np.ones((1, 1, 2, 2), np.float32)
ONNX, VOICE = "identity-onnx", "hibari-en"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nested(layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings():  # of what is not stable yet
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


MISTAKES: list[tuple[str, Callable[[Client], Any]]] = [
    ("model", lambda c: c.infer(5, {"x": X})),
    ("model", lambda c: c.infer("\ud83d", {"x": X})),
    ("request_id", lambda c: c.infer(ONNX, {"x": X}, request_id=5)),
    ("request_id", lambda c: c.infer(ONNX, {"x": X}, request_id=b"abc")),
    ("inputs", lambda c: c.infer(ONNX, {1: X})),
    ('inputs["\\ud83d"]', lambda c: c.infer(ONNX, {"\ud83d": X})),
    ('inputs["x"]', lambda c: c.infer(ONNX, {"x": [[1, 2], [3]]})),
    ('inputs["x"]', lambda c: c.infer(ONNX, {"x": torch.ones(1, 1, 2, 2).to_sparse()})),
    ('inputs["x"]', lambda c: c.infer(ONNX, {"x": nested(torch.strided)})),
    ('inputs["x"]', lambda c: c.infer(ONNX, {"x": nested(torch.jagged)})),
    ('inputs["x"]', lambda c: c.infer(ONNX, "text")),
    ('inputs["text"]', lambda c: c.speak(VOICE, None)),
    ('inputs["text"]', lambda c: c.speak(VOICE, ["a"])),
    ('inputs["seed"]', lambda c: c.speak(VOICE, "Hi.", seed="7")),
    ("name", lambda c: c.deployment(5)),
    ("deployment", lambda c: c.dead_letters(5)),
    ("inputs", lambda c: list(c.map(ONNX, 5))),
    ("inputs", lambda c: list(c.map(VOICE, "Hello."))),
    ("concurrency", lambda c: list(c.map(ONNX, [], concurrency=0))),
    ("audio", lambda c: c.add_voice("v", b"/etc/passwd", consent="yes", owner="me")),
    ("audio", lambda c: c.add_voice("v", 5, consent="yes", owner="me")),
    ("audio", lambda c: c.add_voice("v", "", consent="yes", owner="me")),
    ("audio", lambda c: c.add_voice("v", "a\0b", consent="yes", owner="me")),
    ("consent", lambda c: c.add_voice("v", b"RIFF", consent=5, owner="me")),
    ("items", lambda c: c.jobs.submit(VOICE, b"Hello.")),
    ("items[0]", lambda c: c.jobs.submit(VOICE, [b"Hello."])),
    ("items[0].id", lambda c: c.jobs.submit(VOICE, [("\ud83d", "Hello.")])),
    ('items[1].inputs["speed"]', lambda c: c.jobs.submit(VOICE, ["Hi.", {"text": "Hi.", "speed": "fast"}])),
    ("output_format", lambda c: c.jobs.submit(VOICE, ["Hi."], output_format=5)),
    ("on_existing", lambda c: c.jobs.submit(VOICE, ["Hi."], on_existing=5)),
    ("on_progress", lambda c: c.jobs.wait("j", on_progress=5)),
    ("on_fetched", lambda c: c.jobs.fetch_all("j", "out", on_fetched=5)),
    ("shared", lambda c: c.jobs.submit(VOICE, ["Hi."], shared="speed")),
    ("priority", lambda c: c.jobs.submit(VOICE, ["Hi."], priority=1.5)),
    ("metadata", lambda c: c.jobs.submit(VOICE, ["Hi."], metadata={"a": 5})),
    ("deadline", lambda c: c.jobs.submit(VOICE, ["Hi."], deadline="tomorrow")),
    ("deadline", lambda c: c.jobs.submit(VOICE, ["Hi."], deadline=datetime.min)),
    ("deadline", lambda c: c.jobs.submit(VOICE, ["Hi."], deadline=EPOCH)),
    ("deadline", lambda c: c.jobs.resume("j", deadline=EPOCH)),
    ("expires", lambda c: c.access.create_key("k", scopes=["infer"], expires=EPOCH)),
    ("retention_s", lambda c: c.jobs.submit(VOICE, ["Hi."], retention_s="5")),
    ("delete_outputs", lambda c: c.jobs.submit(VOICE, ["Hi."], delete_outputs="yes")),
    ("webhook", lambda c: c.jobs.submit(VOICE, ["Hi."], webhook="http://here")),
    ("request_id", lambda c: c.jobs.submit(VOICE, ["Hi."], request_id=5)),
    ("job_id", lambda c: c.jobs.get(5)),
    ("states", lambda c: list(c.jobs.list(states=["done"]))),
    ("states", lambda c: list(c.jobs.list(states="failed"))),
    ("states", lambda c: list(c.jobs.items("j", [99]))),
    ("cursor", lambda c: list(c.jobs.watch("j", cursor="a"))),
    ("reason", lambda c: c.jobs.cancel("j", 5)),
    ("states", lambda c: list(c.jobs.list(states=5))),
    ("target", lambda c: Client("\ud800:1")),
    ("tls_ca", lambda c: Client("here:1", tls_ca=5)),
    ("tls_key", lambda c: Client("here:1", tls_cert="a.pem", tls_key=5)),
    ("outputs[0]", lambda c: c.speak(VOICE, "Hi.", outputs=["nope"])),
    ("outputs[1]", lambda c: list(c.stream(VOICE, "Hi.", outputs=["spoken", "nope"]))),
    ("outputs", lambda c: c.infer(ONNX, {"x": X}, outputs="y")),
    ("folder", lambda c: c.jobs.fetch_all("j", 5)),
    ("folder", lambda c: c.jobs.fetch_all("j", "")),
    ("folder", lambda c: c.jobs.fetch_all("j", "out\0")),
    ("folder", lambda c: c.jobs.fetch_all("j", "out\ud800")),
]


@pytest.mark.parametrize(("field", "call"), MISTAKES)
def test_a_mistake_names_its_field(field: str, call: Callable[[Client], Any], client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        call(client)
    assert refused.value.field == field
    assert refused.value.reason == "INVALID_REQUEST"


class OfBfloat16:
    """A tensor that has no other way than DLPack, and a dtype that numpy has not."""

    def __dlpack__(self, **options: Any) -> object:
        raise BufferError("bfloat16 has no such counterpart")

    def __dlpack_device__(self) -> tuple[int, int]:
        return X.__dlpack_device__()


WORDS: list[tuple[str, Callable[[Client], Any]]] = [
    ("items: expected at least one item$", lambda c: c.jobs.submit(VOICE, [])),
    ("url: .* with a host, got none", lambda c: c.jobs.submit(VOICE, ["Hi."], webhook=pb.Webhook(url=""))),
    ("item 0 is not the same, counted from 0", lambda c: [c.jobs.submit(VOICE, [t], request_id="one") for t in "ab"]),
    ("items 0 to 1 are not the", lambda c: [c.jobs.submit(VOICE, [t, t], request_id="two") for t in "ab"]),
    ("of a dtype that numpy has, got .*: bfloat16 has no", lambda c: c.infer(ONNX, {"x": OfBfloat16()})),
]


@pytest.mark.parametrize(("told", "call"), WORDS)
def test_a_mistake_is_told_in_words_of_the_call(told: str, call: Callable[[Client], Any], client: Client) -> None:
    with pytest.raises(KernelPortError, match=told):
        call(client)


def test_an_error_carries_what_the_front_door_and_the_caller_said() -> None:
    sent = UnavailableError("away", retry_after_s=0.5, reason="ELSEWHERE")
    with (
        serving(Echo(sent)) as target,
        Client(target, max_retries=0) as client,
        pytest.raises(UnavailableError) as told,
    ):
        client.infer("m", {"x": X}, request_id="mine")
    error = told.value
    assert (error.reason, error.retry_after_s, error.request_id, error.field) == ("ELSEWHERE", 0.5, "mine", None)


def test_states_are_words_or_of_the_enums(client: Client) -> None:
    job = client.jobs.wait(client.jobs.submit(ONNX, [("x", {"x": X})]).id)
    (item,) = client.jobs.items(job.id)
    forms: list[Any] = [JobState.SUCCEEDED, "succeeded", "SUCCEEDED", "JOB_STATE_SUCCEEDED", job.state]
    for form in forms:
        assert JobState(form) is JobState.of(job) is JobState.SUCCEEDED
        assert job.id in {found.id for found in client.jobs.list(ONNX, [form])}
    assert job.state == JobState.SUCCEEDED, "though a message has a number"
    assert item.state in (ItemState.FAILED, ItemState.SUCCEEDED)
    assert job.state != JobState.FAILED
    assert not job.state != JobState.SUCCEEDED  # noqa: SIM202
    assert not job.state != JobState.SUCCEEDED  # noqa: SIM202
    assert list(client.jobs.items(job.id, [item.state])) == list(client.jobs.items(job.id, ["succeeded"])) == [item]
    with pytest.raises(NotFoundError):
        client.jobs.get("nothing")


@pytest.mark.parametrize(
    "x",
    [
        X.tolist(),
        torch.ones(1, 1, 2, 2, requires_grad=True),
        torch.ones(1, 1, 2, 2, dtype=torch.bfloat16),
        memoryview(X),
        X.astype(ml_dtypes.bfloat16),
        X.astype(">f4"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_holds_numbers_is_an_input(x: Any, client: Client) -> None:
    for inputs in (x, {"x": x}):
        np.testing.assert_array_equal(client.infer(ONNX, inputs)["y"], X, strict=True)


@pytest.mark.parametrize("number", [65, 65.0, np.int64(65), (65,), [72, 105], range(65, 70), np.array(65, "u1"), X])
def test_a_number_is_no_letter_of_a_text(number: Any, client: Client) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: client.speak(VOICE, number),
        lambda: list(client.stream(VOICE, number)),
        lambda: client.infer(VOICE, number),
        lambda: client.infer(VOICE, {"text": "Hi.", "locale": number}),
        lambda: list(client.map(VOICE, [number])),
        lambda: client.jobs.submit(VOICE, [{"text": number}]),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match=r'inputs\["(text|locale)"\]: expected a text, got '):
            call()


@pytest.mark.parametrize("text", [str, str.encode, lambda text: bytearray(text.encode()), utf8], ids=range(4))
def test_bytes_are_a_text(text: Callable[[str], Any], client: Client) -> None:
    assert client.speak(VOICE, text("Hi."), seed=1).seconds == client.speak(VOICE, "Hi.", seed=1).seconds


def test_what_speaks_dlpack_is_an_input(client: Client) -> None:
    class Tensor:
        def __dlpack__(self, **options: Any) -> object:
            return X.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return X.__dlpack_device__()

    np.testing.assert_array_equal(client.infer(ONNX, {"x": Tensor()})["y"], X, strict=True)


@pytest.mark.parametrize("answer", [None, b"\xff\xff\xffjunk"])
async def test_a_server_of_another_kind_is_told_from_a_front_door(answer: bytes | None) -> None:
    with another(answer) as target, Client(target, timeout_s=5) as client:
        told = f"what listens at {target} is no KernelPort front door"
        with pytest.raises(FailedPreconditionError, match=told):
            client.voices()
        async with AsyncClient(target, timeout_s=5) as async_client:
            with pytest.raises(FailedPreconditionError, match=told):
                await async_client.voices()
            with pytest.raises(FailedPreconditionError, match=told):
                await async_client.jobs.seal("j")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.infer("m", {"x": X}),
        lambda client: client.speak("m", "Hi."),
        lambda client: client.stream("m", "Hi."),
        lambda client: client.jobs.submit("m", ["Hi."]),
        lambda client: client.jobs.get("j"),
        lambda client: client.jobs.wait("j"),
        lambda client: client.jobs.delete("j"),
    ],
    ids=["infer", "speak", "stream", "submit", "get", "wait", "delete"],
)
@pytest.mark.parametrize("answer", [None, b"\xff\xff\xffjunk", b""], ids=["no method", "junk", "nothing"])
async def test_no_call_takes_an_answer_of_another_kind_or_waits_for_one(
    answer: bytes | None, call: Callable[[Any], Any]
) -> None:
    told = "front door|the stream ended before its last message"
    with another(answer) as target, Client(target) as client:
        with pytest.raises(KernelPortError, match=told):
            list(call(client))
        async with AsyncClient(target) as async_client:
            calling = call(async_client)
            with pytest.raises(KernelPortError, match=told):
                await (calling if inspect.isawaitable(calling) else anext(calling))


def test_one_value_for_a_model_that_nobody_has_served_yet_is_told_so(client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        client.infer("luxtts", "hello")
    assert str(refused.value) == (
        'inputs: expected a mapping of arrays by name, got "hello": no worker has said yet what the model takes; start '
        'one, or name the inputs, as in {"text": ...}'
    )


def test_none_is_not_given(client: Client) -> None:
    plain = client.speak(VOICE, "Good morning.")
    assert client.speak(VOICE, "Good morning.", speed=None, seed=None).seconds == plain.seconds
    assert client.infer(VOICE, "Good morning.")["audio"].size == plain.audio.size
    job = client.jobs.submit(VOICE, ["Hi."], output_format=None, deadline=None, webhook=None)
    assert client.jobs.wait(job.id).state == JobState.SUCCEEDED


@pytest.mark.parametrize("concurrency", [2**63, np.int64(4)])
def test_a_concurrency_is_any_whole_number(concurrency: int, client: Client) -> None:
    assert len(list(client.map(ONNX, [X, X], concurrency=concurrency))) == 2
    assert len(list(client.map_unordered(ONNX, [X, X], concurrency=concurrency))) == 2


def test_names_of_outputs_and_states_are_any_iterable_and_none_is_not_given(client: Client) -> None:
    assert client.infer(ONNX, {"x": X}, outputs=None).keys() == {"y"}
    assert client.infer(ONNX, {"x": X}, outputs=iter(["y"])).keys() == {"y"}
    assert [result.keys() for result in client.map(ONNX, [X, X], outputs=iter(["y"]))] == [{"y"}] * 2
    assert len(list(client.jobs.list(states=None))) == len(list(client.jobs.list()))


def test_a_file_that_is_not_there_is_told(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.add_voice("v", tmp_path / "nothing.wav", consent="yes", owner="me")
