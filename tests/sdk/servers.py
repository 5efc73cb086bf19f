"""Front doors of a test, which fail in ways that a test counts."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_status import rpc_status

from kernelport.errors import KernelPortError, to_status
from kernelport.supervisor.ports import free_port
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


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

    def InferChunked(self, request_iterator: Iterator[pb.InferChunk], context: Any) -> Iterator[pb.InferChunk]:
        request = pb.InferRequest.FromString(b"".join(chunk.data for chunk in request_iterator))
        answer = self.Infer(request, context).SerializeToString()
        for begin in range(0, len(answer), 2**20):
            yield pb.InferChunk(data=answer[begin : begin + 2**20])


@contextlib.contextmanager
def serving(servicer: Echo, port: int | None = None) -> Iterator[str]:
    """The address of a front door that is there until the block ends."""
    server = grpc.server(ThreadPoolExecutor(8), options=_OPTIONS)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(servicer, server)
    with _listening(server, port or free_port()) as target:
        yield target


@contextlib.contextmanager
def answering(response: bytes) -> Iterator[str]:
    """The address of a front door that answers `Infer` with these bytes, whatever they are."""
    server = grpc.server(ThreadPoolExecutor(1), options=_OPTIONS)
    method = grpc.unary_unary_rpc_method_handler(lambda request, context: response)
    handler = grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", {"Infer": method})
    server.add_generic_rpc_handlers((handler,))
    with _listening(server, free_port()) as target:
        yield target


@contextlib.contextmanager
def another(answer: bytes | None) -> Iterator[str]:
    """The address of a gRPC server of another kind: it has no method, or gives the same bytes for each.

    Args:
        answer: the bytes; None where it has none.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            if answer is None:
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=(Handler(),), options=_OPTIONS)
    with _listening(server, free_port()) as target:
        yield target


@contextlib.contextmanager
def _listening(server: grpc.Server, port: int) -> Iterator[str]:
    target = f"127.0.0.1:{port}"
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
