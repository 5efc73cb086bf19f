"""The synchronous twin of `aio.py`: generated, not to be edited; `make sync` writes it."""

import contextlib
from collections.abc import Generator, Iterable, Iterator
from os import PathLike
from types import TracebackType
from typing import IO, Any, Protocol, Self

from kernelport.client.access.sync import Access
from kernelport.client.calling.address import Address
from kernelport.client.calling.limits import MAX_RETRIES
from kernelport.client.calling.messages import checked_names, message
from kernelport.client.calling.sync import Channel, as_completed, in_order, in_thread, in_thread_if
from kernelport.client.inference.coding import INLINE_BYTES, decode
from kernelport.client.inference.sync import Inference
from kernelport.client.inputs import (
    Inputs,
    checked_concurrency,
    checked_values,
    recording,
    speech_outputs,
    spoken,
)
from kernelport.client.jobs.sync.jobs import Jobs
from kernelport.client.results import InferResult, Speech
from kernelport.config.settings import DEFAULT_LISTEN
from kernelport.errors import of_request
from kernelport.v1 import dead_letter_pb2, deployment_pb2, voice_pb2
from kernelport.v1.dead_letter_pb2_grpc import DeadLetterServiceStub
from kernelport.v1.deployment_pb2_grpc import DeploymentServiceStub
from kernelport.v1.voice_pb2_grpc import VoiceServiceStub


class _Run(Protocol):
    """Runs one request of many."""

    def __call__(self, inputs: Any, /) -> InferResult: ...


