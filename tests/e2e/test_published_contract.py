"""A client that was compiled before KernelPort grew beyond the published fields works unchanged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc_tools.protoc
import numpy as np
import pytest

from kernelport.supervisor.stack import Stack

PUBLISHED = """
syntax = "proto3";
package kernelport.v1;

service InferenceService {
  rpc Infer(InferRequest) returns (InferResponse);
}

enum DType {
  DTYPE_UNSPECIFIED = 0;
  F32 = 1;
  F16 = 2;
  I64 = 3;
  I32 = 4;
  U8 = 5;
}

message Tensor {
  string name = 1;
  DType dtype = 2;
  repeated int64 shape = 3;
  bytes data = 4;
}

message InferRequest {
  string model = 1;
  repeated Tensor inputs = 2;
}

message InferResponse {
  repeated Tensor outputs = 1;
  uint64 queued_us = 2;
  uint64 batched_us = 3;
  uint64 backend_us = 4;
}
"""

# Knows nothing of KernelPort but the generated modules beside it.
CLIENT = """
import json, sys, time
import grpc
import published_pb2 as pb
import published_pb2_grpc

target, model, name, dtype, shape, data = sys.argv[1:]
tensor = pb.Tensor(name=name, dtype=pb.DType.Value(dtype), shape=json.loads(shape), data=bytes.fromhex(data))
with grpc.insecure_channel(target) as channel:
    stub = published_pb2_grpc.InferenceServiceStub(channel)
    started = time.monotonic()
    response = stub.Infer(pb.InferRequest(model=model, inputs=[tensor]), timeout=30)
    wall_us = (time.monotonic() - started) * 1e6
print(json.dumps({
    "outputs": [[t.name, pb.DType.Name(t.dtype), list(t.shape), t.data.hex()] for t in response.outputs],
    "timings": [response.queued_us, response.batched_us, response.backend_us],
    "wall_us": wall_us,
}))
"""


@pytest.fixture
def published_client(tmp_path: Path) -> Path:
    """A program that speaks the published contract, compiled from its proto."""
    (tmp_path / "published.proto").write_text(PUBLISHED)
    arguments = ["protoc", f"-I{tmp_path}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    assert grpc_tools.protoc.main([*arguments, "published.proto"]) == 0
    program = tmp_path / "client.py"
    program.write_text(CLIENT)
    return program


def call(program: Path, target: str, model: str, name: str, dtype: str, shape: list[int], data: bytes) -> Any:
    arguments = [target, model, name, dtype, json.dumps(shape), data.hex()]
    # A process of its own: both protos are the package kernelport.v1, which one process can load only once.
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_identity_gives_the_same_bytes(published_client: Path, stack: Stack) -> None:
    data = np.array([1.5, -0.0, np.nan, np.inf], np.float32).tobytes()
    answer = call(published_client, stack.target, "identity-onnx", "x", "F32", [1, 1, 2, 2], data)
    assert answer["outputs"] == [["y", "F32", [1, 1, 2, 2], data.hex()]]


def test_timings_are_measurements(published_client: Path, stack: Stack) -> None:
    answer = call(published_client, stack.target, "identity-onnx", "x", "F32", [1, 1, 2, 2], bytes(16))
    queued_us, batched_us, backend_us = answer["timings"]
    assert queued_us > 0
    assert batched_us > 0
    assert backend_us > 0
    assert queued_us + batched_us + backend_us <= answer["wall_us"]


def test_speech_comes_in_published_dtypes(published_client: Path, stack: Stack) -> None:
    text = b"An old friend calls."
    answer = call(published_client, stack.target, "hibari-en", "text", "U8", [len(text)], text)
    (audio, audio_dtype, (samples,), audio_data), rate = answer["outputs"]
    assert (audio, audio_dtype) == ("audio", "F32")
    assert len(audio_data) == 2 * 4 * samples > 0
    assert rate == ["sample_rate", "I32", [1], np.array([24000], np.int32).tobytes().hex()]
