"""The client SDK: a synchronous and an asyncio client of one front door."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from kernelport import tensors
from kernelport.coercion import are_arrays, coerce, to_tensors
from kernelport.errors import InternalError, InvalidArgumentError, translated
from kernelport.job_client import AsyncJobs, Jobs
from kernelport.settings import DEFAULT_LISTEN, is_loopback
from kernelport.signature import Signature, tensor_spec
from kernelport.tensors import Array
from kernelport.v1 import (
    dead_letter_pb2,
    dead_letter_pb2_grpc,
    deployment_pb2,
    deployment_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
    voice_pb2,
    voice_pb2_grpc,
)

# Speech at 48 kHz passes gRPC's default of 4 MiB after 21 seconds.
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A front door that is back is found soon; gRPC itself would wait for up to two minutes.
    ("grpc.max_reconnect_backoff_ms", 2000),
)
_SPOKEN = Signature(inputs=[tensor_spec("text", inference_pb2.U8, ["bytes"])])


def channel_options(target: str) -> list[tuple[str, int]]:
    """gRPC's options for a channel to a front door: messages of any size, and no proxy to what is on this machine."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0 if is_loopback(target.rpartition(":")[0]) else 1)]


@dataclass(frozen=True)
class InferResult:
    """The outputs of one request, and where its time went.

    Attributes:
        outputs: arrays by name; read-only.
        queued_us, batched_us, backend_us: microseconds, as the contract defines them.
    """

    outputs: dict[str, Array]
    queued_us: int
    batched_us: int
    backend_us: int

    def __getitem__(self, name: str) -> Array:
        """The output of that name."""
        return self.outputs[name]


@dataclass(frozen=True)
class Speech:
    """Mono audio: float32 samples in [-1, 1], shape (S,), and their rate in hertz."""

    audio: Array
    sample_rate: int

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.audio) / self.sample_rate


