"""One request is followed by its id through the logs of all processes, and what callers send stays out of them."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote

import grpc
import numpy as np
import pytest

from kernelport import Client, InternalError, InvalidArgumentError, tensors
from kernelport.supervisor.stack import Stack
from kernelport.telemetry.log_files import log_files
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc, job_pb2, job_pb2_grpc
from kernelport_api.calls import MOST_LATE
from tests.conftest import serving_stack, stack_settings
from tests.jobs.calls import JobCalls
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

FRONT_DOOR, WORKER = "front-door", "worker-moody"
GOOD, BAD = {"x": np.array([1], np.float32)}, {"x": np.array([-4321], np.float32)}
ACCESS = "kernelport.access"
LOG_BYTES = 64 * 2**10


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that logs all it can, as JSON."""
    folder = tmp_path_factory.mktemp("tracing")
    file = write_deployments(folder, moody=pipeline("Moody"), stumbling=pipeline("Stumbling"))
    settings = replace(stack_settings(file), log_level="DEBUG", log_format="json", access_log=1.0)
    with serving_stack(settings, ["moody", "stumbling"], folder / "state") as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.target, timeout_s=30) as connected:
        yield connected


def lines(stack: Stack, process: str) -> list[dict[str, Any]]:
    """What a process has logged as JSON."""
    return [json.loads(line) for line in stack.children[process].log_file.read_text().splitlines()]


def about(stack: Stack, process: str, request_id: str) -> list[dict[str, Any]]:
    """The lines that carry a request's id; waits until there are some."""
    return wait_for(
        lambda: [
            line
            for line in lines(stack, process)
            if request_id == line.get("request_id") or request_id in line.get("requests", ())
        ],
        what=f"a line about {request_id} in the log of {process}",
    )


def access(stack: Stack, request_id: str) -> dict[str, Any]:
    """The line of the access log about a call."""
    (line,) = [line for line in about(stack, FRONT_DOOR, request_id) if line["logger"] == ACCESS]
    return line


def infer(stack: Stack, inputs: dict[str, Any], request_id: str = "") -> dict[str, str]:
    """The trailing metadata of a call that went well."""
    with grpc.insecure_channel(stack.target) as channel:
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        request = pb.InferRequest(model="moody", inputs=tensors.from_arrays(inputs), request_id=request_id)
        _, call = stub.Infer.with_call(request, timeout=30)
    return dict(call.trailing_metadata())


def test_the_logs_of_all_processes_name_a_call_by_its_callers_id(stack: Stack, client: Client) -> None:
    client.infer("moody", GOOD, request_id="goes-well")
    with pytest.raises(InternalError) as failed:
        client.infer("moody", BAD, request_id="goes-wrong")
    assert failed.value.request_id == "goes-wrong"
    for request_id in ("goes-well", "goes-wrong"):
        for process in (FRONT_DOOR, WORKER):
            assert {line["deployment"] for line in about(stack, process, request_id)} == {"moody"}


