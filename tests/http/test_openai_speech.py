"""OpenAI's stock client speaks, unmodified and with its own strict reading of every answer."""

import base64
import io
import json
import shutil
import subprocess
import wave
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import openai
import pytest

from kernelport import Client
from kernelport.audio import encode_audio
from kernelport.speech_request import FORMATS
from kernelport.supervisor.stack import Stack
from tests.http.calls import ask

TEXT = "The harbour was quiet, and the boats lay still."
SPEECH = "/v1/audio/speech"
RATE = 24_000
# What encoders put before and behind: a frame or two of MP3 and AAC.
PADDING = {"mp3": 2 * 1152, "aac": 3 * 1024, "opus": 960, "flac": 0, "wav": 0}


@pytest.fixture
def openai_client(stack: Stack) -> Iterator[openai.OpenAI]:
    url = f"{stack.url}/v1"
    with openai.OpenAI(base_url=url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def samples(stack: Stack) -> Any:
    """The same speech as gRPC gives it."""
    with Client(stack.target, timeout_s=30) as client:
        return client.speak("hibari-en", TEXT).audio


def decoded(data: bytes) -> tuple[Any, int]:
    """The samples of a file, and their rate."""
    with av.open(io.BytesIO(data)) as file:
        rate = file.streams.audio[0].rate
        frames = [frame.to_ndarray().astype(np.float64) for frame in file.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0], rate


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_each_format_is_a_file_that_decodes_to_the_samples_that_were_spoken(
    openai_client: openai.OpenAI, samples: Any, name: Any
) -> None:
    answer = openai_client.audio.speech.create(model="hibari-en", voice="alloy", input=TEXT, response_format=name)
    assert answer.response.headers["content-type"] == FORMATS[name][1]
    found, rate = decoded(answer.content)
    expected = samples.size * rate // RATE
    assert expected <= found.size <= expected + PADDING[name]
    if name in ("wav", "flac"):
        pcm, _ = decoded(encode_audio(samples, RATE, ".wav"))
        assert np.array_equal(found, pcm)


def test_pcm_is_16_bits_at_24_khz(openai_client: openai.OpenAI, samples: Any) -> None:
    with openai_client.audio.speech.with_streaming_response.create(
        model="hibari-en", voice="alloy", input=TEXT, response_format="pcm"
    ) as streamed:
        found = np.frombuffer(b"".join(streamed.iter_bytes()), "<i2")
    assert np.array_equal(found, np.rint(np.clip(samples, -1, 1) * np.float32(32767)))


def test_a_whole_wav_says_how_long_it_is(openai_client: openai.OpenAI, samples: Any) -> None:
    data = openai_client.audio.speech.create(model="tts-1", voice="a", input=TEXT, response_format="wav").content
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnframes(), file.getframerate()) == (samples.size, RATE)
    assert len(data) == 44 + 2 * samples.size, "nothing stands behind the samples"


def test_mp3_has_no_header_before_its_frames_and_can_be_joined(openai_client: openai.OpenAI, samples: Any) -> None:
    data = openai_client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT).content
    assert data[:2] == b"\xff\xf3"
    assert b"Xing" not in data
    assert b"Info" not in data
    assert decoded(data + data)[0].size >= 2 * samples.size


