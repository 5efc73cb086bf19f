"""InferenceService over gRPC: bytes in, bytes out."""

import asyncio
import contextlib
import time
from typing import Any

import grpc

from kernelport.errors import DeadlineExceededError
from kernelport.telemetry import tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.doors.grpc.draining import Calls
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.grpc.parsing import parsed
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, Sending
from kernelport_api.services.inference import Inference

Context = grpc.aio.ServicerContext[bytes, bytes]

# A caller that takes nothing of its answer for so long has left it.
READER_S = 30.0


class InferenceDoor:
    """Answers `Infer` and `InferStream`.

    Args:
        calls: its own; how many there may be is for the inference service to say.
    """

    def __init__(self, inference: Inference, calls: Calls) -> None:
        self._inference = inference
        self._calls = calls
        self._sending = Sending()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpc.aio server."""
        # No serializers: bytes in, bytes out.
        method = self._traced if tracing.is_on else self.infer
        infer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
        stream: Any = grpc.unary_stream_rpc_method_handler(self.infer_stream)
        methods = {"Infer": infer, "InferStream": stream}
        return grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", methods)

    async def infer(self, body: bytes, context: Context) -> bytes:
        """Runs one serialized InferRequest; returns the serialized InferResponse."""
        arrived_at = time.monotonic()
        try:
            with self._calls:
                request = await parsed(pb.InferRequest, body)
                response = await self._inference.answer(request, body, context.time_remaining(), arrived_at)
                if len(response) >= COUNTED_BYTES:
                    await self._sending.turn(context, len(response))
                return response
        except Exception as error:
            await abort(context, error, "Infer")

    async def infer_stream(self, body: bytes, context: Context) -> None:
        """Runs one serialized InferRequest; writes the serialized messages of its answer as they come."""
        arrived_at = time.monotonic()
        try:
            with self._calls, self._tracing("InferStream", context):
                request = await parsed(pb.InferRequest, body)
                async with contextlib.aclosing(
                    self._inference.stream(request, body, context.time_remaining(), arrived_at)
                ) as messages:
                    async for message in messages:
                        await _taken(context, message)
        except Exception as error:
            await abort(context, error, "InferStream")

    def _tracing(self, method: str, context: Context) -> contextlib.AbstractContextManager[Any]:
        if not tracing.is_on:
            return contextlib.nullcontext()
        return tracing.call(f"kernelport.v1.InferenceService/{method}", context.invocation_metadata())

    async def _traced(self, body: bytes, context: Context) -> bytes:
        with tracing.call("kernelport.v1.InferenceService/Infer", context.invocation_metadata()):
            return await self.infer(body, context)


async def _taken(context: Context, message: bytes) -> None:
    """Gives a message to a caller.

    Raises:
        DeadlineExceededError: it has not taken those before for too long.
    """
    try:
        async with asyncio.timeout(READER_S):
            await context.write(message)
    except TimeoutError:
        raise DeadlineExceededError(f"nothing of the answer was taken for {READER_S:g} s") from None