def test_a_call_without_an_id_gets_one_and_is_told(stack: Stack, client: Client) -> None:
    made = infer(stack, GOOD)["kernelport-request-id"]
    with pytest.raises(InternalError) as failed:
        client.infer("moody", BAD)
    with pytest.raises(InvalidArgumentError) as refused:
        client.infer("moody", {"y": GOOD["x"]})
    assert len({made, failed.value.request_id, refused.value.request_id}) == 3
    for request_id in (made, failed.value.request_id):
        assert about(stack, FRONT_DOOR, request_id)
        assert about(stack, WORKER, request_id)
    assert access(stack, refused.value.request_id)["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("request_id", ["an ö", "two\nlines", '"quoted"', "\N{PILE OF POO}" * 128])
def test_any_id_comes_back(stack: Stack, client: Client, request_id: str) -> None:
    assert unquote(infer(stack, GOOD, request_id)["kernelport-request-id"]) == request_id
    with pytest.raises(InvalidArgumentError) as refused:
        client.infer("moody", {"y" * 5000: GOOD["x"]}, request_id=f"{request_id[1:]}!")
    assert refused.value.request_id == f"{request_id[1:]}!"
    assert access(stack, request_id)["status"] == "OK"


def test_an_id_that_is_too_long_is_replaced(stack: Stack, client: Client) -> None:
    with pytest.raises(InvalidArgumentError, match="request_id: expected at most 128 characters") as refused:
        client.infer("moody", GOOD, request_id="x" * 129)
    assert access(stack, refused.value.request_id)["status"] == "INVALID_ARGUMENT"


def test_a_line_tells_what_a_call_took(stack: Stack) -> None:
    made = infer(stack, GOOD)["kernelport-request-id"]
    line = access(stack, made)
    assert (line["level"], line["method"], line["status"]) == ("INFO", "InferenceService/Infer", "OK")
    assert 0 < line["queue_s"] + line["model_s"] < line["seconds"] < 30
    assert line["bytes_in"] > 4
    assert line["bytes_out"] > 4


def test_the_text_of_a_models_exception_goes_to_the_caller_alone(stack: Stack, client: Client) -> None:
    with pytest.raises(InternalError, match=r"RuntimeError: -4321\.0 is no number for today") as failed:
        client.infer("moody", BAD)
    line = access(stack, failed.value.request_id)
    assert (line["level"], line["status"], line["reason"]) == ("WARNING", "INTERNAL", "INTERNAL")
    (told,) = [line for line in about(stack, WORKER, failed.value.request_id) if line["level"] == "ERROR"]
    assert "models.py" in told["exception"]
    assert told["exception"].endswith("ValueError")
    assert not [file for _, file in log_files(stack.children[WORKER].log_file.parent) if "4321" in file.read_text()]


def test_a_stream_is_followed_to_the_piece_that_fails(stack: Stack) -> None:
    with grpc.insecure_channel(stack.target) as channel:
        stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        counts = {"count": np.array([5], np.int64), "fatal": np.array([3], np.int64)}
        request = pb.InferRequest(model="stumbling", inputs=tensors.from_arrays(counts), request_id="a-stream")
        stream = stub.InferStream(request, timeout=30)
        with pytest.raises(grpc.RpcError, match="ValueError: cannot count to 4324"):
            assert [message.sequence for message in stream] == [0, 1, 2]
    line = access(stack, "a-stream")
    assert (line["method"], line["status"]) == ("InferenceService/InferStream", "INTERNAL")
    assert line["model_s"] >= 0.06
    (told,) = [line for line in about(stack, "worker-stumbling", "a-stream") if line["level"] == "ERROR"]
    assert "the model failed on a step" in told["message"]
    assert "4324" not in told["exception"]


def test_a_jobs_lines_carry_the_id_of_its_submission(stack: Stack) -> None:
    with grpc.insecure_channel(stack.target) as channel:
        jobs = JobCalls(job_pb2_grpc.JobServiceStub(channel))
        item = job_pb2.NewItem(id="bad", inputs=tensors.from_arrays(BAD))
        job = jobs.submit("moody", [item], request_id="a-job")
        jobs.wait(job.id)
    submitted = access(stack, "a-job")
    assert (submitted["method"], submitted["job"]) == ("JobService/SubmitJob", job.id)
    ran = about(stack, WORKER, "a-job")
    assert {line["job"] for line in ran} == {job.id}
    assert any("the model failed" in line["message"] for line in ran)
    wait_for(lambda: any("1 of 1 item failed" in line["message"] for line in about(stack, WORKER, "a-job")))


def test_a_call_over_http_is_told_its_id_and_logged(stack: Stack) -> None:
    with urllib.request.urlopen(f"{stack.url}/v2/models/moody", timeout=30) as answer:
        made = answer.headers["kernelport-request-id"]
    line = access(stack, made)
    assert (line["method"], line["status"]) == ("GET /v2/models/moody", "OK")
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(f"{stack.url}/v2/models/none", timeout=30)
    refused.value.close()
    line = access(stack, refused.value.headers["kernelport-request-id"])
    assert (line["level"], line["status"]) == ("WARNING", "404")


def test_no_library_tells_of_its_own_work(stack: Stack) -> None:
    for process in (FRONT_DOOR, WORKER):
        chatter = [line for line in lines(stack, process) if not line["logger"].startswith("kernelport")]
        assert not [line for line in chatter if line["level"] in ("DEBUG", "INFO")]


@pytest.mark.parametrize("form", ["json", "text"])
def test_trace_puts_the_lines_of_all_processes_together(tmp_path: Path, form: str) -> None:
    file = write_deployments(tmp_path, moody=pipeline("Moody"))
    settings = replace(stack_settings(file), log_format=form)
    with (
        serving_stack(settings, ["moody"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
    ):
        client.infer("moody", GOOD, request_id="not-logged")
        for request_id in ("wanted 1", "wanted 12"):
            with pytest.raises(InternalError):
                client.infer("moody", BAD, request_id=request_id)
        wait_for(lambda: "wanted 12" in stack.children[FRONT_DOOR].log_file.read_text())
    found = traced(tmp_path, "wanted 1")
    assert found.returncode == 0
    processes = [line.partition(":")[0] for line in found.stdout.splitlines() if not line.startswith(" ")]
    assert processes == [WORKER, FRONT_DOOR]
    assert "models.py" in found.stdout, "the traceback belongs to its line"
    assert "wanted 12" not in found.stdout
    none = traced(tmp_path, "not-logged")
    assert (none.returncode, none.stdout) == (2, "")
    assert "tells of not-logged" in none.stderr


def traced(folder: Path, request_id: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kernelport.cli", "trace", request_id, "--state-dir", str(folder / "state")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_log_file_that_is_full_is_put_aside_without_losing_a_line(tmp_path: Path) -> None:
    file = write_deployments(tmp_path, moody=pipeline("Moody"))
    settings = replace(stack_settings(file), access_log=1.0, log_bytes=LOG_BYTES)
    with (
        serving_stack(settings, ["moody"], tmp_path / "state") as stack,
        Client(stack.target, timeout_s=30) as client,
    ):
        log = stack.children[FRONT_DOOR].log_file
        earlier = log.with_name(f"{log.name}.1")
        ids = []
        while not earlier.exists() or log.stat().st_size < LOG_BYTES / 2:
            ids.append(f"call-{len(ids)}")
            client.infer("moody", GOOD, request_id=ids[-1])
        wait_for(lambda: ids[-1] in log.read_text())
    # Lines of calls that went well are written many at a time.
    assert LOG_BYTES <= earlier.stat().st_size < LOG_BYTES + MOST_LATE * 256
    told = re.findall(r"request_id=(call-\d+) ", earlier.read_text() + log.read_text())
    assert told == ids
