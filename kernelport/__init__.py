"""KernelPort: self-hosted, queue-driven inference.

import kernelport

with kernelport.Client("127.0.0.1:50051") as client:
    result = client.infer("identity-onnx", {"x": array})
    speech = client.speak("hibari-en", "Good morning.")
"""

from kernelport.client import AsyncClient, Client, InferResult, Speech
from kernelport.errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    KernelPortError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from kernelport.jobs.enums import ItemState, JobState

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "CancelledError",
    "Client",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "FieldViolation",
    "InferResult",
    "InternalError",
    "InvalidArgumentError",
    "ItemState",
    "JobState",
    "KernelPortError",
    "NotFoundError",
    "ResourceExhaustedError",
    "Speech",
    "UnavailableError",
]