class Client:
    """A client of one front door. It may be made anywhere, at import, too, and shared between threads, event loops and
    processes that are forked later: each process, and each event loop, gets a connection of its own at its first call.

    Every call raises a KernelPortError of the class that says what went wrong: InvalidArgumentError, NotFoundError,
    UnavailableError, ResourceExhaustedError, DeadlineExceededError or InternalError; UnauthenticatedError or
    PermissionDeniedError where its key is none, or does not suffice; once the client is closed,
    FailedPreconditionError.

    A time limit, `timeout_s`, is one of seconds everywhere: None stands for the client's, infinity for none, and 0 or
    less is a DeadlineExceededError at once.

    Attributes:
        jobs: bulk jobs.
        access: keys and tenants.

    Args:
        target: host:port of a front door, or grpcs://host:port of one that speaks TLS.
        timeout_s: the limit of each call that has none of its own; None leaves it to the deployment.
        max_retries: how often a call that is safe to repeat is tried again, within its time limit, when no front door
            can be reached or it asks to come back later.
        tls_ca: the PEM file of the authorities that vouch for a front door that speaks TLS. By default
            KERNELPORT_TLS_CA, or the public ones.
        tls_cert: the PEM file of this client's own certificate, where the front door asks for one; by default
            KERNELPORT_TLS_CLIENT_CERT.
        tls_key: that of its key; KERNELPORT_TLS_CLIENT_KEY.
        api_key: the key that shows who calls, where the front door asks for one; by default KERNELPORT_API_KEY.

    Raises:
        InvalidArgumentError: when one of these is not as it should be.
    """

    def __init__(
        self,
        target: str = DEFAULT_LISTEN,
        *,
        timeout_s: float | None = None,
        max_retries: int = MAX_RETRIES,
        tls_ca: str | PathLike[str] = "",
        tls_cert: str | PathLike[str] = "",
        tls_key: str | PathLike[str] = "",
        api_key: str = "",
    ) -> None:
        address = Address(target, tls_ca, tls_cert, tls_key, api_key)
        self._channel = Channel(address, timeout_s, max_retries)
        self._inference = Inference(self._channel)
        self.jobs: Jobs = Jobs(self._channel, self._inference)
        self.access: Access = Access(self._channel)

    def infer(
        self,
        model: str,
        inputs: Any,
        *,
        outputs: Iterable[str] | None = (),
        timeout_s: float | None = None,
        request_id: str = "",
    ) -> InferResult:
        """Runs one request.

        Arrays travel as they are. Numbers, texts, lists and arrays of other dtypes than the deployment declares become
        what it declares where nothing is lost; the client asks for the signature when it needs it first.

        Args:
            model: the deployment's name.
            inputs: by name, anything numpy makes an array of; None for one that is not given. A single value, such as a
                text or a list, is for the one input that the model asks for.
            outputs: the names of those that are wanted; by default the usual ones.
            timeout_s: seconds until DeadlineExceededError.
            request_id: makes the call safe to repeat: the same id gets the same result, and runs once.
        """
        with of_request(request_id):
            deadline = self._channel.deadline(timeout_s)
            return self._inference.run(model, inputs, checked_names("outputs", outputs), deadline, request_id)

    def speak(
        self,
        model: str,
        text: str,
        *,
        outputs: Iterable[str] | None = (),
        timeout_s: float | None = None,
        request_id: str = "",
        **inputs: Any,
    ) -> Speech:
        """Speaks a text; further keyword arguments are the deployment's optional inputs, such as `seed=7`.

        Args:
            model: the deployment's name.
            text: what to say.
            outputs: what is wanted beside the sound: `spoken`, `spans`, where the deployment has them.
            timeout_s: seconds until DeadlineExceededError.
            request_id: makes the call safe to repeat, as of `infer`.
            inputs: by name, as `infer` takes them.
        """
        with of_request(request_id):
            names = speech_outputs(outputs, inputs)
            result = self.infer(model, spoken(text, inputs), outputs=names, timeout_s=timeout_s, request_id=request_id)
            return Speech.of(result)

    def stream(
        self,
        model: str,
        text: str,
        *,
        outputs: Iterable[str] | None = (),
        timeout_s: float | None = None,
        **inputs: Any,
    ) -> Generator[Speech]:
        """Speaks a text, and gives the speech piece by piece as it is made: one behind the other, the pieces are what
        `speak` returns. When the front door goes away, the stream goes on where it was at the next one.

        Args:
            model: the deployment's name.
            text: what to say.
            outputs: what is wanted beside the sound, as of `speak`.
            timeout_s: seconds until DeadlineExceededError, for the whole; None leaves it to the deployment.
            inputs: by name, as `speak` takes them.
        """
        deadline = self._channel.deadline(timeout_s)
        names = speech_outputs(outputs, inputs)
        with contextlib.closing(self._inference.stream(model, spoken(text, inputs), names, deadline)) as pieces:
            for piece in pieces:
                yield piece

    def map(
        self,
        model: str,
        inputs: Inputs,
        *,
        concurrency: int = 64,
        outputs: Iterable[str] | None = (),
        timeout_s: float | None = None,
    ) -> Iterator[InferResult]:
        """Runs many requests, so many at a time, and gives their results in the order of the inputs.

        Args:
            model: the deployment's name.
            inputs: of each request, as `infer` takes them; read as results are taken, so there may be any number. What
                they raise ends the map, and results of those before may be left out.
            concurrency: how many requests are on their way at a time, at most.
            outputs: of each request, as of `infer`.
            timeout_s: the limit of each request, in seconds.

        Raises:
            KernelPortError: of the first request that fails; those on their way are given up.
        """
        run = self._run(model, outputs, timeout_s)
        with contextlib.closing(in_order(run, checked_values(inputs), checked_concurrency(concurrency))) as results:
            for result in results:
                yield result

    def map_unordered(
        self,
        model: str,
        inputs: Inputs,
        *,
        concurrency: int = 64,
        outputs: Iterable[str] | None = (),
        timeout_s: float | None = None,
    ) -> Iterator[tuple[int, InferResult]]:
        """The same as results come: each with the index of its inputs, from 0.

        Args:
            model: the deployment's name.
            inputs: of each request, as `map` takes them.
            concurrency: how many requests are on their way at a time, at most.
            outputs: of each request, as of `infer`.
            timeout_s: the limit of each request, in seconds.
        """
        run = self._run(model, outputs, timeout_s)
        with contextlib.closing(as_completed(run, checked_values(inputs), checked_concurrency(concurrency))) as results:
            for index, result in results:
                yield index, result

    def deployments(self) -> list[deployment_pb2.Deployment]:
        """Every deployment, sorted by name."""
        request = deployment_pb2.ListDeploymentsRequest()
        return list((self._call(DeploymentServiceStub, "ListDeployments", request)).deployments)

    def deployment(self, name: str) -> deployment_pb2.Deployment:
        """One deployment, with its state, signature and policy.

        Args:
            name: of the deployment.
        """
        return self._inference.deployment(name, self._channel.deadline(None))

    def dead_letters(self, deployment: str) -> list[dead_letter_pb2.DeadLetter]:
        """The dead letters of a deployment, oldest first, without their requests.

        Args:
            deployment: its name.
        """
        request = message(dead_letter_pb2.ListDeadLettersRequest, deployment=deployment)
        return list((self._call(DeadLetterServiceStub, "ListDeadLetters", request)).dead_letters)

    def dead_letter(self, deployment: str, letter_id: str) -> dead_letter_pb2.DeadLetter:
        """One dead letter, with its request.

        Args:
            deployment: its name.
            letter_id: of the dead letter.
        """
        request = message(dead_letter_pb2.GetDeadLetterRequest, deployment=deployment, id=letter_id)
        letter: dead_letter_pb2.DeadLetter = (self._call(DeadLetterServiceStub, "GetDeadLetter", request)).dead_letter
        return letter

    def replay_dead_letter(self, deployment: str, letter_id: str) -> InferResult:
        """Runs a dead letter again, and removes it when it succeeds; else it stays.

        Args:
            deployment: its name.
            letter_id: of the dead letter.
        """
        request = message(dead_letter_pb2.ReplayDeadLetterRequest, deployment=deployment, id=letter_id)
        answer = self._call(DeadLetterServiceStub, "ReplayDeadLetter", request, repeatable=False)
        return in_thread_if(len(answer.response) > INLINE_BYTES, decode, answer.response)

    def purge_dead_letter(self, deployment: str, letter_id: str) -> bool:
        """Removes a dead letter; False when there was none of that id.

        Args:
            deployment: its name.
            letter_id: of the dead letter.
        """
        request = message(dead_letter_pb2.PurgeDeadLetterRequest, deployment=deployment, id=letter_id)
        answer = self._call(DeadLetterServiceStub, "PurgeDeadLetter", request, repeatable=False)
        return bool(answer.removed)

    def add_voice(
        self,
        name: str,
        audio: bytes | str | PathLike[str] | IO[bytes] | Speech,
        *,
        consent: str,
        owner: str,
        transcript: str = "",
    ) -> voice_pb2.Voice:
        """Registers a voice.

        Args:
            name: lower-case, by which requests call it.
            audio: a whole WAV, FLAC, OGG or MP3 file: its path, the file itself opened, or its bytes; or speech.
            consent: how and when the speaker agreed.
            owner: who answers for it.
            transcript: what the recording says; without it workers transcribe it.

        Raises:
            InvalidArgumentError: when it is no such file, or a field is not as it should be.
            OSError: when the file cannot be read.
        """
        request = message(
            voice_pb2.AddVoiceRequest,
            name=name,
            audio=in_thread(recording, audio),
            transcript=transcript,
            consent=consent,
            owner=owner,
        )
        voice: voice_pb2.Voice = (self._call(VoiceServiceStub, "AddVoice", request, repeatable=False)).voice
        return voice

    def voices(self) -> list[voice_pb2.Voice]:
        """Every registered voice, sorted by name."""
        return list((self._call(VoiceServiceStub, "ListVoices", voice_pb2.ListVoicesRequest())).voices)

    def voice(self, name: str) -> voice_pb2.Voice:
        """One registered voice.

        Args:
            name: of the voice.
        """
        request = message(voice_pb2.GetVoiceRequest, name=name)
        voice: voice_pb2.Voice = (self._call(VoiceServiceStub, "GetVoice", request)).voice
        return voice

    def delete_voice(self, name: str) -> bool:
        """Deletes a voice and its recording; False when there was none of that name.

        Args:
            name: of the voice.
        """
        request = message(voice_pb2.DeleteVoiceRequest, name=name)
        return bool((self._call(VoiceServiceStub, "DeleteVoice", request, repeatable=False)).removed)

    def close(self) -> None:
        """Closes the connections; calls in flight end with FailedPreconditionError. Again, it does nothing."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, model: str, outputs: Iterable[str] | None, timeout_s: float | None) -> "_Run":
        names = checked_names("outputs", outputs)

        def run(inputs: Any) -> InferResult:
            return self.infer(model, inputs, outputs=names, timeout_s=timeout_s)

        return run

    def _call(self, stub: type[Any], method: str, request: Any, *, repeatable: bool = True) -> Any:
        return self._channel.call(stub, method, request, self._channel.deadline(None), repeatable=repeatable)
