"""Runs the requests of a batch on a backend, and writes out what every one of them is answered."""

import copy
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import numpy as np

from kernelport import tensors
from kernelport.broker.clock import clock
from kernelport.errors import (
    CancelledError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    in_words,
    to_status,
)
from kernelport.internal.v1.queue_pb2 import Completion
from kernelport.items import TEXT_INPUT
from kernelport.names import DEFAULT_TENANT
from kernelport.signature import Declared, is_speech, output_violations
from kernelport.speech_pace import letters
from kernelport.telemetry import logs
from kernelport.tensors import Array
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import Part, response_parts
from kernelport_workers.backends.base import Backend, Outputs, Request
from kernelport_workers.execution.results import Result, ResultCheck, travelling, wanted

log = logging.getLogger(__name__)
log.addFilter(logs.RateLimit())

_GONE = (CancelledError, DeadlineExceededError)
_NANO, _HOUR_S, _MICROSECONDS = 1e9, 3600.0, 1e6
# What is left to do for a message once the model is free for the next, its acknowledgement included. What it returns is
# for people to see.
Epilogue = Callable[[], str | None]


class Overlap(Protocol):
    """What the message before has left to do: it is done beside this one's run."""

    def begin(self) -> None:
        """Begins with it, if it has not begun: the worker is about to wait, for the model or for data."""

    def alone(self) -> None:
        """Ends with it: this message runs with nothing beside it. If the worker dies then, it is this one's doing."""


Shared = Mapping[str, tuple[pb.Tensor, Array]]
"""Inputs that requests of a batch have in common, by name: one copy in memory, however many requests."""


class Answer(NamedTuple):
    """What travels for one request, or one message of its stream.

    Attributes:
        completion: without the response.
        response: a serialized InferResponse in parts; none where there is none. It is put in only once it is known
            that it does not travel beside the queue: each step into a message and out of it copies.
    """

    completion: Completion
    response: Sequence[Part] = ()


@dataclass
class Work:
    """One request of a batch.

    Attributes:
        inputs: its own.
        deadline_unix_us: microseconds of Unix time.
        check: raises when the answer is of no use any more.
        failure: why it must not run at all, if so.
        shared: inputs that it has unless it has some of those names itself.
        tick: tells that the model is at work.
        outputs: the names of those that are wanted; empty for the usual ones.
        tenant: whose it is.
        data: of each input, where they come without large data.
    """

    id: bytes
    inputs: Sequence[pb.Tensor]
    deadline_unix_us: int
    check: Callable[[], None]
    failure: KernelPortError | None = None
    shared: Shared = field(default_factory=dict)
    tick: Callable[[], None] = lambda: None
    outputs: Sequence[str] = ()
    tenant: str = DEFAULT_TENANT
    data: Sequence[memoryview] = ()


@dataclass(frozen=True)
class BatchOutcome:
    """What came of each request of a batch, in order.

    Attributes:
        warnings: what the backend warned of, for each.
        prepare_us, backend_us: microseconds until the backend began, and that it took.
        started: when the worker's task began, in seconds of the monotonic clock.
        used_us: of the time of the backend, what each request is billed for, in microseconds.
    """

    ids: Sequence[bytes]
    results: Sequence[Result]
    warnings: Sequence[Sequence[str]]
    prepare_us: int
    backend_us: int
    started: float
    used_us: int

    def answers(self, limits: Sequence[int]) -> list[Answer]:
        """What travels: one answer for each request, in order.

        Args:
            limits: the bytes that the answer of each may have; one that has more is an error.
        """
        made = zip(self.ids, self.results, self.warnings, limits, strict=True)
        answers = [_answer(*each) for each in made]
        worker_us = _microseconds(time.monotonic() - self.started)
        for (completion, _), result in zip(answers, self.results, strict=True):
            if not isinstance(result, KernelPortError) and (lasts_us := audio_us(result)):
                completion.audio_us = lasts_us
            completion.used_us = self.used_us
            completion.prepare_us = self.prepare_us
            completion.backend_us = self.backend_us
            completion.worker_us = worker_us
        return answers


def raise_if_expired(deadline_unix_us: int, now_us: int) -> None:
    """Raises DeadlineExceededError once the deadline has passed; both in microseconds of Unix time."""
    if now_us >= deadline_unix_us:
        raise DeadlineExceededError("the deadline passed before the model was done")


