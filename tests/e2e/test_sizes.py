"""What is too large to travel fails at once, with its size and the limit."""

import numpy as np
import pytest

from kernelport import Client, ResourceExhaustedError
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2
from tests.e2e.conftest import SMALL_ANSWER_BYTES, SMALL_MESSAGE_BYTES

GIB = 2**30


def test_an_answer_over_the_configured_limit(odd_stack: Stack) -> None:
    with Client(odd_stack.target, timeout_s=30) as client:
        fits = client.infer("broad", {"size": [SMALL_ANSWER_BYTES - 1000]})
        assert fits["zeros"].nbytes == SMALL_ANSWER_BYTES - 1000
        for size in (SMALL_ANSWER_BYTES, 3 * GIB):  # not even made, or it would take minutes
            with pytest.raises(
                ResourceExhaustedError, match=r"an answer of at most 2,097,152 bytes, got [23],"
            ) as refused:
                client.infer("broad", {"size": [size]}, request_id=f"size-{size}")
            assert f"{size:,}"[:5] in refused.value.message


def test_the_file_of_a_job_has_no_such_limit(odd_stack: Stack) -> None:
    with Client(odd_stack.target, timeout_s=30) as client:
        job = client.jobs.wait(client.jobs.submit("broad", [{"size": [2 * SMALL_ANSWER_BYTES]}]).id)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED
        assert job.progress.output_bytes > 2 * SMALL_ANSWER_BYTES


def test_a_request_over_what_grpc_carries_is_not_sent(client: Client) -> None:
    large = np.broadcast_to(np.zeros(1, np.float32), (1, 1, GIB, 1))
    for call in (
        lambda: client.infer("identity-onnx", {"x": large}),
        lambda: client.jobs.submit("identity-onnx", [{"x": large}]),
        lambda: client.jobs.submit("identity-onnx", [{"x": [[[[1]]]]}], shared={"x": large}),
    ):
        with pytest.raises(ResourceExhaustedError, match=r"at most 2,147,483,647 bytes in a message, got 4,294,967,"):
            call()


def test_a_request_over_the_front_doors_limit(odd_stack: Stack) -> None:
    with (
        Client(odd_stack.target, timeout_s=30) as client,
        pytest.raises(ResourceExhaustedError, match=rf"larger than max \(10\d+ vs\. {SMALL_MESSAGE_BYTES}\)"),
    ):
        client.infer("broad", {"size": np.zeros(SMALL_MESSAGE_BYTES // 8, np.int64)})
