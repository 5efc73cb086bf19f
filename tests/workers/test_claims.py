"""Large responses travel beside the queue, as far as Redis takes them."""

from typing import Any, cast

import pytest
from google.rpc import status_pb2

from kernelport.broker import keys
from kernelport.errors import ResourceExhaustedError, from_status
from kernelport.internal.v1.queue_pb2 import Batch, Completion
from kernelport_workers.execution.execution import Answer
from kernelport_workers.execution.payloads import Payloads


def test_a_response_that_redis_would_not_take_is_an_error_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LARGEST_VALUE_BYTES", 1000)
    completion = Completion(id=b"a")
    no_redis = cast(Any, None)  # nothing is to be sent there
    Payloads(no_redis, None, "worker", claim_bytes=10).put_away(Batch(id="b"), [Answer(completion, [bytes(1001)])])
    error = from_status(status_pb2.Status.FromString(completion.error))
    assert isinstance(error, ResourceExhaustedError)
    assert "at most 1,000 bytes, which is all that Redis takes; got 1,001" in error.message
