"""Speech over a WebSocket: text comes bit by bit, and is heard as soon as a sentence of it is there."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from redis import Redis

from kernelport import Client
from kernelport.broker import keys
from kernelport.broker.queues import queue_keys
from kernelport.config.settings import bundled_deployments
from kernelport.supervisor.stack import Stack
from kernelport.text.pieces import KEPT_S, PARAGRAPH_S, SENTENCE_S
from kernelport_api.doors.http.openai.conversation import MOST_WAITING
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.waiting import wait_for

PATH = "/v1/audio/speech/stream"
RATE = 24_000
SESSION = {"model": "hibari-en", "response_format": "pcm"}
QUIET, STILL = "The harbour was quiet.", "The boats lay still."
END, FLUSH, CANCEL = ({"type": f"input_text.{verb}"} for verb in ("end", "flush", "cancel"))

HI = {"type": "input_text.append", "text": "Hi."}


class Talk:
    """The client's side of a connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def append(self, text: str) -> None:
        await self.socket.send_json({"type": "input_text.append", "text": text})

    async def next(self) -> bytes | dict[str, Any]:
        """Audio, or an event."""
        message = await self.socket.receive(60)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), message
        return message.data if message.type == aiohttp.WSMsgType.BINARY else json.loads(message.data)

    async def until(self, kind: str) -> bytes:
        """The audio before an event."""
        audio = b""
        while isinstance(came := await self.next(), bytes):
            audio += came
        assert came["type"] == kind, came
        return audio

    async def closed(self) -> int | None:
        """The code with which the connection is closed."""
        message = await self.socket.receive(60)
        assert message.type == aiohttp.WSMsgType.CLOSE, message
        return self.socket.close_code


@asynccontextmanager
async def connected(url: str, **headers: str) -> AsyncIterator[Talk]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}{PATH}", headers=headers) as socket:
        yield Talk(socket)


@asynccontextmanager
async def talking(stack: Stack, **session: Any) -> AsyncIterator[Talk]:
    async with connected(stack.url) as talk:
        await talk.socket.send_json({"type": "session.update", "session": SESSION | session})
        assert await talk.next() == {"type": "session.updated"}
        yield talk


def pcm(samples: Any) -> bytes:
    raw: bytes = np.rint(np.clip(samples, -1, 1) * np.float32(32767)).astype("<i2").tobytes()
    return raw


@pytest.fixture(scope="module")
def spoken(stack: Stack) -> dict[str, bytes]:
    """The same sentences as gRPC gives them."""
    with Client(stack.target, timeout_s=30) as client:
        return {text: pcm(client.speak("hibari-en", text).audio) for text in (QUIET, STILL)}


async def test_a_sentence_is_heard_before_the_next_has_come(stack: Stack, spoken: dict[str, bytes]) -> None:
    async with talking(stack) as talk:
        for word in f"{QUIET} The".split(" "):
            await talk.append(f"{word} ")
        first = b""
        pause = bytes(2 * round((SENTENCE_S - 2 * KEPT_S) * RATE))
        while len(first) < len(spoken[QUIET] + pause):
            came = await talk.next()
            assert isinstance(came, bytes)
            first += came
        assert first == spoken[QUIET] + pause
        await talk.append(STILL.removeprefix("The "))
        await talk.socket.send_json(END)
        assert await talk.until("speech.audio.done") == spoken[STILL]
        assert await talk.closed() == 1000


async def test_pauses_are_as_long_as_in_a_call(stack: Stack) -> None:
    text = f'<break time="1s"/> {QUIET} {STILL}\n\n{QUIET} <break time="2s"/> {STILL}'
    async with talking(stack) as talk:
        for word in text.split(" "):
            await talk.append(f"{word} ")
        await talk.socket.send_json(END)
        sound = np.abs(np.frombuffer(await talk.until("speech.audio.done"), "<i2")) > 10 ** (-50 / 20) * 32767
    heard = np.flatnonzero(sound)
    between = np.diff(heard) / RATE
    pauses = [heard[0] / RATE, *between[between > 0.2]]
    assert pauses == pytest.approx([1, SENTENCE_S, PARAGRAPH_S, 2], abs=0.03)


