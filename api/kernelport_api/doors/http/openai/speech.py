"""`POST /v1/audio/speech`."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
from starlette.types import ASGIApp

from kernelport.audio_encoder import encode_whole, encoder
from kernelport.coercion import to_tensors
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature, is_speech
from kernelport.speech_request import FORMATS, SPANS, SpeechRequest, by_key
from kernelport.tensors import Array, to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.access.deployments import CallersDeployments
from kernelport_api.doors.http.answers import Streamed
from kernelport_api.doors.http.endpoint import HttpCall
from kernelport_api.services.inference import Inference

Made = TypeVar("Made")

MOST_BYTES = 4 * 2**20
# Of an encoded answer in one event.
_DELTA_BYTES = 48 * 2**10
# A header: a list of texts as JSON in ASCII. Proxies refuse what is much longer.
_WARNINGS, _MOST_HEADER = "x-warnings", 4096

# Threads of their own: encoding takes longer than what else is done aside from the event loop.
_encoders = ThreadPoolExecutor(thread_name_prefix="encode")


@dataclass(frozen=True)
class Encoded:
    """A part of an encoded answer.

    Attributes:
        audio: its bytes; none while the encoder gathers.
        spans: what it speaks, if that was asked for: of each piece the characters of the text from and to, its first
            sample and the one behind its last, of the whole.
        rate: of these samples, in Hz.
    """

    audio: bytes
    spans: list[list[int]]
    rate: int


class Speech:
    """Speaks texts."""

    def __init__(self, deployments: CallersDeployments, inference: Inference) -> None:
        self._deployments = deployments
        self._inference = inference

    async def create(self, call: HttpCall) -> ASGIApp:
        """The file that a request asks for, or the events that it is in pieces of, sent as it is spoken."""
        arrived_at = time.monotonic()
        request = SpeechRequest.of(await call.json())
        if request.has_spans and request.stream_format != "sse":
            raise InvalidArgumentError.of([FieldViolation("include", "expected stream_format sse beside it")])
        messages = self.messages(await self.infer_request(request, call.header(b"idempotency-key")), arrived_at)
        first = await anext(messages)
        parts = _encoded(request.response_format, first, messages)
        headers = {
            "openai-processing-ms": str(round(1000 * (time.monotonic() - arrived_at))),
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        if first.warnings:
            headers[_WARNINGS] = _as_header(first.warnings)
        if request.stream_format == "sse":
            told = [warned(first.warnings, 0, len(request.text))] if first.warnings else []
            return Streamed(_events(parts, told, len(request.text)), "text/event-stream", headers)
        return Streamed(_file(parts), FORMATS[request.response_format][1], headers)

    async def infer_request(self, request: SpeechRequest, request_id: str = "") -> pb.InferRequest:
        """What a request asks of its deployment.

        Raises:
            InvalidArgumentError: the deployment does not speak, or does not take or tell what the request says.
            NotFoundError: there is none of this name.
        """
        name = self._deployment(request.model)
        signature = await self._inference.signature(name)
        if signature is not None and not is_speech(signature):
            found = f'expected a deployment that speaks; "{request.model}" gives no audio'
            raise InvalidArgumentError.of([FieldViolation("model", found)])
        if request.has_spans and signature is not None and all(each.name != SPANS for each in signature.outputs):
            found = f'expected none: "{request.model}" does not tell what it speaks when'
            raise InvalidArgumentError.of([FieldViolation("include", found)])
        inputs = request.inputs(signature or Signature(), self._deployments.aliases.voices)
        outputs = ["audio", "sample_rate", SPANS] if request.has_spans else []
        return pb.InferRequest(model=name, inputs=to_tensors(inputs), request_id=request_id, outputs=outputs)

    async def messages(self, infer: pb.InferRequest, arrived_at: float) -> AsyncGenerator[pb.InferResponse, None]:
        """The answer as it is made; what is kept for a request id is a whole one."""
        body = infer.SerializeToString()
        try:
            if infer.request_id:
                response = pb.InferResponse.FromString(await self._inference.answer(infer, body, None, arrived_at))
                response.last = True
                yield response
                return
            async with contextlib.aclosing(self._inference.stream(infer, body, None, arrived_at)) as messages:
                async for message in messages:
                    yield pb.InferResponse.FromString(message)
        except InvalidArgumentError as error:
            raise by_key(error) from error

    def _deployment(self, model: str) -> str:
        """The deployment that a model's name stands for; the name itself where it stands for none."""
        return model if model in self._deployments else self._deployments.aliases.models.get(model, model)


