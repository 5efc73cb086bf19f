"""Runs the requests of a batch on a backend, and writes out what every one of them is answered."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kernelport import tensors
from kernelport.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    ResourceExhaustedError,
    to_status,
)
from kernelport.internal.v1.queue_pb2 import Completion
from kernelport.signature import Declared
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request

log = logging.getLogger(__name__)

Result = Outputs | KernelPortError
# What is left to do for a message once the model is free for the next, its acknowledgement included. What it returns is
# for people to see.
Finish = Callable[[], str | None]


class Beside(Protocol):
    """What the message before has left to do: it is done beside this one's run."""

    def begin(self) -> None:
        """Begins with it, if it has not begun: the worker is about to wait, for the model or for data."""

    def alone(self) -> None:
        """Ends with it: this message runs with nothing beside it. If the worker dies then, it is this one's doing."""


@dataclass
class Work:
    """One request of a batch.

    Attributes:
        request: a serialized InferRequest.
        deadline_unix_us: microseconds of Unix time.
        check: raises when the answer is of no use any more.
        failure: why it must not run at all, if so.
    """

    id: bytes
    request: bytes
    deadline_unix_us: int
    check: Callable[[], None]
    failure: KernelPortError | None = None


@dataclass(frozen=True)
class Ran:
    """What came of each request of a batch, in order.

    Attributes:
        prepare_us, backend_us: microseconds until the backend began, and that it took.
        started: when the worker's task began, in seconds of the monotonic clock.
    """

    ids: Sequence[bytes]
    results: Sequence[Result]
    prepare_us: int
    backend_us: int
    started: float

    def completions(self, limits: Sequence[int]) -> list[Completion]:
        """What travels: one completion for each request, in order.

        Args:
            limits: the bytes that the answer of each may have; one that has more is an error.
        """
        completions = [_completion(*each) for each in zip(self.ids, self.results, limits, strict=True)]
        worker_us = _microseconds(time.monotonic() - self.started)
        for completion in completions:
            completion.prepare_us = self.prepare_us
            completion.backend_us = self.backend_us
            completion.worker_us = worker_us
        return completions


def raise_if_expired(deadline_unix_us: int) -> None:
    """Raises DeadlineExceededError once the deadline, in microseconds of Unix time, has passed."""
    if time.time() * 1e6 >= deadline_unix_us:
        raise DeadlineExceededError("the deadline passed before the model was done")


def run_all(work: Sequence[Work], backend: Backend, started: float, beside: Beside) -> Ran:
    """Runs a batch. Never raises for what a model or a request does.

    Args:
        started: when the worker's task began, in seconds of the monotonic clock.
    """
    results: dict[int, Result] = {}
    requests: dict[int, Request] = {}
    declared = Declared(backend.signature.inputs)
    for index, each in enumerate(work):
        try:
            requests[index] = _prepared(each, declared)
        except KernelPortError as error:
            results[index] = error
    # Not before: both would want the interpreter, and the model would wait.
    beside.begin()
    prepared = time.monotonic()
    results.update(zip(requests, _run(backend, list(requests.values())), strict=True))
    backend_us = _microseconds(time.monotonic() - prepared)
    ids, in_order = [each.id for each in work], [results[index] for index in range(len(work))]
    return Ran(ids, in_order, _microseconds(prepared - started), backend_us, started)


def _prepared(work: Work, declared: Declared) -> Request:
    if work.failure is not None:
        raise work.failure
    raise_if_expired(work.deadline_unix_us)
    inputs = pb.InferRequest.FromString(work.request).inputs
    # The front door has checked against what another worker loaded; this worker may have loaded something newer.
    violations = list(declared.violations(inputs))
    if violations:
        raise InvalidArgumentError.of(violations)
    return Request(tensors.to_arrays(inputs), work.check)


def _run(backend: Backend, requests: Sequence[Request]) -> Sequence[Result]:
    """Runs requests together; when that fails as a whole, each by itself, so that one cannot fail its batch mates."""
    if not requests:
        return []
    try:
        return backend.run(requests)
    except KernelPortError as error:
        failure = error
    except Exception as error:
        log.exception("the model failed on a batch of %d", len(requests))
        failure = InternalError(f"the model failed: {type(error).__name__}: {error}")
    if len(requests) == 1:
        return [failure]
    return [result for request in requests for result in _run(backend, [request])]


def _completion(request_id: bytes, result: Result, limit: int) -> Completion:
    if isinstance(result, KernelPortError):
        return Completion(id=request_id, error=to_status(result).SerializeToString())
    try:
        if (size := tensors.wire_bytes(result)) > limit:
            too_large = ResourceExhaustedError(f"outputs: expected an answer of at most {limit:,} bytes, got {size:,}")
            return _completion(request_id, too_large, limit)
        outputs = tensors.from_arrays(result)
    except (TypeError, ValueError) as error:
        return _completion(request_id, InternalError(f"the model's output cannot travel: {error}"), limit)
    return Completion(id=request_id, response=pb.InferResponse(outputs=outputs).SerializeToString())


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
