"""Nobody waits longer than they said they would, or for a model that nobody serves."""

import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from kernelport import Client, DeadlineExceededError, UnavailableError
from kernelport.supervisor.stack import Stack
from kernelport.v1 import inference_pb2 as pb
from tests.e2e.calls import refusal, response, start
from tests.e2e.conftest import OWN_LIMIT_S


@pytest.fixture
def odd_channel(odd_stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(odd_stack.target) as channel:
        yield channel


def sleep(model: str, seconds: float) -> pb.InferRequest:
    data = np.array([seconds], np.float32).tobytes()
    return pb.InferRequest(model=model, inputs=[pb.Tensor(name="seconds", dtype=pb.F32, shape=[1], data=data)])


def test_a_callers_deadline_is_kept(odd_channel: grpc.Channel) -> None:
    started = time.monotonic()
    got = refusal(start(odd_channel, sleep("sleeper", 1), timeout_s=0.2))
    assert got.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 0.9
    # Whoever waits longer is served as ever.
    assert response(start(odd_channel, sleep("sleeper", 0))).outputs


def test_a_deployments_own_limit_is_kept_and_told(odd_stack: Stack, odd_channel: grpc.Channel) -> None:
    started = time.monotonic()
    got = refusal(start(odd_channel, sleep("hurried", 1)))
    assert (got.code, got.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    place = f"timeouts.request_s of hurried in {odd_stack.settings.deployments_file}"
    assert f"the limit of {OWN_LIMIT_S:g} s is {place}" in got.message
    assert "kernelport jobs submit" in got.message
    assert OWN_LIMIT_S <= time.monotonic() - started < 0.9


def test_a_request_whose_time_ran_out_in_the_queue_is_not_run(odd_channel: grpc.Channel) -> None:
    first = start(odd_channel, sleep("sleeper", 0.4))
    expiring = [start(odd_channel, sleep("sleeper", 5), timeout_s=0.2) for _ in range(4)]
    assert {refusal(call).code for call in expiring} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert response(first).outputs
    # Had they run, this would wait for them.
    assert response(start(odd_channel, sleep("sleeper", 0), timeout_s=5)).outputs


@pytest.mark.parametrize("timeout_s", [0.2, None])
def test_the_clients_timeout_is_a_deadline(timeout_s: float | None, odd_stack: Stack) -> None:
    inputs = {"seconds": np.array([1], np.float32)}
    with Client(odd_stack.target, timeout_s=0.2) as client, pytest.raises(DeadlineExceededError):
        client.infer("sleeper", inputs, timeout_s=timeout_s)


def test_without_a_worker_the_answer_comes_at_once(odd_channel: grpc.Channel) -> None:
    started = time.monotonic()
    got = refusal(start(odd_channel, sleep("nobody", 0)))
    assert time.monotonic() - started < 2
    assert (got.code, got.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
    assert 'no live worker serves "nobody"' in got.message
    assert got.retry_after_s is not None
    assert 0 < got.retry_after_s <= 10


def test_without_a_worker_the_client_raises_unavailable(odd_stack: Stack) -> None:
    with Client(odd_stack.target) as client, pytest.raises(UnavailableError, match='serves "nobody"') as refused:
        client.infer("nobody", {"seconds": np.array([0], np.float32)})
    assert refused.value.retry_after_s is not None