def test_events_carry_the_same_bytes(stack: Stack, openai_client: openai.OpenAI) -> None:
    whole = openai_client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT).content
    body = {"model": "tts-1", "input": TEXT, "stream_format": "sse"}
    reply = ask(stack.url, "POST", SPEECH, body)
    assert reply.headers["content-type"] == "text/event-stream"
    *deltas, done = events_of(reply.body)
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == whole
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    assert set(done["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in body.decode().split("\n\n") if line]


def told_in_events(body: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The events of an answer that bring audio, and the audio in them."""
    deltas = [event for event in events_of(body) if event["type"] == "speech.audio.delta"]
    return deltas, b"".join(base64.b64decode(delta["audio"]) for delta in deltas)


LONG = "The harbour was quiet. The boats lay still. A bell rang twice. Nobody came. The tide went out. It was dark."


@pytest.mark.parametrize("name", FORMATS)
def test_a_long_text_is_sent_as_it_is_spoken_by_one_encoder(
    stack: Stack, openai_client: openai.OpenAI, name: Any
) -> None:
    with Client(stack.target, timeout_s=30) as client:
        expected = client.speak("hibari-en", LONG).audio
    with openai_client.audio.speech.with_streaming_response.create(
        model="hibari-en", voice="alloy", input=LONG, response_format=name
    ) as streamed:
        assert "content-length" not in streamed.headers
        data = b"".join(streamed.iter_bytes())
    pcm = np.rint(np.clip(expected, -1, 1) * np.float32(32767)).astype("<i2")
    if name == "pcm":
        assert data == pcm.tobytes()
        return
    found, rate = decoded(data)
    assert expected.size * rate // RATE <= found.size <= expected.size * rate // RATE + PADDING[name]
    if name in ("wav", "flac"):
        assert np.array_equal(found, decoded(encode_audio(expected, RATE, ".wav"))[0])
    if name == "wav":
        with wave.open(io.BytesIO(data[:4096])) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        assert data[44:] == pcm.tobytes(), "nothing stands behind the samples"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "warnings"}])
def test_what_is_left_out_of_a_text_is_told(stack: Stack, headers: dict[str, str]) -> None:
    text = "The harbour was \u0442\u0438\u0445\u043e quiet."
    body = {"model": "hibari-en", "input": text, "response_format": "pcm"}
    answer = ask(stack.url, "POST", SPEECH, body, headers)
    (warning,) = json.loads(answer.headers["x-warnings"])
    assert "\u0442\u0438\u0445\u043e" in warning
    first, *others = events_of(ask(stack.url, "POST", SPEECH, {**body, "stream_format": "sse"}).body)
    assert first == {"type": "speech.audio.warnings", "warnings": [warning], "from": 0, "to": len(text)}
    assert b"".join(base64.b64decode(each["audio"]) for each in others[:-1]) == answer.body
    assert "x-warnings" not in ask(stack.url, "POST", SPEECH, body | {"input": TEXT}).headers


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "spans"}])
def test_events_tell_which_span_of_the_text_each_delta_speaks(stack: Stack, headers: dict[str, str]) -> None:
    text = f"<b>$5</b> \U0001d54f. {LONG}"  # one letter is two units of UTF-16, and one code point
    body = {"model": "hibari-en", "input": text, "response_format": "pcm", "stream_format": "sse"}
    deltas, audio = told_in_events(ask(stack.url, "POST", SPEECH, {**body, "include": ["spans"]}, headers).body)
    with Client(stack.target, timeout_s=30) as client:
        speech = client.speak("hibari-en", text, outputs=["spans"])
    assert speech.spans is not None
    assert [row for delta in deltas for row in delta.get("spans", [])] == speech.spans.tolist()
    assert {delta["sample_rate"] for delta in deltas if "spans" in delta} == {RATE}
    assert len(audio) == 2 * speech.spans[-1][3]
    if not headers:  # what comes at once carries its spans with its first bytes
        at = 0
        for delta in deltas:
            assert all(2 * row[2] >= at for row in delta.get("spans", [])[:1])
            at += len(base64.b64decode(delta["audio"]))
    plain, same = told_in_events(ask(stack.url, "POST", SPEECH, {**body, "include": []}).body)
    assert {key for delta in plain for key in delta} == {"type", "audio"}
    assert same == audio


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg (apt-get install ffmpeg)")
@pytest.mark.parametrize("text", [TEXT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("name", FORMATS)
def test_ffmpeg_decodes_what_comes(stack: Stack, name: str, text: str) -> None:
    def spoken(wanted: str) -> bytes:
        return ask(stack.url, "POST", SPEECH, {"model": "hibari-en", "input": text, "response_format": wanted}).body

    samples = np.frombuffer(spoken("pcm"), "<i2")
    told = ["-f", "s16le", "-ar", str(RATE)] if name == "pcm" else []
    command = ["ffmpeg", "-v", "error", *told, "-i", "-", "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
    done = subprocess.run(command, input=spoken(name), capture_output=True, check=True, timeout=60)
    found = np.frombuffer(done.stdout, "<i2")
    if name in ("wav", "flac", "pcm"):
        assert np.array_equal(found, samples)
    else:
        assert samples.size - 1 <= found.size <= samples.size + PADDING[name]


def test_an_idempotency_key_gets_one_whole_answer(stack: Stack) -> None:
    body, headers = {"model": "hibari-en", "input": LONG}, {"Idempotency-Key": "speech-over-http"}
    first, again = (ask(stack.url, "POST", SPEECH, body, headers) for _ in range(2))
    assert (first.status, first.body) == (200, again.body)
    assert ask(stack.url, "POST", SPEECH, {**body, "input": "Other."}, headers).status == 409
    refused = ask(stack.url, "POST", SPEECH, body, {"Idempotency-Key": "x" * 1000})
    assert (refused.status, refused.json()["error"]["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    "body",
    [
        {"voice": "alloy"},
        {"voice": "alloy", "response_format": "mp3", "speed": 1},
        {"instructions": "None", "response_format": "mp3"},
        {"voice": {"id": "alloy"}, "response_format": "wav"},
        {"voice": None, "response_format": None, "speed": None},
        {"voice": "nova", "user": "u", "stream": False, "model_params": {"temperature": 1}},
        {"seed": 7, "speed": 1.25, "locale": "en-GB", "response_format": "pcm"},
    ],
)
def test_what_known_clients_send_is_spoken(stack: Stack, body: dict[str, Any]) -> None:
    assert ask(stack.url, "POST", SPEECH, {"model": "tts-1", "input": "Hi there.", **body}).status == 200


def test_extra_keys_are_the_deployment_s_inputs(stack: Stack) -> None:
    def spoken(**more: Any) -> bytes:
        body = {"model": "hibari-en", "input": "Hi there.", "response_format": "pcm", **more}
        return ask(stack.url, "POST", SPEECH, body).body

    assert spoken(seed=1) == spoken(seed=1) != spoken(seed=2)
    assert len(spoken(speed=0.5)) > 1.5 * len(spoken())


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"model": "nobody"}, 404, None, "model_not_found"),
        ({"model": None}, 400, "model", "invalid_request"),
        ({"model": "identity-onnx"}, 400, "model", "invalid_request"),
        ({"input": " "}, 400, "input", "invalid_request"),
        ({"input": "\u0422\u0438\u0448\u0438\u043d\u0430."}, 400, "input", "invalid_request"),
        ({"input": 5}, 400, "input", "invalid_request"),
        ({"speed": 9}, 400, "speed", "invalid_request"),
        ({"speed": 0.3}, 400, "speed", "invalid_request"),
        ({"speed": "fast"}, 400, "speed", "invalid_request"),
        ({"response_format": "ogg"}, 400, "response_format", "invalid_request"),
        ({"stream_format": "chunks"}, 400, "stream_format", "invalid_request"),
        ({"include": ["spans"]}, 400, "include", "invalid_request"),
        ({"include": ["words"], "stream_format": "sse"}, 400, "include", "invalid_request"),
        ({"include": "spans", "stream_format": "sse"}, 400, "include", "invalid_request"),
        ({"voice": 3}, 400, "voice", "invalid_request"),
        ({"seed": -1}, 400, "seed", "invalid_request"),
        ({"seed": "x"}, 400, "seed", "invalid_request"),
        ({"model": "luxtts"}, 503, None, "not_serving"),
    ],
)
def test_an_error_has_openai_s_shape_and_names_the_key(
    stack: Stack, body: dict[str, Any], status: int, param: str | None, code: str
) -> None:
    reply = ask(stack.url, "POST", SPEECH, {"model": "hibari-en", "input": "Hi.", **body})
    error = reply.json()["error"]
    assert (reply.status, error["param"], error["code"]) == (status, param, code)
    assert set(error) == {"message", "type", "param", "code"}


def test_errors_are_the_client_s_own_classes(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as gone:
        openai_client.audio.speech.create(model="nobody", voice="alloy", input="Hi.")
    assert gone.value.code == "model_not_found"
    assert gone.value.request_id == gone.value.response.headers["kernelport-request-id"]
    with pytest.raises(openai.BadRequestError) as wrong:
        openai_client.audio.speech.create(model="tts-1", voice="alloy", input="Hi.", speed=4)
    assert wrong.value.param == "speed"


def test_models_and_their_aliases_are_listed(openai_client: openai.OpenAI, stack: Stack) -> None:
    names = [model.id for model in openai_client.models.list()]
    assert names == ["hibari-en", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert openai_client.models.retrieve("tts-1").id == "tts-1"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("identity-onnx")
    assert [model["id"] for model in ask(stack.url, "GET", "/v1/audio/models").json()["models"]] == names


def test_a_voice_is_registered_listed_and_deleted(openai_client: openai.OpenAI, stack: Stack) -> None:
    tone = np.sin(np.arange(RATE, dtype=np.float32) / 20) / 2
    sample = ("anna.wav", encode_audio(tone, RATE, ".wav"), "audio/wav")
    made = openai_client.audio.voices.create(name="over-http", audio_sample=sample, consent="cons_1")
    try:
        assert (made.id, made.name, made.type) == ("over-http", "over-http", "audio_sample")
        listed = ask(stack.url, "GET", "/v1/audio/voices").json()
        assert listed["voices"] == listed["data"]
        assert "over-http" in [voice["id"] for voice in listed["voices"]]
        with pytest.raises(openai.ConflictError):
            openai_client.audio.voices.create(name="over-http", audio_sample=sample, consent="cons_1")
        with pytest.raises(openai.BadRequestError):
            openai_client.audio.voices.create(name="other", audio_sample=("a.wav", b"RIFF"), consent="cons_1")
    finally:
        assert openai_client.audio.voices.delete("over-http").deleted
    with pytest.raises(openai.NotFoundError):
        openai_client.audio.voices.delete("over-http")
