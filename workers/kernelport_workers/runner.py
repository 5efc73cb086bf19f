"""Runs a batch: decode, drop what nobody waits for, run the backend, complete every item."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from kernelport import tensors
from kernelport.errors import DeadlineExceededError, InternalError, KernelPortError, to_status
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion
from kernelport.v1 import inference_pb2 as pb
from kernelport_workers.backends.base import Backend, Outputs, Request

log = logging.getLogger(__name__)

Result = Outputs | KernelPortError
NANOSECONDS_PER_MICROSECOND = 1000


def run_batch(batch: Batch, backends: Mapping[str, Backend]) -> list[Completion]:
    """One completion for every item of the batch, in order. Never raises for what a model or a request does."""
    started = time.monotonic()
    backend = backends.get(batch.deployment)
    if backend is None:
        misled = InternalError(f'this worker does not serve "{batch.deployment}"')
        return [_failure(item.id, misled) for item in batch.items]
    live = [item for item in batch.items if not _expired(item)]
    requests = [Request(_inputs(item), _deadline_check(item)) for item in live]
    prepared = time.monotonic()
    results = dict(zip((item.id for item in live), _run(backend, requests), strict=True))
    ran = time.monotonic()

    completions = [_completion(item.id, results.get(item.id, _too_late())) for item in batch.items]
    for completion in completions:
        completion.prepare_us = _microseconds(prepared - started)
        completion.backend_us = _microseconds(ran - prepared)
        completion.worker_us = _microseconds(time.monotonic() - started)
    return completions


def _inputs(item: BatchItem) -> Mapping[str, tensors.Array]:
    return tensors.to_arrays(pb.InferRequest.FromString(item.request).inputs)


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


def _completion(request_id: bytes, result: Result) -> Completion:
    if isinstance(result, KernelPortError):
        return _failure(request_id, result)
    try:
        outputs = tensors.from_arrays(result)
    except TypeError as error:
        return _failure(request_id, InternalError(f"the model's output cannot travel: {error}"))
    return Completion(id=request_id, response=pb.InferResponse(outputs=outputs).SerializeToString())


def _failure(request_id: bytes, error: KernelPortError) -> Completion:
    return Completion(id=request_id, error=to_status(error).SerializeToString())


def _expired(item: BatchItem) -> bool:
    return time.time_ns() // NANOSECONDS_PER_MICROSECOND >= item.deadline_unix_us


def _deadline_check(item: BatchItem) -> Callable[[], None]:
    def check() -> None:
        if _expired(item):
            raise _too_late()

    return check


def _too_late() -> DeadlineExceededError:
    return DeadlineExceededError("the deadline passed before the model was done")


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
