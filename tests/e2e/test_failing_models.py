"""A model that tries to end its worker ends nothing but its own request, called or in a job."""

import grpc
import numpy as np
import pytest

from kernelport import Client, InternalError, tensors
from kernelport.supervisor.stack import Stack
from kernelport.v1 import job_pb2 as pb
from kernelport.v1 import job_pb2_grpc
from tests.jobs.calls import JobCalls

FINE, BAD = ({"ok": np.array([ok])} for ok in (True, False))
SAID = "the model failed: SystemExit: bad argument"


def test_a_call_that_makes_the_model_exit_fails_and_the_worker_goes_on(odd_stack: Stack) -> None:
    with Client(odd_stack.target, timeout_s=30) as client:
        for _ in range(2):
            with pytest.raises(InternalError, match=SAID):
                client.infer("quitter", BAD)
            assert client.infer("quitter", FINE)["ok"].tolist() == [True]


def test_a_jobs_item_that_makes_the_model_exit_fails_alone(odd_stack: Stack) -> None:
    rows = {"first": FINE, "bad": BAD, "last": FINE}
    items = [pb.NewItem(id=name, inputs=tensors.from_arrays(row)) for name, row in rows.items()]
    with grpc.insecure_channel(odd_stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        job = jobs.wait(jobs.submit("quitter", items).id)
        said = {item.id: item.reason for item in jobs.items(job.id)}
    assert said == {"first": "", "bad": SAID, "last": ""}
