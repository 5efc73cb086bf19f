"""`POST /v1/audio/speech`."""

import asyncio
import base64
import os
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from starlette.types import ASGIApp

from kernelport.audio_encoder import encode_whole
from kernelport.coercion import to_tensors
from kernelport.config.deployments import DeploymentTable
from kernelport.errors import FieldViolation, InvalidArgumentError
from kernelport.signature import Signature, is_speech
from kernelport.speech_request import FORMATS, SpeechRequest, by_key
from kernelport.tensors import to_array
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.doors.http.answers import Answer
from kernelport_api.doors.http.endpoint import Call
from kernelport_api.services.inference import Inference

MOST_BYTES = 4 * 2**20
# Of an encoded answer in one event.
_DELTA_BYTES = 48 * 2**10

# Threads of their own: encoding takes longer than what else is done aside from the event loop.
_encoders = ThreadPoolExecutor(thread_name_prefix="encode")


class Speech:
    """Speaks texts."""

    def __init__(self, deployments: DeploymentTable, inference: Inference) -> None:
        self._deployments = deployments
        self._inference = inference

    async def create(self, call: Call) -> ASGIApp:
        """The file that a request asks for, or the events that it is in pieces of."""
        arrived_at = time.monotonic()
        request = SpeechRequest.of(await call.json())
        response = await self._speak(request, call.header(b"idempotency-key"), arrived_at)
        encoded = await asyncio.get_running_loop().run_in_executor(
            _encoders, _encoded, request.response_format, response
        )
        headers = {
            "x-request-id": f"req_{os.urandom(12).hex()}",
            "openai-processing-ms": str(round(1000 * (time.monotonic() - arrived_at))),
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        if request.stream_format == "sse":
            return Answer(_events(encoded, len(request.text)), "text/event-stream", headers=headers)
        return Answer(encoded, FORMATS[request.response_format][1], headers=headers)

    async def _speak(self, request: SpeechRequest, request_id: str, arrived_at: float) -> bytes:
        """Runs a request; gives the serialized InferResponse. Frames of an answer that is still being made will come
        from here, each for `AudioEncoder.encode`."""
        name = self._deployment(request.model)
        signature = await self._inference.signature(name)
        if signature is not None and not is_speech(signature):
            found = f'expected a deployment that speaks; "{request.model}" gives no audio'
            raise InvalidArgumentError.of([FieldViolation("model", found)])
        inputs = request.inputs(signature or Signature(), self._deployments.aliases.voices)
        infer = pb.InferRequest(model=name, inputs=to_tensors(inputs), request_id=request_id)
        try:
            return await self._inference.answer(infer, infer.SerializeToString(), None, arrived_at)
        except InvalidArgumentError as error:
            raise by_key(error) from error

    def _deployment(self, model: str) -> str:
        """The deployment that a model's name stands for; the name itself where it stands for none."""
        return model if model in self._deployments else self._deployments.aliases.models.get(model, model)


def _encoded(response_format: str, response: bytes) -> bytes:
    """The file that a response becomes; it computes for a while."""
    outputs = {tensor.name: tensor for tensor in pb.InferResponse.FromString(response).outputs}
    samples, rate = to_array(outputs["audio"]).ravel(), int(to_array(outputs["sample_rate"]).item())
    try:
        return encode_whole(response_format, samples, rate)
    except ValueError as error:
        found = f"speech at {rate} Hz cannot be {response_format}: {error}"
        raise InvalidArgumentError.of([FieldViolation("response_format", found)]) from error


def _events(encoded: bytes, characters: int) -> list[bytes]:
    """Server-sent events: an encoded file in pieces, and its end. There are no tokens here: the usage tells the
    characters of the text."""
    pieces = (encoded[start : start + _DELTA_BYTES] for start in range(0, len(encoded), _DELTA_BYTES))
    deltas = [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces]
    usage = {"input_tokens": characters, "output_tokens": 0, "total_tokens": characters}
    done = {"type": "speech.audio.done", "usage": usage}
    return [b"data: " + msgspec.json.encode(event) + b"\n\n" for event in (*deltas, done)]
