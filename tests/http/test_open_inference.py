"""The Open Inference Protocol: Triton's stock client, and what it would not send."""

import json
import subprocess
import sys
from typing import Any

import grpc
import numpy as np
import pytest

from kernelport import Client
from kernelport.supervisor.stack import Stack
from tests.http.calls import Reply, ask

INFER = "/v2/models/identity-onnx/infer"
X = {"name": "x", "shape": [1, 1, 2, 2], "datatype": "FP32", "data": [1.5, 2, 3, 4]}
RAW = np.arange(4, dtype=np.float32).tobytes()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_triton_s_stock_client_works_unmodified(stack: Stack, protocol: str) -> None:
    address = stack.target if protocol == "grpc" else stack.url.removeprefix("http://")
    command = [sys.executable, "-m", "tests.http.triton_client", protocol, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def binary(body: dict[str, Any], *parts: bytes) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return b"".join([head, *parts]), headers


def raw_input(size: int, **other: Any) -> dict[str, Any]:
    known = {key: value for key, value in X.items() if key != "data"}
    return {**known, "parameters": {"binary_data_size": size}, **other}


def outputs_of(reply: Reply) -> dict[str, bytes]:
    """The raw outputs of an answer."""
    head = int(reply.headers["inference-header-content-length"])
    found, at = {}, head
    for output in json.loads(reply.body[:head])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]], at = reply.body[at : at + size], at + size
    assert at == len(reply.body)
    return found


def test_json_and_binary_answers_have_the_same_bytes_as_the_contract_s(stack: Stack, client: Client) -> None:
    x = np.frombuffer(RAW, np.float32).reshape(1, 1, 2, 2)
    expected = client.infer("identity-onnx", {"x": x})["y"]
    body, headers = binary({"inputs": [raw_input(16)], "parameters": {"binary_data_output": True}}, RAW)
    assert outputs_of(ask(stack.url, "POST", INFER, body, headers)) == {"y": expected.tobytes()}
    told = ask(stack.url, "POST", INFER, {"id": "a", "inputs": [{**X, "data": x.tolist()}]}).json()
    assert (told["model_name"], told["model_version"], told["id"]) == ("identity-onnx", "1", "a")
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [0, 1, 2, 3]}]


def test_an_output_is_raw_where_it_is_wanted_so(stack: Stack) -> None:
    wanted = [{"name": "y", "parameters": {"binary_data": True}}]
    reply = ask(stack.url, "POST", INFER, {"inputs": [X], "outputs": wanted})
    assert outputs_of(reply) == {"y": np.array([1.5, 2, 3, 4], np.float32).tobytes()}
    assert reply.headers["content-type"] == "application/octet-stream"


def test_megabytes_come_back_as_they_went(stack: Stack) -> None:
    raw = np.random.default_rng(0).random(2**19, dtype=np.float32).tobytes()
    body, headers = binary(
        {
            "inputs": [raw_input(len(raw), shape=[2, 1, 512, 512])],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        },
        raw,
    )
    assert outputs_of(ask(stack.url, "POST", INFER, body, headers))["y"] == raw


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "inputs"),
        ({"inputs": {}}, "$.inputs"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": 3}]}, "$.inputs[0].datatype"),
        ({"inputs": [{**X, "datatype": "FP31"}]}, "inputs[0].datatype"),
        ({"inputs": [{**X, "data": [1, 2]}]}, "inputs[0].data"),
        ({"inputs": [{**X, "data": ["a", 2, 3, 4]}]}, "inputs[0].data"),
        ({"inputs": [{**X, "shape": [-1, 1, 2, 2]}]}, "inputs[0]"),
        ({"inputs": [{**X, "data": [1e300, 2, 3, 4]}]}, "inputs[0].data"),
        ({"inputs": [X], "parameters": {"timeout": "soon"}}, "parameters.timeout"),
        ({"inputs": [raw_input(16)]}, "inputs[0].parameters.binary_data_size"),
        ({"inputs": [raw_input(True)]}, "inputs[0].parameters.binary_data_size"),  # type: ignore[arg-type]
        ({"inputs": [X], "outputs": [{"name": "z"}]}, "outputs[0].name"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "parameters.classification"),
    ],
)
def test_a_malformed_request_names_the_field(stack: Stack, body: object, expected: str) -> None:
    reply = ask(stack.url, "POST", INFER, body)
    assert reply.status == 400
    assert list(reply.json()) == ["error"]
    assert expected in reply.json()["error"]


@pytest.mark.parametrize("told", ["-1", "many", "1e9", "99999", "1" * 5000])
def test_a_length_that_is_none_is_told_so(stack: Stack, told: str) -> None:
    body, headers = binary({"inputs": [raw_input(16)]}, RAW)
    reply = ask(stack.url, "POST", INFER, body, {**headers, "Inference-Header-Content-Length": told})
    assert (reply.status, reply.json()["error"].partition(":")[0]) == (400, "Inference-Header-Content-Length")


def test_a_text_may_be_its_bytes_but_its_length_has_to_be_its_length(stack: Stack) -> None:
    path, wanted = "/v2/models/hibari-en/infer", [{"name": "sample_rate"}]
    text = {"name": "text", "shape": [3], "datatype": "UINT8", "data": list(b"Hi.")}
    assert ask(stack.url, "POST", path, {"inputs": [text], "outputs": wanted}).status == 200
    element = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}
    for length, status in ((3, 200), (2, 400), (4, 400), (2**32 - 1, 400)):
        body, headers = binary({"inputs": [element], "outputs": wanted}, length.to_bytes(4, "little") + b"Hi.")
        assert ask(stack.url, "POST", path, body, headers).status == status


def test_bytes_that_belong_to_nobody_are_refused(stack: Stack) -> None:
    body, headers = binary({"inputs": [raw_input(16)]}, RAW, b"more")
    assert ask(stack.url, "POST", INFER, body, headers).status == 400


def test_bytes_in_a_stream_that_are_no_message_are_told_so(stack: Stack) -> None:
    with grpc.insecure_channel(stack.target) as channel:
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as told:
            list(stream(iter([b"\xd9\xd1\xe6+\xde"]), timeout=20))
    assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_idempotency_key_runs_once(stack: Stack) -> None:
    headers = {"Idempotency-Key": "over-http-1"}
    assert ask(stack.url, "POST", INFER, {"inputs": [X]}, headers).status == 200
    assert ask(stack.url, "POST", INFER, {"inputs": [X]}, headers).status == 200
    assert ask(stack.url, "POST", INFER, {"inputs": [{**X, "data": [0, 0, 0, 0]}]}, headers).status == 409
