"""Large messages travel beside the queue, as far as Redis takes them."""

import asyncio
from typing import Any, cast

import pytest

from kernelport.broker import keys
from kernelport.errors import ResourceExhaustedError
from kernelport.internal.v1.queue_pb2 import BatchItem, Completion
from kernelport_api.queueing.payloads import Payloads

NOBODY = cast(Any, None)  # neither Redis nor the workers are to be asked


async def test_a_request_that_redis_would_not_take_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LARGEST_VALUE_BYTES", 1000)
    claims = Payloads(NOBODY, NOBODY, NOBODY, None, claim_bytes=10)
    with pytest.raises(ResourceExhaustedError, match=r"at most 1,000 bytes, .*; got 1,001"):
        await claims.attach(BatchItem(id=b"a"), "x", bytes(1001), 1.0, anywhere=True)


class Stalled:
    """A Redis that does not come to give a value."""

    def __init__(self) -> None:
        self.asked, self.unlinked = asyncio.Event(), asyncio.Event()

    async def getrange(self, key: str, start: int, end: int) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def unlink(self, key: str) -> None:
        self.unlinked.set()


async def test_a_response_whose_reader_leaves_in_the_middle_is_let_go() -> None:
    redis = Stalled()
    claims = Payloads(cast(Any, redis), NOBODY, NOBODY, None, claim_bytes=10)
    reading = asyncio.create_task(claims.response(Completion(response_claim=keys.claim("a"))))
    await redis.asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(redis.unlinked.wait(), 5)
