"""Front doors of a test, which fail in ways that a test counts."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_status import rpc_status

from kernelport.errors import KernelPortError, to_status
from kernelport.stack.stack import free_port
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc


class Echo(inference_pb2_grpc.InferenceServiceServicer):
    """Answers `Infer` with its inputs, after it has raised the errors it was given, one a call.

    Attributes:
        calls: how many have come.
    """

    def __init__(self, *errors: KernelPortError) -> None:
        self.calls = 0
        self._errors = list(errors)

    def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        self.calls += 1
        if self._errors:
            context.abort_with_status(rpc_status.to_status(to_status(self._errors.pop(0))))
        return pb.InferResponse(outputs=request.inputs)


@contextlib.contextmanager
def serving(servicer: Echo, port: int | None = None) -> Iterator[str]:
    """The address of a front door that is there until the block ends."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(servicer, server)
    target = f"127.0.0.1:{port or free_port()}"
    server.add_insecure_port(target)
    server.start()
    try:
        yield target
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def frozen() -> Iterator[str]:
    """The address of a front door that takes connections, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