class Execution:
    """Runs batches on one backend. What it declares is read once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._declared = Declared(backend.signature.inputs)
        self._check = ResultCheck(backend)
        self._pace = backend.pace if is_speech(backend.signature) else None

    def for_job(self, job: str) -> Self:
        """What runs the items of a job."""
        runner = copy.copy(self)
        runner._backend = self._backend.for_job(job)
        return runner

    def run_all(self, work: Sequence[Work], started: float, overlap: Overlap) -> BatchOutcome:
        """Runs a batch. Never raises for what a model or a request does.

        Args:
            started: when the worker's task began, in seconds of the monotonic clock.
        """
        results: dict[int, Result] = {}
        requests: dict[int, Request] = {}
        now_us = clock.now_us()
        for index, each in enumerate(work):
            try:
                requests[index] = self.prepared(each, now_us)
            except KernelPortError as error:
                results[index] = error
        # Not before: both would want the interpreter, and the model would wait.
        overlap.begin()
        prepared = time.monotonic()
        results.update(zip(requests, self._run(list(requests.values())), strict=True))
        backend_us = _microseconds(time.monotonic() - prepared)
        if not any(isinstance(each, KernelPortError) for each in results.values()):
            self.note_pace(requests.values(), backend_us / 1e6)
        ids = [each.id for each in work]
        in_order = [_wanted(results[at], each.outputs) if each.outputs else results[at] for at, each in enumerate(work)]
        warnings = [requests[index].warnings if index in requests else () for index in range(len(work))]
        prepare_us, used_us = _microseconds(prepared - started), backend_us // max(1, len(requests))
        return BatchOutcome(ids, in_order, warnings, prepare_us, backend_us, started, used_us)

    def note_pace(self, requests: Collection[Request], seconds: float) -> None:
        """So long a voice took over some requests."""
        if self._pace is not None:
            self._pace.note(_letters(requests), seconds)

    def prepared(self, work: Work, now_us: int) -> Request:
        """What the backend is given of a request.

        Args:
            now_us: microseconds of Unix time.

        Raises:
            KernelPortError: it must not run, or is not as the backend declares.
        """
        if work.failure is not None:
            raise work.failure
        raise_if_expired(work.deadline_unix_us, now_us)
        own = work.inputs
        names = {tensor.name for tensor in own} if work.shared else ()
        shared = [each for name, each in work.shared.items() if name not in names]
        # The front door has checked against what another worker loaded; this worker may have loaded something newer.
        given = [*own, *(tensor for tensor, _ in shared)] if shared else own
        violations = list(self._declared.misfits(given, tensors.shapes_of(given)))
        if work.outputs:
            violations += output_violations(work.outputs, self._backend.signature)
        if violations:
            raise InvalidArgumentError.of(violations)
        arrays = tensors.to_arrays(own, work.data)
        for tensor, array in shared:
            arrays[tensor.name] = array
        return Request(arrays, work.check, tick=work.tick, outputs=work.outputs, tenant=work.tenant)

    def _run(self, requests: Sequence[Request]) -> Sequence[Result]:
        """Runs requests together, and once more by itself each that failed: one cannot fail its batch mates.

        That a request is invalid, or asks for too much, may be its company's doing as well. That nobody waits for it
        is not.
        """
        if len(requests) < 2:
            return [self._alone(request) for request in requests]
        together = self._attempt(requests)
        if isinstance(together, KernelPortError):
            log.warning("a batch of %d failed, its requests go on singly: %s", len(requests), together.code.name)
            del together  # its traceback may hold memory of the device, which they need
            return [self._alone(request) for request in requests]
        return [
            self._alone(request) if isinstance(result, KernelPortError) and not isinstance(result, _GONE) else result
            for request, result in zip(requests, together, strict=True)
        ]

    def _alone(self, request: Request) -> Result:
        try:
            request.check()
        except KernelPortError as error:
            return error
        results = self._attempt([request])
        return results if isinstance(results, KernelPortError) else results[0]

    def _attempt(self, requests: Sequence[Request]) -> list[Result] | KernelPortError:
        """The result of each request; what failed them as a whole, if something did."""
        # A model may change what it is given; what is tried again must stay as it came.
        copies = [Request(dict(each.inputs), each.check, each.tick, each.outputs, each.tenant) for each in requests]
        try:
            results = self._check.checked(self._backend.run(list(copies)), len(requests))
        except KernelPortError as error:
            return travelling(error)
        # A model is anybody's code. Its sys.exit, too, is a failure of its batch, and not the end of this thread.
        except BaseException as error:
            log.exception("the model failed on a batch of %d", len(requests), extra=logs.WITHOUT_TEXT)
            return InternalError(f"the model failed: {in_words(error)}")
        for request, copied in zip(requests, copies, strict=True):
            request.warnings[:] = copied.warnings
        return results


def _letters(requests: Collection[Request]) -> float:
    """The letters that a voice has spoken; 0 when nobody knows how many of a request they are."""
    spoken = [
        letters(
            request.inputs[TEXT_INPUT].tobytes(),
            {name: each.flat[0] for name, each in request.inputs.items() if each.dtype != np.uint8 and each.size},
        )
        for request in requests
        if TEXT_INPUT in request.inputs
    ]
    return sum(spoken) if all(spoken) else 0


def _wanted(result: Result, names: Sequence[str]) -> Result:
    return result if isinstance(result, KernelPortError) else wanted(result, names)


def nano_dollars(used_us: float, price_per_hour: float) -> int:
    """What so much time of a worker costs, in billionths of a dollar."""
    return round(price_per_hour * _NANO * used_us / _MICROSECONDS / _HOUR_S)


def audio_us(outputs: Outputs) -> int:
    """Microseconds of the audio among outputs; 0 where there is none."""
    if "audio" not in outputs or "sample_rate" not in outputs:
        return 0
    rate = int(outputs["sample_rate"].reshape(-1)[0])
    return round(outputs["audio"].size * _MICROSECONDS / rate) if rate > 0 else 0


def failed(request_id: bytes, error: KernelPortError) -> Answer:
    """The answer to a request that failed."""
    return Answer(Completion(id=request_id, error=to_status(error).SerializeToString()))


def cannot_travel(error: Exception) -> InternalError:
    """No message can be made of outputs: they have elements that are no text, too many bytes, no memory for them."""
    return InternalError(f"the model's output cannot travel: {in_words(error)}")


def _answer(request_id: bytes, result: Result, warnings: Sequence[str], limit: int) -> Answer:
    if isinstance(result, KernelPortError):
        return failed(request_id, result)
    try:
        size = tensors.wire_bytes(result)
        if warnings:
            size += sum(len(each.encode()) + 4 for each in warnings)
        if size > limit:
            too_large = ResourceExhaustedError(f"outputs: expected an answer of at most {limit:,} bytes, got {size:,}")
            return failed(request_id, too_large)
        response = response_parts(result, pb.InferResponse(warnings=warnings))
    except Exception as error:
        return failed(request_id, cannot_travel(error))
    return Answer(Completion(id=request_id), response)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
