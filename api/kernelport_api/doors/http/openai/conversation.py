"""`/v1/audio/speech/stream`: a WebSocket on which text comes bit by bit, and speech goes out as it is made."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import msgspec
import numpy as np
from starlette.types import ASGIApp, Receive, Scope, Send

from kernelport.audio_encoder import AudioEncoder, encoder
from kernelport.errors import FieldViolation, InternalError, InvalidArgumentError, ResourceExhaustedError
from kernelport.speech_request import SpeechRequest
from kernelport.tensors import Array
from kernelport.text import complete
from kernelport_api.aside import aside
from kernelport_api.calls import current
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.http.bodies import why_no_json
from kernelport_api.doors.http.endpoint import WHILE_ALLOWED, HttpCall, HungUpError
from kernelport_api.doors.http.errors import Problem, Refusal, openai_body
from kernelport_api.doors.http.openai.speech import (
    Encoded,
    Speech,
    deltas,
    done,
    in_encoder_thread,
    spans_of,
    speech_of,
    warned,
)

PATH = "/v1/audio/speech/stream"
# A caller says what it wants within the first, and is sent away when it says nothing and hears nothing for the second.
GREETING_S, IDLE_S = 20.0, 600.0
# So many characters may wait to be spoken: some two hours of speech.
MOST_WAITING = 100_000
# Above it a text is looked at aside from the event loop.
_SHORT_TEXT = 120
# Codes with which a WebSocket is closed.
_NORMAL, _REFUSED, _FAILED, _TRY_AGAIN = 1000, 1008, 1011, 1013


class Update(msgspec.Struct, tag="session.update"):
    """What all that follows is spoken as: the keys of `POST /v1/audio/speech` but for `input`. It comes first, once."""

    session: dict[str, Any]


class Append(msgspec.Struct, tag="input_text.append"):
    """Text that goes on from what came before."""

    text: str


class Flush(msgspec.Struct, tag="input_text.flush"):
    """What has come is spoken to its end, though it may not look complete."""


class End(msgspec.Struct, tag="input_text.end"):
    """No more text comes."""


class Cancel(msgspec.Struct, tag="input_text.cancel"):
    """Whatever is not spoken yet is dropped, and what is being spoken is broken off."""


Said = Update | Append | Flush | End | Cancel
_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


@dataclass(frozen=True)
class _Part:
    """What is spoken at a time.

    Attributes:
        start: where it begins in all the text that has come, in characters.
        pause_s: seconds of silence behind it.
    """

    text: str
    start: int
    pause_s: float = 0.0


class _Mark(Enum):
    """What callers are told once everything before it has been spoken."""

    FLUSHED = "speech.audio.flushed"
    CANCELLED = "speech.audio.cancelled"
    DONE = "speech.audio.done"


class Conversations:
    """Answers WebSockets; an ASGI application.

    Args:
        runs: the calls that run a model: each part that is spoken is one of them.
        watches: calls that nobody waits for when the front door stops: connections, while nothing is spoken on them.
    """

    def __init__(self, speech: Speech, runs: Calls, watches: Calls) -> None:
        self._speech = speech
        self._runs = runs
        self._watches = watches

    async def over_http(self, call: HttpCall) -> ASGIApp:
        """Speaks text that comes bit by bit; for WebSockets alone."""
        raise Refusal(426, "expected a WebSocket", connection="upgrade", upgrade="websocket")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        current().route = f"GET {PATH}"
        await receive()  # that it wants to connect
        await send({"type": "websocket.accept"})
        try:
            with self._watches, scope[WHILE_ALLOWED]():
                request = await _greeting(receive)
                await self._speech.infer_request(request)  # so that what is wrong with it is told before any text comes
                await _tell(send, {"type": "session.updated"})
                await _Conversation(self._speech, self._runs, request, send).run(receive)
            await send({"type": "websocket.close", "code": _NORMAL})
        except (HungUpError, OSError):  # an OSError: what is sent to somebody who has gone
            pass
        except Exception as error:
            problem = Problem.of(error)
            may_try = problem.headers.get("x-should-retry") == "true"
            code = _TRY_AGAIN if may_try else _FAILED if problem.status >= 500 else _REFUSED
            with contextlib.suppress(OSError):
                await _tell(send, {"type": "error", **openai_body(problem)})
                await send({"type": "websocket.close", "code": code})


class _Conversation:
    """One connection: all that is spoken on it is one file, made by one encoder."""

    def __init__(self, speech: Speech, runs: Calls, request: SpeechRequest, send: Send) -> None:
        self._speech = speech
        self._runs = runs
        self._request = request
        self._send = send
        self._is_told = request.stream_format == "sse"
        self._rest = ""  # of the text: it may go on yet
        self._came = 0  # characters of text, the rest among them
        self._queue: asyncio.Queue[_Part | _Mark] = asyncio.Queue()
        self._waiting = self._characters = 0
        self._has_ended = False
        self._speaking: asyncio.Task[None] | None = None
        self._encoder: AudioEncoder | None = None
        self._rate = self._samples = 0

    async def run(self, receive: Receive) -> None:
        """Returns when everything has been spoken; raises what goes wrong.

        Raises:
            HungUpError: the caller has gone.
        """
        both = [asyncio.create_task(self._listen(receive)), asyncio.create_task(self._speak())]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            running = [task for task in (*both, self._speaking) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            for task in running:
                _ = task.cancelled() or task.exception()  # asyncio would log what nobody has looked at

    async def _listen(self, receive: Receive) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    message = await _message(receive)
            except TimeoutError:
                if self._queue.empty() and self._speaking is None:
                    raise Refusal(408, f"expected text within {IDLE_S:g} s") from None
                continue
            match message:
                case Cancel():
                    self._cancel()
                case Update():
                    raise _refusal("session.update", "expected it once, before any text")
                case _ if self._has_ended:
                    raise _refusal("input_text", "expected nothing behind its end")
                case Append(text):
                    await self._append(text)
                case Flush():
                    self._flush(_Mark.FLUSHED)
                case End():
                    self._has_ended = True
                    self._flush(_Mark.DONE)

    async def _append(self, text: str) -> None:
        self._take_in(len(text))
        self._rest += text
        self._came += len(text)
        look = self._rest
        length, pause_s = complete(look) if len(look) <= _SHORT_TEXT else await aside(complete, look)
        if length:
            self._queue.put_nowait(_Part(look[:length], self._came - len(look), pause_s))
            self._rest = look[length:]

    def _flush(self, mark: _Mark) -> None:
        self._take_in(1)
        if any(map(str.isalnum, self._rest)):
            self._queue.put_nowait(_Part(self._rest, self._came - len(self._rest)))
        else:
            self._waiting -= len(self._rest)
        self._rest = ""
        self._queue.put_nowait(mark)

    def _take_in(self, characters: int) -> None:
        self._waiting += characters
        if self._waiting > MOST_WAITING:
            found = f"input_text: expected at most {MOST_WAITING:,} characters that wait to be spoken"
            raise ResourceExhaustedError(found)

    def _cancel(self) -> None:
        self._rest, self._waiting = "", 0
        while not self._queue.empty():
            self._queue.get_nowait()
        if self._speaking is not None:
            self._speaking.cancel()
        self._queue.put_nowait(_Mark.CANCELLED)
        if self._has_ended:
            self._queue.put_nowait(_Mark.DONE)

    async def _speak(self) -> None:
        while True:
            match await self._queue.get():
                case _Part() as part:
                    self._waiting -= len(part.text)
                    self._speaking = asyncio.create_task(self._speak_or_tell(part))
                    await asyncio.wait([self._speaking])
                    ended, self._speaking = self._speaking, None
                    if not ended.cancelled():
                        ended.result()
                case _Mark.DONE:
                    if self._encoder is not None:
                        await self._send_audio(await in_encoder_thread(self._encoder.finish), [])
                    await _tell(self._send, done(self._characters))
                    return
                case mark:
                    self._waiting -= mark is _Mark.FLUSHED
                    await _tell(self._send, {"type": mark.value})

    async def _speak_or_tell(self, part: _Part) -> None:
        """Speaks a part. One in which there is nothing to say is told, and the next may come."""
        try:
            await self._speak_part(part)
        except InvalidArgumentError as error:
            if {each.field for each in error.violations} != {"input"}:
                raise
            await self._warn(part, [each.description for each in error.violations])

    async def _speak_part(self, part: _Part) -> None:
        arrived_at = time.monotonic()
        with self._runs:
            infer = await self._speech.infer_request(replace(self._request, text=part.text))
            async with contextlib.aclosing(self._speech.messages(infer, arrived_at)) as messages:
                before = self._samples
                async for message in messages:
                    if message.warnings:
                        await self._warn(part, message.warnings)
                    samples, rate = speech_of(message)
                    spans = [
                        [start + part.start, end + part.start, first + before, behind + before]
                        for start, end, first, behind in spans_of(message)
                    ]
                    if message.last and part.pause_s:
                        pause = np.zeros(round(part.pause_s * (rate or self._rate)), np.float32)
                        samples = np.concatenate([samples, pause])
                        spans = [*spans[:-1], *([*each[:3], each[3] + pause.size] for each in spans[-1:])]
                    await self._encode(samples, rate, spans)
            self._characters += len(part.text)

    async def _warn(self, part: _Part, warnings: Iterable[str]) -> None:
        await _tell(self._send, warned(warnings, part.start, part.start + len(part.text)))

    async def _encode(self, samples: Array, rate: int, spans: list[list[int]]) -> None:
        """Sends what the next samples become.

        Args:
            rate: in Hz; 0 where it is not said again.
            spans: what they speak, in all the text and sound of the connection.
        """
        if self._encoder is None:
            try:
                self._encoder = await in_encoder_thread(encoder, self._request.response_format, rate)
            except ValueError as error:
                raise _refusal("response_format", f"speech at {rate} Hz cannot be this: {error}") from error
            self._rate = rate
        if rate not in (0, self._rate):
            raise InternalError(f"the model has changed: it speaks at {rate} Hz, and has spoken at {self._rate} Hz")
        audio = await in_encoder_thread(self._encoder.encode, samples)
        self._samples += samples.size
        await self._send_audio(audio, spans)

    async def _send_audio(self, audio: bytes, spans: list[list[int]]) -> None:
        if self._is_told:
            for event in deltas(Encoded(audio, spans, self._rate)):
                await _tell(self._send, event)
            return
        if spans:
            await _tell(self._send, {"type": "speech.audio.spans", "spans": spans, "sample_rate": self._rate})
        if audio:
            await self._send({"type": "websocket.send", "bytes": audio})


async def _greeting(receive: Receive) -> SpeechRequest:
    """What a caller wants: its first message.

    Raises:
        InvalidArgumentError: it is none, or has a key that is not as it should be.
        Refusal: it does not come.
    """
    try:
        async with asyncio.timeout(GREETING_S):
            first = await _message(receive)
    except TimeoutError:
        raise Refusal(408, f"expected session.update within {GREETING_S:g} s") from None
    if not isinstance(first, Update):
        raise _refusal("type", "expected session.update first")
    if "input" in first.session:
        raise _refusal("session.input", "expected none: text comes in input_text.append")
    return SpeechRequest.of({**first.session, "input": "-"})


async def _message(receive: Receive) -> Said:
    """The next message.

    Raises:
        HungUpError: none comes any more.
        InvalidArgumentError: it is none that is known.
    """
    event = await receive()
    if event["type"] == "websocket.disconnect":
        raise HungUpError
    text = event.get("text") or ""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        why_not = why_no_json(error, text.encode())
        raise _refusal("message", f"expected JSON text of a known type: {why_not}") from error


async def _tell(send: Send, event: dict[str, Any]) -> None:
    await send({"type": "websocket.send", "text": msgspec.json.encode(event).decode()})


def _refusal(field: str, expected: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([FieldViolation(field, expected)])