async def test_a_flush_speaks_what_looks_unfinished_and_says_when_it_has(stack: Stack) -> None:
    async with talking(stack) as talk:
        await talk.append("Well, I")
        await talk.socket.send_json(FLUSH)
        assert len(await talk.until("speech.audio.flushed")) > RATE / 2
        await talk.socket.send_json(FLUSH)
        assert await talk.until("speech.audio.flushed") == b"", "there was nothing to say"


async def test_what_cannot_be_spoken_is_told_and_the_next_sentence_is(stack: Stack, spoken: dict[str, bytes]) -> None:
    unsaid, mixed = "\u0442\u0438\u0448\u0438\u043d\u0430", "A \u0442\u0438\u0445\u043e bell."
    async with talking(stack) as talk:
        for text, place in ((unsaid, (0, 6)), (mixed, (6, 18))):
            await talk.append(text)
            await talk.socket.send_json(FLUSH)
            told = await talk.next()
            assert isinstance(told, dict)
            assert (told["type"], told["from"], told["to"]) == ("speech.audio.warnings", *place)
            assert text[2:6] in told["warnings"][0]
            assert bool(await talk.until("speech.audio.flushed")) == (text == mixed)
        await talk.append(QUIET)
        await talk.socket.send_json(END)
        assert await talk.until("speech.audio.done") == spoken[QUIET]
        assert await talk.closed() == 1000


async def test_a_cancelled_turn_is_broken_off_and_the_next_is_heard(stack: Stack, spoken: dict[str, bytes]) -> None:
    async with talking(stack) as talk:
        await talk.append(f"{QUIET} {STILL} " * 500)
        assert isinstance(await talk.next(), bytes)
        await talk.socket.send_json(CANCEL)
        heard = await talk.until("speech.audio.cancelled")
        assert len(heard) < 50 * len(spoken[QUIET])
        await talk.append(QUIET)
        await talk.socket.send_json(END)
        assert await talk.until("speech.audio.done") == spoken[QUIET]


# One sentence, which is cut into many pieces.
ENDLESS = "the boats lay still in the harbour, and nobody came to see them, " * 300


def is_at_rest(redis: Redis) -> bool:
    """Whether nothing of the voice is queued, or in a worker's hands."""
    return not redis.zcard(keys.UNACKED_INDEX) and not any(map(redis.llen, queue_keys("hibari-en")))


async def test_a_cancel_takes_effect_within_a_step(stack: Stack, redis: Redis) -> None:
    async with talking(stack) as talk:
        await talk.append(ENDLESS)
        await talk.socket.send_json(FLUSH)
        first = await talk.next()
        assert isinstance(first, bytes)
        assert not is_at_rest(redis)
        await talk.socket.send_json(CANCEL)
        still = await talk.until("speech.audio.cancelled")
        assert len(still) < 10 * len(first), "of hundreds of pieces"
        await asyncio.to_thread(wait_for, lambda: is_at_rest(redis), 3)


async def test_who_hangs_up_is_spoken_for_no_longer(stack: Stack, redis: Redis) -> None:
    async with talking(stack) as talk:
        await talk.append(f"{QUIET} {STILL} " * 1000)
        await talk.append(ENDLESS)
        assert isinstance(await talk.next(), bytes)
        response = talk.socket._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()
    looks = itertools.count()

    def stays_at_rest() -> bool:
        """For longer than a sentence takes."""
        nonlocal looks
        if not is_at_rest(redis):
            looks = itertools.count()
        return next(looks) > 50

    await asyncio.to_thread(wait_for, stays_at_rest, 20)