async def _encoded(
    response_format: str, first: pb.InferResponse, messages: AsyncGenerator[pb.InferResponse, None]
) -> AsyncGenerator[Encoded, None]:
    """The file that messages become, in parts. One that is whole says in its header how long it is."""
    async with contextlib.aclosing(messages):
        samples, rate = speech_of(first)
        try:
            if first.last:
                audio = await in_encoder_thread(encode_whole, response_format, samples, rate)
                yield Encoded(audio, spans_of(first), rate)
                await anext(messages, None)  # to its end: who leaves before looks as if they had hung up
                return
            making = await in_encoder_thread(encoder, response_format, rate)
            yield Encoded(await in_encoder_thread(making.encode, samples), spans_of(first), rate)
            async for message in messages:
                audio = await in_encoder_thread(making.encode, speech_of(message)[0])
                yield Encoded(audio, spans_of(message), rate)
            yield Encoded(await in_encoder_thread(making.finish), [], rate)
        except ValueError as error:
            found = f"speech at {rate} Hz cannot be {response_format}: {error}"
            raise InvalidArgumentError.of([FieldViolation("response_format", found)]) from error


def speech_of(message: pb.InferResponse) -> tuple[Array, int]:
    """The samples of a message, and their rate in Hz; 0 when it does not say."""
    outputs = {tensor.name: to_array(tensor) for tensor in message.outputs}
    samples, rate = outputs.get("audio", np.empty(0, np.float32)), outputs.get("sample_rate")
    return samples.ravel(), int(rate.ravel()[0]) if rate is not None and rate.size else 0


def spans_of(message: pb.InferResponse) -> list[list[int]]:
    """Of the pieces in a message, what they speak; nothing when it does not say."""
    return [row for tensor in message.outputs if tensor.name == SPANS for row in to_array(tensor).tolist()]


async def in_encoder_thread(work: Callable[..., Made], *arguments: Any) -> Made:
    """What `work` gives. It goes on to its end, whoever gives up waiting: an encoder does one thing after the other."""
    running = asyncio.get_running_loop().run_in_executor(_encoders, lambda: work(*arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _as_header(warnings: Iterable[str]) -> str:
    """As many of them as a header has room for."""
    told: list[str] = []
    for warning in warnings:
        if len(json.dumps([*told, warning])) > _MOST_HEADER:
            break
        told.append(warning)
    return json.dumps(told)


async def _file(parts: AsyncGenerator[Encoded, None]) -> AsyncGenerator[bytes, None]:
    """The bytes alone."""
    async with contextlib.aclosing(parts):
        async for part in parts:
            yield part.audio


async def _events(
    parts: AsyncGenerator[Encoded, None], before: Sequence[dict[str, Any]], characters: int
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: what is told before, a file in parts, and its end."""
    async with contextlib.aclosing(parts):
        for told in before:
            yield _event(told)
        async for part in parts:
            for told in deltas(part):
                yield _event(told)
    yield _event(done(characters))


def deltas(part: Encoded) -> Iterator[dict[str, Any]]:
    """The events of a part of an encoded answer; the first of them tells what it speaks."""
    told: dict[str, Any] = {"spans": part.spans, "sample_rate": part.rate} if part.spans else {}
    for start in range(0, len(part.audio), _DELTA_BYTES) or ([0] if told else []):
        audio = base64.b64encode(part.audio[start : start + _DELTA_BYTES]).decode()
        yield {"type": "speech.audio.delta", "audio": audio, **(told if start == 0 else {})}


def warned(warnings: Iterable[str], start: int, end: int) -> dict[str, Any]:
    """The event of what was not spoken as it is written, between two places of the text, in characters."""
    return {"type": "speech.audio.warnings", "warnings": list(warnings), "from": start, "to": end}


def done(characters: int) -> dict[str, Any]:
    """The event of an answer's end. There are no tokens here: the usage tells the characters of the text."""
    usage = {"input_tokens": characters, "output_tokens": 0, "total_tokens": characters}
    return {"type": "speech.audio.done", "usage": usage}


def _event(told: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(told) + b"\n\n"
