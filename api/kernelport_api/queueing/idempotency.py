"""Calls that are safe to repeat: the same request id gets the same result, and runs once."""

import asyncio
import contextlib
import copy
import hashlib
import os
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport.broker import keys, scripts
from kernelport.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    KernelPortError,
)
from kernelport.limits import MAX_REQUEST_ID
from kernelport.names import owned
from kernelport.v1 import inference_pb2 as pb
from kernelport.wire_format import INPUTS, before_data, data_of_inputs, has_outline
from kernelport_api import calls
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.queueing.redis_errors import reached_at_once

# A call that is in flight elsewhere is looked for so often, and less and less.
FIRST_POLL_S, LAST_POLL_S = 0.03, 0.5
POLL_GROWS = 1.3
# Until its request is on the queue, the hold on an id lasts this long unless it is renewed: should the front door die
# or Redis be away, the next call need not wait for the first one's deadline.
HOLD_S = 10.0
RENEWALS_PER_HOLD = 5

Run = Callable[[scripts.IdempotencyHold], Awaitable[bytes]]


def check(request: pb.InferRequest) -> None:
    """Raises InvalidArgumentError for an id that is too long."""
    if len(request.request_id) > MAX_REQUEST_ID:
        found = f"expected at most {MAX_REQUEST_ID} characters, got {len(request.request_id)}"
        raise InvalidArgumentError.of([FieldViolation("request_id", found)])


class RequestIds:
    """The request ids that this front door has in flight, and those that Redis knows."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # By stored id and digest, the one call that asks Redis: what comes of it is the response, or an error that is
        # the others', too; None when one of them is to be the next.
        self._firsts: dict[tuple[str, bytes], asyncio.Future[bytes | KernelPortError | None]] = {}

    async def is_known(self, request: pb.InferRequest) -> bool:
        """Whether a request has an id with which one has come before."""
        own = owned(calls.current().principal.tenant, request.request_id)
        return bool(request.request_id) and bool(await reached_at_once(self._redis.exists(keys.result(own))))

    async def run_once(self, request: pb.InferRequest, body: bytes, timeout_s: float, run: Run) -> bytes:
        """The response to a request with an id: of the call that came first, or else of `run`.

        Args:
            body: the request as it came in; the other may be without large data.
            run: runs the request and keeps its result as the hold says.

        Raises:
            AlreadyExistsError: the id stands for another request.
            DeadlineExceededError: the first call is still in flight after `timeout_s` seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        is_large = len(body) > SMALL_BYTES
        digest = await aside(_digest, request, body) if is_large else _digest(request, body)
        own = owned(calls.current().principal.tenant, request.request_id)
        while (first := self._firsts.get((own, digest))) is not None:
            remaining_s = deadline - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait([first], timeout=max(0.0, remaining_s))
            if not done:
                raise _still_in_flight(request)
            outcome = first.result()
            if isinstance(outcome, KernelPortError):
                raise copy.copy(outcome)
            if outcome is not None:
                return outcome
        return await self._go_first(request, own, digest, deadline, run)

    async def _go_first(self, request: pb.InferRequest, own: str, digest: bytes, deadline: float, run: Run) -> bytes:
        outcome: asyncio.Future[bytes | KernelPortError | None] = asyncio.get_running_loop().create_future()
        self._firsts[own, digest] = outcome
        try:
            response = await self._hold_and_run(request, own, digest, deadline, run)
            outcome.set_result(response)
            return response
        except DeadlineExceededError:  # the others may have more time
            raise
        except KernelPortError as error:
            outcome.set_result(error)
            raise
        finally:
            del self._firsts[own, digest]
            if not outcome.done():
                outcome.set_result(None)

    async def _hold_and_run(
        self, request: pb.InferRequest, own: str, digest: bytes, deadline: float, run: Run
    ) -> bytes:
        hold = scripts.IdempotencyHold(keys.result(own), os.urandom(8))
        poll_s = FIRST_POLL_S
        while True:
            earlier: tuple[bytes, bytes | None] | None = await reached_at_once(
                scripts.hold_request_id(self._redis, hold, digest, HOLD_S)
            )
            if earlier is None:
                return await self._run_held(hold, run)
            if earlier[0] != digest:
                raise AlreadyExistsError(f'request_id: "{request.request_id}" was used before, with another request')
            if earlier[1] is not None:
                return earlier[1]
            remaining_s = deadline - asyncio.get_running_loop().time()
            if remaining_s <= 0:
                raise _still_in_flight(request)
            await asyncio.sleep(min(poll_s, remaining_s))
            poll_s = min(LAST_POLL_S, POLL_GROWS * poll_s)

    async def _run_held(self, hold: scripts.IdempotencyHold, run: Run) -> bytes:
        """Runs the first call.

        However it ends, its hold on the id stays: the request may be on the queue, and run on. A worker that fails it
        frees the id; one that never got it lets the hold expire.
        """
        renewal = asyncio.create_task(self._keep_renewing(hold.key))
        try:
            return await run(hold)
        finally:
            renewal.cancel()

    async def _keep_renewing(self, key: str) -> None:
        """Renews a hold for ever; one that lasts longer by now is left alone."""
        while True:
            await asyncio.sleep(HOLD_S / RENEWALS_PER_HOLD)
            with contextlib.suppress(RedisError):  # next time
                await self._redis.pexpire(key, round(HOLD_S * 1000), gt=True)


def _digest(request: pb.InferRequest, body: bytes) -> bytes:
    """SHA-256 of model, inputs and outputs, in a form that does not depend on how the caller serialized them.

    That form is a request with these alone, whose inputs are in the order of their names. Of fields that are not known
    here, those in the inputs of a small request count, too.
    """
    if not has_outline(body):
        in_order: list[pb.Tensor] = sorted(request.inputs, key=lambda tensor: tensor.name)
        nameless = pb.InferRequest(model=request.model, inputs=in_order, outputs=request.outputs)
        return hashlib.sha256(nameless.SerializeToString(deterministic=True)).digest()
    digest = hashlib.sha256(pb.InferRequest(model=request.model).SerializeToString())
    for tensor, its_data in sorted(
        zip(request.inputs, data_of_inputs(body), strict=True), key=lambda each: each[0].name
    ):
        bare = pb.Tensor(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)
        digest.update(before_data(INPUTS, bare, len(its_data)))
        digest.update(its_data)
    digest.update(pb.InferRequest(outputs=request.outputs).SerializeToString())
    return digest.digest()


def _still_in_flight(request: pb.InferRequest) -> DeadlineExceededError:
    return DeadlineExceededError(f'the first call with request_id "{request.request_id}" is still in flight')
