"""KernelPort: self-hosted, queue-driven inference.

import kernelport

with kernelport.Client("127.0.0.1:50051") as client:
    result = client.infer("identity-onnx", {"x": array})
    speech = client.speak("hibari-en", "Good morning.")
"""

from kernelport.client import AsyncClient, Client, InferResult, Speech
from kernelport.errors import (
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

__all__ = [
    "AlreadyExistsError",
    "AsyncClient",
    "CancelledError",
    "Client",
    "DeadlineExceededError",
    "FieldViolation",
    "InferResult",
    "InternalError",
    "InvalidArgumentError",
    "KernelPortError",
    "NotFoundError",
    "ResourceExhaustedError",
    "Speech",
    "UnavailableError",
]