class Client:
    """A synchronous client; safe to share between threads.

    Every call raises a KernelPortError of the class that says what went wrong: InvalidArgumentError, NotFoundError,
    UnavailableError, ResourceExhaustedError, DeadlineExceededError or InternalError.

    Attributes:
        jobs: bulk jobs.

    Args:
        target: host:port of a front door.
        timeout_s: seconds each call may take unless it says otherwise; None leaves it to the deployment.
    """

    def __init__(self, target: str = DEFAULT_LISTEN, *, timeout_s: float | None = None) -> None:
        self._channel = grpc.insecure_channel(target, options=channel_options(target))
        self._timeout_s = timeout_s
        self._inference = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._deployments = deployment_pb2_grpc.DeploymentServiceStub(self._channel)
        self._dead_letters = dead_letter_pb2_grpc.DeadLetterServiceStub(self._channel)
        self._voices = voice_pb2_grpc.VoiceServiceStub(self._channel)
        self._signatures: dict[str, Signature] = {}
        self.jobs = Jobs(self._channel, self._fetch_signature, timeout_s)

    def infer(
        self, model: str, inputs: Mapping[str, Any], *, timeout_s: float | None = None, request_id: str = ""
    ) -> InferResult:
        """Runs one request.

        Arrays travel as they are. Numbers, texts, lists and arrays of other dtypes than the deployment declares become
        what it declares where nothing is lost; the client asks for the signature when it needs it first.

        Args:
            model: the deployment's name.
            inputs: by name, anything numpy makes an array of; None for one that is not given.
            timeout_s: seconds until DeadlineExceededError.
            request_id: makes the call safe to repeat: the same id gets the same result, and runs once.
        """
        timeout_s = timeout_s or self._timeout_s
        signature = self._signatures.get(model) if are_arrays(inputs) else self._signature(model, timeout_s)
        try:
            arrays = inputs if signature is None else coerce(inputs, signature)
            return self._infer(model, arrays, timeout_s, request_id)
        except InvalidArgumentError as error:  # the signature may have changed
            if signature is None and not _is_about_dtypes(error):
                raise
            fresh = self._fetch_signature(model, timeout_s)
            if fresh == signature:
                raise
        return self._infer(model, coerce(inputs, fresh), timeout_s, request_id)

    def speak(self, model: str, text: str, *, timeout_s: float | None = None, **inputs: Any) -> Speech:
        """Speaks a text; further keyword arguments are the deployment's optional inputs, such as `seed=7`."""
        return _speech(self.infer(model, _spoken(text, inputs), timeout_s=timeout_s))

    def deployments(self) -> list[deployment_pb2.Deployment]:
        """Every deployment, sorted by name."""
        with translated():
            request = deployment_pb2.ListDeploymentsRequest()
            return list(self._deployments.ListDeployments(request, timeout=self._timeout_s).deployments)

    def deployment(self, name: str) -> deployment_pb2.Deployment:
        """One deployment, with its state, signature and policy."""
        with translated():
            request = deployment_pb2.GetDeploymentRequest(name=name)
            return self._deployments.GetDeployment(request, timeout=self._timeout_s).deployment

    def dead_letters(self, deployment: str) -> list[dead_letter_pb2.DeadLetter]:
        """The dead letters of a deployment, oldest first, without their requests."""
        with translated():
            request = dead_letter_pb2.ListDeadLettersRequest(deployment=deployment)
            return list(self._dead_letters.ListDeadLetters(request, timeout=self._timeout_s).dead_letters)

    def dead_letter(self, deployment: str, letter_id: str) -> dead_letter_pb2.DeadLetter:
        """One dead letter, with its request."""
        with translated():
            request = dead_letter_pb2.GetDeadLetterRequest(deployment=deployment, id=letter_id)
            return self._dead_letters.GetDeadLetter(request, timeout=self._timeout_s).dead_letter

    def replay_dead_letter(self, deployment: str, letter_id: str) -> InferResult:
        """Runs a dead letter again, and removes it when it succeeds."""
        with translated():
            request = dead_letter_pb2.ReplayDeadLetterRequest(deployment=deployment, id=letter_id)
            answer = self._dead_letters.ReplayDeadLetter(request, timeout=self._timeout_s)
        return _result(inference_pb2.InferResponse.FromString(answer.response))

    def purge_dead_letter(self, deployment: str, letter_id: str) -> bool:
        """Removes a dead letter; False when there was none of that id."""
        with translated():
            request = dead_letter_pb2.PurgeDeadLetterRequest(deployment=deployment, id=letter_id)
            return self._dead_letters.PurgeDeadLetter(request, timeout=self._timeout_s).removed

    def add_voice(self, name: str, audio: bytes, *, consent: str, owner: str, transcript: str = "") -> voice_pb2.Voice:
        """Registers a voice.

        Args:
            audio: the bytes of a WAV, FLAC, OGG or MP3 file.
            consent: how and when the speaker agreed.
            owner: who answers for it.
            transcript: what the recording says; without it workers transcribe it.
        """
        with translated():
            request = voice_pb2.AddVoiceRequest(
                name=name, audio=audio, transcript=transcript, consent=consent, owner=owner
            )
            return self._voices.AddVoice(request, timeout=self._timeout_s).voice

    def voices(self) -> list[voice_pb2.Voice]:
        """Every registered voice, sorted by name."""
        with translated():
            return list(self._voices.ListVoices(voice_pb2.ListVoicesRequest(), timeout=self._timeout_s).voices)

    def voice(self, name: str) -> voice_pb2.Voice:
        """One registered voice."""
        with translated():
            return self._voices.GetVoice(voice_pb2.GetVoiceRequest(name=name), timeout=self._timeout_s).voice

    def delete_voice(self, name: str) -> bool:
        """Deletes a voice and its recording; False when there was none of that name."""
        with translated():
            return self._voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name), timeout=self._timeout_s).removed

    def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _infer(self, model: str, inputs: Mapping[str, Any], timeout_s: float | None, request_id: str) -> InferResult:
        request = _request(model, inputs, request_id)
        with translated():
            return _result(self._inference.Infer(request, timeout=timeout_s))

    def _signature(self, model: str, timeout_s: float | None) -> Signature:
        """As it was when it was asked for last."""
        known = self._signatures.get(model)
        return self._fetch_signature(model, timeout_s) if known is None else known

    def _fetch_signature(self, model: str, timeout_s: float | None) -> Signature:
        with translated():
            request = deployment_pb2.GetDeploymentRequest(name=model)
            signature = self._deployments.GetDeployment(request, timeout=timeout_s).deployment.signature
        if signature.outputs:  # else no worker has loaded the model yet
            self._signatures[model] = signature
        return signature