async def test_audio_comes_as_events_for_whoever_asks(stack: Stack, spoken: dict[str, bytes]) -> None:
    async with talking(stack, stream_format="sse") as talk:
        await talk.append(QUIET)
        await talk.socket.send_json(END)
        audio = b""
        while (event := await talk.next()) and isinstance(event, dict) and event["type"] == "speech.audio.delta":
            audio += base64.b64decode(event["audio"])
        assert isinstance(event, dict)
        assert (event["type"], event["usage"]["input_tokens"]) == ("speech.audio.done", len(QUIET))
        assert audio == spoken[QUIET]


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_spans_are_places_in_all_the_text_and_sound_of_a_connection(stack: Stack, stream_format: str) -> None:
    text = f"{QUIET} {STILL} {QUIET}"
    spans: list[list[int]] = []
    heard = 0
    async with talking(stack, stream_format=stream_format, include=["spans"]) as talk:
        for start in range(0, len(text), 7):
            await talk.append(text[start : start + 7])
        await talk.socket.send_json(END)
        while (came := await talk.next()) and (isinstance(came, bytes) or came["type"] != "speech.audio.done"):
            if isinstance(came, bytes):
                heard += len(came)
                continue
            assert came["type"] == ("speech.audio.delta" if stream_format == "sse" else "speech.audio.spans")
            heard += len(base64.b64decode(came.get("audio", "")))
            spans += came.get("spans", [])
    assert [text[start:end] for start, end, _, _ in spans] == [QUIET, STILL, QUIET]
    assert [first for _, _, first, _ in spans] == [0, *(behind for _, _, _, behind in spans[:-1])]
    assert 2 * spans[-1][3] == heard


async def test_all_that_is_spoken_is_one_file(stack: Stack) -> None:
    async with talking(stack, response_format="wav") as talk:
        await talk.append(f"{QUIET} {STILL}")
        await talk.socket.send_json(FLUSH)
        before = await talk.until("speech.audio.flushed")
        await talk.append(QUIET)
        await talk.socket.send_json(END)
        data = before + await talk.until("speech.audio.done")
    assert data.startswith(b"RIFF")
    assert data.count(b"RIFF") == 1


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([HI], "type"),
        ([{"type": "session.update", "session": {"model": "hibari-en", "speed": 9}}], "speed"),
        ([{"type": "session.update", "session": {"model": "identity-onnx"}}], "model"),
        ([{"type": "session.update", "session": {"model": "hibari-en", "input": "Hi."}}], "session.input"),
        ([{"type": "session.update", "session": SESSION}] * 2, "session.update"),
        ([{"type": "session.update", "session": SESSION}, {"type": "input_text.append", "text": 1}], "message"),
        ([{"type": "session.update", "session": SESSION}, {"type": "response.create"}], "message"),
        ([{"type": "session.update", "session": SESSION}, [1]], "message"),
        ([{"type": "session.update", "session": SESSION | {"seed": -1}}, HI, FLUSH], "seed"),
    ],
)
async def test_what_is_wrong_is_told_and_ends_the_connection(stack: Stack, messages: list[Any], param: str) -> None:
    async with connected(stack.url) as talk:
        for message in messages:
            await talk.socket.send_json(message)
        while (event := await talk.next()) == {"type": "session.updated"}:
            pass
        assert isinstance(event, dict)
        assert (event["type"], event["error"]["param"]) == ("error", param)
        assert set(event["error"]) == {"message", "type", "param", "code"}
        assert await talk.closed() == 1008


async def test_what_waits_and_what_comes_at_once_is_bounded(stack: Stack) -> None:
    async with talking(stack) as talk:
        for _ in range(3):
            await talk.append(f"{QUIET} " * (MOST_WAITING // len(QUIET) // 2))
        event = await talk.next()
        while isinstance(event, bytes):
            event = await talk.next()
        assert event["error"]["code"] == "limit_exceeded"
    async with talking(stack) as talk:
        await talk.append("x" * 2**20)
        assert await talk.closed() == 1009


async def test_pages_of_other_origins_and_calls_of_other_kinds_get_no_connection(stack: Stack) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "rebound.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(stack.url, **headers):
                pass
        assert refused.value.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as lost:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{stack.url}/v1/nothing"):
            pass
    assert lost.value.status == 404
    assert ask(stack.url, "GET", PATH).status == 426


async def test_a_connection_on_which_nothing_is_spoken_holds_up_no_stop(tmp_path: Path) -> None:
    with serving_stack(stack_settings(bundled_deployments()), [], tmp_path) as stack:
        async with talking(stack) as talk:
            stack.children["front-door"].terminate()
            event = await talk.next()
            assert isinstance(event, dict)
            assert event["error"]["code"] == "stopping"
            assert await talk.closed() == 1013
