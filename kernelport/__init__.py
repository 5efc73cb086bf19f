"""KernelPort: self-hosted, queue-driven inference.

import kernelport

with kernelport.Client("127.0.0.1:50051") as client:
    result = client.infer("identity-onnx", {"x": array})
    speech = client.speak("hibari-en", "Good morning.")

`kernelport.aio.Client` is the same for asyncio, and `AsyncClient` another name of it.
"""

from importlib.metadata import version

from kernelport import aio
from kernelport.client import AsyncClient, Client, InferResult, Speech, load_outputs
from kernelport.client.jobs import AsyncJobs, Jobs
from kernelport.enums import ItemState, JobState
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
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from kernelport.v1.deployment_pb2 import Deployment
from kernelport.v1.job_pb2 import Item, Job, Webhook
from kernelport.v1.voice_pb2 import Voice

__version__ = version("kernelport")

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "AsyncJobs",
    "CancelledError",
    "Client",
    "DeadlineExceededError",
    "Deployment",
    "FailedPreconditionError",
    "FieldViolation",
    "InferResult",
    "InternalError",
    "InvalidArgumentError",
    "Item",
    "ItemState",
    "Job",
    "JobState",
    "Jobs",
    "KernelPortError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Speech",
    "UnauthenticatedError",
    "UnavailableError",
    "Voice",
    "Webhook",
    "__version__",
    "aio",
    "load_outputs",
]
