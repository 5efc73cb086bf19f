"""InferenceService: validate, admit, queue, answer."""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Hashable, Mapping

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import signature as signatures
from kernelport import tensors
from kernelport.deployments import Deployment
from kernelport.errors import (
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    from_status,
)
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion
from kernelport.queues import celery_message, queue_name
from kernelport.signature import Signature
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.answers import answer_errors
from kernelport_api.batching import BatchFormer, Pending
from kernelport_api.replies import ReplyReader
from kernelport_api.workers import WorkerView

log = logging.getLogger(__name__)

NOT_SERVED_RETRY_S = 1.0
NANOSECONDS_PER_MICROSECOND = 1000


class Inference:
    """Answers `Infer`. Requests and responses stay serialized on their way through: a tensor is never re-encoded."""

    def __init__(
        self, deployments: Mapping[str, Deployment], redis: Redis, workers: WorkerView, replies: ReplyReader, name: str
    ) -> None:
        self._deployments = deployments
        self._redis = redis
        self._workers = workers
        self._replies = replies
        self._formers = {
            name: BatchFormer(deployment, self._publish, lambda name=name: len(workers.workers(name)))  # type: ignore[misc]
            for name, deployment in deployments.items()
        }
        self._id_prefix = name.encode() + b":"
        self._ids = itertools.count()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpc.aio server."""
        # No serializers: bytes in, bytes out.
        infer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self.infer)
        return grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", {"Infer": infer})

    @answer_errors
    async def infer(self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Runs one serialized InferRequest; returns the serialized InferResponse."""
        request = _parsed(body)
        deployment = self._deployments.get(request.model)
        if deployment is None:
            raise _unknown(request.model, self._deployments)
        _raise_any(list(tensors.violations(request.inputs)))
        signature = await self._signature(deployment)
        _raise_any(list(signatures.violations(request.inputs, signature.inputs)))
        timeout_s = min(deployment.timeouts.request_s, context.time_remaining() or float("inf"))
        return await self._run(deployment, _group(request, signature), body, timeout_s)

    async def _signature(self, deployment: Deployment) -> Signature:
        try:
            served = await self._workers.is_served(deployment.name)
        except RedisError as error:
            raise UnavailableError(f"the queue cannot be reached: {error}", retry_after_s=NOT_SERVED_RETRY_S) from error
        signature = self._workers.signature(deployment.name)
        if not served or signature is None:
            raise UnavailableError(
                f'model: no live worker serves "{deployment.name}"', retry_after_s=NOT_SERVED_RETRY_S
            )
        return signature

    async def _run(self, deployment: Deployment, group: Hashable, body: bytes, timeout_s: float) -> bytes:
        request_id = self._id_prefix + str(next(self._ids)).encode()
        deadline_us = time.time_ns() // NANOSECONDS_PER_MICROSECOND + round(timeout_s * 1e6)
        item = BatchItem(id=request_id, request=body, deadline_unix_us=deadline_us)
        pending = Pending(item, group, self._replies.expect(request_id))
        former = self._formers[deployment.name]
        former.submit(pending)
        try:
            async with asyncio.timeout(timeout_s):
                completion = await pending.answer
        except TimeoutError:
            raise DeadlineExceededError(f"no answer within {timeout_s:g} s") from None
        finally:
            self._replies.abandon(request_id)
            former.settle(pending)
        if completion.WhichOneof("result") == "error":
            raise from_status(status_pb2.Status.FromString(completion.error))
        return completion.response + _timings(pending, completion)

    async def _publish(self, deployment: str, items: list[BatchItem]) -> None:
        batch = Batch(deployment=deployment, reply_to=self._replies.key, items=items)
        try:
            await self._redis.lpush(queue_name(deployment), celery_message(batch))
        except RedisError as error:
            raise UnavailableError(f"the queue cannot be reached: {error}", retry_after_s=NOT_SERVED_RETRY_S) from error


def new_front_door_name() -> str:
    """A name that no other front door has, now or later."""
    return os.urandom(8).hex()


def _parsed(body: bytes) -> pb.InferRequest:
    try:
        return pb.InferRequest.FromString(body)
    except DecodeError as error:
        raise InvalidArgumentError.of([FieldViolation("request", f"expected an InferRequest: {error}")]) from error


def _unknown(model: str, deployments: Mapping[str, Deployment]) -> Exception:
    if not model:
        return InvalidArgumentError.of([FieldViolation("model", "expected the name of a deployment, got nothing")])
    known = ", ".join(sorted(deployments))
    return NotFoundError(f'model: no deployment is named "{model}"; there are: {known}')


def _raise_any(violations: list[FieldViolation]) -> None:
    if violations:
        raise InvalidArgumentError.of(violations)


def _group(request: pb.InferRequest, signature: Signature) -> Hashable:
    """Requests with equal groups can be stacked along the first axis of every input."""
    if not signature.batchable:
        return None  # the backend takes any mixture
    return tuple(sorted((tensor.name, tensor.dtype, *tensor.shape[1:]) for tensor in request.inputs))


def _timings(pending: Pending, completion: Completion) -> bytes:
    """The timing fields as serialized protobuf; appended to a serialized InferResponse they become part of it."""
    in_queue_and_worker_us = (time.monotonic() - pending.published_at) * 1e6
    forming_us = (pending.published_at - pending.submitted_at) * 1e6
    return pb.InferResponse(
        queued_us=max(0, round(in_queue_and_worker_us - completion.worker_us)),
        batched_us=round(forming_us) + completion.prepare_us,
        backend_us=completion.backend_us,
    ).SerializeToString()
