"""The ceiling: a grpc.aio server that answers each InferRequest with its own tensors, and does nothing else.

python -m kernelport_ops.bench.echo_server PORT
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo(inference_pb2_grpc.InferenceServiceServicer):
    """Gives the inputs back as the outputs."""

    async def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """Parsed and serialized by gRPC, as any service's messages are."""
        return pb.InferResponse(outputs=request.inputs)

    async def InferStream(self, request: pb.InferRequest, context: Any) -> AsyncIterator[pb.InferResponse]:
        """The same in one message."""
        yield pb.InferResponse(outputs=request.inputs, last=True)


async def serve(port: int) -> None:
    """Serves until the process is ended."""
    server = grpc.aio.server(options=_UNLIMITED)
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(Echo(), server)  # type: ignore[abstract]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