class AsyncClient:
    """The same for asyncio: every method is a coroutine. Make it inside a running event loop."""

    def __init__(self, target: str = DEFAULT_LISTEN, *, timeout_s: float | None = None) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=channel_options(target))
        self._timeout_s = timeout_s
        self._inference = inference_pb2_grpc.InferenceServiceStub(self._channel)
        self._deployments = deployment_pb2_grpc.DeploymentServiceStub(self._channel)
        self._signatures: dict[str, Signature] = {}
        self.jobs = AsyncJobs(self._channel, self._fetch_signature, timeout_s)

    async def infer(
        self, model: str, inputs: Mapping[str, Any], *, timeout_s: float | None = None, request_id: str = ""
    ) -> InferResult:
        """Runs one request; see `Client.infer`."""
        timeout_s = timeout_s or self._timeout_s
        signature = self._signatures.get(model) if are_arrays(inputs) else await self._signature(model, timeout_s)
        try:
            arrays = inputs if signature is None else coerce(inputs, signature)
            return await self._infer(model, arrays, timeout_s, request_id)
        except InvalidArgumentError as error:  # the signature may have changed
            if signature is None and not _is_about_dtypes(error):
                raise
            fresh = await self._fetch_signature(model, timeout_s)
            if fresh == signature:
                raise
        return await self._infer(model, coerce(inputs, fresh), timeout_s, request_id)

    async def speak(self, model: str, text: str, *, timeout_s: float | None = None, **inputs: Any) -> Speech:
        """Speaks a text; see `Client.speak`."""
        return _speech(await self.infer(model, _spoken(text, inputs), timeout_s=timeout_s))

    async def deployments(self) -> list[deployment_pb2.Deployment]:
        """Every deployment, sorted by name."""
        with translated():
            request = deployment_pb2.ListDeploymentsRequest()
            return list((await self._deployments.ListDeployments(request, timeout=self._timeout_s)).deployments)

    async def deployment(self, name: str) -> deployment_pb2.Deployment:
        """One deployment, with its state, signature and policy."""
        with translated():
            request = deployment_pb2.GetDeploymentRequest(name=name)
            return (await self._deployments.GetDeployment(request, timeout=self._timeout_s)).deployment

    async def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _infer(
        self, model: str, inputs: Mapping[str, Any], timeout_s: float | None, request_id: str
    ) -> InferResult:
        request = _request(model, inputs, request_id)
        with translated():
            return _result(await self._inference.Infer(request, timeout=timeout_s))

    async def _signature(self, model: str, timeout_s: float | None) -> Signature:
        known = self._signatures.get(model)
        return await self._fetch_signature(model, timeout_s) if known is None else known

    async def _fetch_signature(self, model: str, timeout_s: float | None) -> Signature:
        with translated():
            request = deployment_pb2.GetDeploymentRequest(name=model)
            signature = (await self._deployments.GetDeployment(request, timeout=timeout_s)).deployment.signature
        if signature.outputs:  # else no worker has loaded the model yet
            self._signatures[model] = signature
        return signature


def _request(model: str, inputs: Mapping[str, Any], request_id: str) -> inference_pb2.InferRequest:
    return inference_pb2.InferRequest(model=model, inputs=to_tensors(inputs), request_id=request_id)


def _spoken(text: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a text to speak."""
    return coerce({"text": text}, _SPOKEN) | {name: value for name, value in inputs.items() if value is not None}


def _is_about_dtypes(error: InvalidArgumentError) -> bool:
    """Whether the front door or a worker refuses the dtype of an input: the signature tells another."""
    return any(violation.field.endswith("].dtype") for violation in error.violations)


def _result(response: inference_pb2.InferResponse) -> InferResult:
    outputs = tensors.to_arrays(response.outputs)
    return InferResult(outputs, response.queued_us, response.batched_us, response.backend_us)


def _speech(result: InferResult) -> Speech:
    for name in ("audio", "sample_rate"):
        if name not in result.outputs:
            raise InternalError(f'expected the outputs "audio" and "sample_rate", got none of the name "{name}"')
    audio, rate = result["audio"], int(result["sample_rate"][0])
    if "audio_file" in result.outputs:  # then `audio` is empty
        import soundfile  # here, because it loads a library that few callers need

        audio, rate = soundfile.read(io.BytesIO(result["audio_file"].tobytes()), dtype="float32")
    return Speech(audio, rate)
