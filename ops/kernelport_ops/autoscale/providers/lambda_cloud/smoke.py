"""Whether a stack that was just brought up serves: gRPC health, and one call with inputs that are made up."""

import io
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import soundfile
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kernelport import Client
from kernelport.tensors import NUMPY_DTYPES
from kernelport.v1.deployment_pb2 import TensorSpec

LOOK_S = 5.0
CALL_S = 600.0
# What inputs of the speech contract hold; anything else is made of ones.
_TEXT = "Every machine that came up says this sentence once."
_PROMPT_TEXT = "A recording."


def wait_until_served(target: str, deployment: str, timeout_s: float, tell: Callable[[str], None]) -> bool:
    """Waits until the front door says that the deployment serves; False when it has not after `timeout_s` seconds."""
    ends_at = time.monotonic() + timeout_s
    told = ""
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < ends_at:
            state = _state(health, deployment)
            if state == "SERVING":
                return True
            if state != told:
                tell(f"{target}: {state}")
                told = state
            time.sleep(min(LOOK_S, max(0.0, ends_at - time.monotonic())))
    return False


def try_once(target: str, deployment: str) -> str:
    """Calls the deployment; what it gave, in words.

    Raises:
        KernelPortError: when it fails.
    """
    with Client(target, timeout_s=CALL_S) as client:
        signature = client.deployment(deployment).signature
        inputs = {spec.name: _made_up(spec) for spec in signature.inputs if not spec.optional}
        if "prompt_audio" in inputs:
            inputs["prompt_text"] = _bytes(_PROMPT_TEXT.encode())
        started = time.monotonic()
        result = client.infer(deployment, inputs)
        took_s = time.monotonic() - started
    shapes = ", ".join(f"`{name}` {list(result[name].shape)}" for name in result.outputs)
    return f"`{deployment}` answered in {took_s:.2f} s ({result.backend_us / 1e6:.2f} s on the model): {shapes}"


def _state(health: Any, deployment: str) -> str:
    request = health_pb2.HealthCheckRequest(service=deployment)
    try:
        answer = health.Check(request, timeout=10)
    except grpc.RpcError as error:
        return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _made_up(spec: TensorSpec) -> np.ndarray[Any, Any]:
    if spec.name == "text":
        return _bytes(_TEXT.encode())
    if spec.name == "prompt_audio":
        return _bytes(_recording())
    return np.ones([dimension.size if dimension.size > 0 else 2 for dimension in spec.shape], NUMPY_DTYPES[spec.dtype])


def _recording(seconds: float = 2.0, rate: int = 24_000) -> bytes:
    """A WAV file with a hum in syllables: enough of a voice to be cloned."""
    at_s = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * harmonic * at_s) / harmonic for harmonic in range(1, 12))
    audio = 0.1 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at_s))
    file = io.BytesIO()
    soundfile.write(file, audio.astype(np.float32), rate, format="WAV")
    return file.getvalue()


def _bytes(content: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(content, np.uint8)
