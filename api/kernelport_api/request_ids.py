"""Calls that are safe to repeat: the same request id gets the same result, and runs once."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernelport import keys, scripts
from kernelport.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
)
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.outages import unreachable

MAX_LENGTH = 128
POLL_S = 0.03
# Until its request is on the queue, the claim on an id lasts this long unless it is renewed: should the front door die
# or Redis be away, the next call need not wait for the first one's deadline.
CLAIM_S = 10.0
RENEWALS_PER_CLAIM = 5

Run = Callable[[scripts.Claim], Awaitable[bytes]]


def check(request: pb.InferRequest) -> None:
    """Raises InvalidArgumentError for an id that is too long."""
    if len(request.request_id) > MAX_LENGTH:
        found = f"expected at most {MAX_LENGTH} characters, got {len(request.request_id)}"
        raise InvalidArgumentError.of([FieldViolation("request_id", found)])


async def run_once(redis: Redis, request: pb.InferRequest, timeout_s: float, run: Run) -> bytes:
    """The response to a request with an id: of the call that came first, or else of `run`.

    Args:
        run: runs the request and keeps its result as the claim says.

    Raises:
        AlreadyExistsError: the id stands for another request.
        DeadlineExceededError: the first call is still in flight after `timeout_s` seconds.
    """
    claim = scripts.Claim(keys.result(request.model, request.request_id), os.urandom(8))
    digest = _digest(request)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        try:
            held = await scripts.claim_result(redis, claim, digest, CLAIM_S)
        except RedisError as error:
            raise unreachable(error) from error
        if held is None:
            return await _run_first(redis, claim, run)
        if held[0] != digest:
            raise AlreadyExistsError(f'request_id: "{request.request_id}" was used before, with another request')
        if held[1] is not None:
            return held[1]
        if loop.time() >= deadline:
            raise DeadlineExceededError(f'the first call with request_id "{request.request_id}" is still in flight')
        await asyncio.sleep(POLL_S)


async def _run_first(redis: Redis, claim: scripts.Claim, run: Run) -> bytes:
    """Runs the first call.

    However it ends, its claim on the id stays: the request may be on the queue, and run on. A worker that fails it
    frees the id; one that never got it lets the claim expire.
    """
    renewal = asyncio.create_task(_keep_renewing(redis, claim.key))
    try:
        return await run(claim)
    finally:
        renewal.cancel()


async def _keep_renewing(redis: Redis, key: str) -> None:
    """Renews a claim for ever; one that lasts longer by now is left alone."""
    while True:
        await asyncio.sleep(CLAIM_S / RENEWALS_PER_CLAIM)
        with contextlib.suppress(RedisError):  # next time
            await redis.pexpire(key, round(CLAIM_S * 1000), gt=True)


def _digest(request: pb.InferRequest) -> bytes:
    """SHA-256 of model and inputs, in a form that does not depend on how the caller serialized them."""
    inputs: list[pb.Tensor] = sorted(request.inputs, key=lambda tensor: tensor.name)
    nameless = pb.InferRequest(model=request.model, inputs=inputs)
    return hashlib.sha256(nameless.SerializeToString(deterministic=True)).digest()
