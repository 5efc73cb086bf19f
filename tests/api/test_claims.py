"""Large requests travel beside the queue, as far as Redis takes them."""

from typing import Any, cast

import pytest

from kernelport.broker import keys
from kernelport.errors import ResourceExhaustedError
from kernelport.internal.v1.queue_pb2 import BatchItem
from kernelport_api.queueing.payloads import Payloads

NOBODY = cast(Any, None)  # neither Redis nor the workers are to be asked


async def test_a_request_that_redis_would_not_take_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LARGEST_VALUE_BYTES", 1000)
    claims = Payloads(NOBODY, NOBODY, NOBODY, None, claim_bytes=10)
    with pytest.raises(ResourceExhaustedError, match=r"at most 1,000 bytes, .*; got 1,001"):
        await claims.attach(BatchItem(id=b"a"), "x", bytes(1001), 1.0, anywhere=True)
