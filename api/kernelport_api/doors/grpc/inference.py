"""InferenceService over gRPC: bytes in, bytes out."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc

from kernelport.errors import DeadlineExceededError, ResourceExhaustedError
from kernelport.telemetry import tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.access.decision import Access
from kernelport_api.access.needs import METHODS
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.credentials import shown_over_grpc
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.grpc.handling import Handling
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, Sending
from kernelport_api.doors.parsing import parsed, parsed_request
from kernelport_api.services.inference import Inference

Context = grpc.aio.ServicerContext[bytes, bytes]

_INFER = "InferenceService/Infer"
# A caller that sends or takes nothing for so long has left the call.
CALLER_S = 30.0
CHUNK_BYTES = 2**20


class InferenceDoor:
    """Answers `Infer`, `InferStream` and `InferChunked`.

    Args:
        calls: its own; how many there may be is for the inference service to say.
        most_bytes: the largest request.
    """

    def __init__(
        self, inference: Inference, calls: Calls, access_log: AccessLog, access: Access, most_bytes: int
    ) -> None:
        self._inference = inference
        self._calls = calls
        self._access_log = access_log
        self._access = access
        self._handling = Handling(calls, access_log, access)
        self._most_bytes = most_bytes
        self._sending = Sending()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpc.aio server."""
        # No serializers: bytes in, bytes out.
        method = self._traced if tracing.is_on else self.infer
        infer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
        stream: Any = grpc.unary_stream_rpc_method_handler(self._traced_stream if tracing.is_on else self.infer_stream)
        answer_chunks: Any = self._traced_chunked if tracing.is_on else self.infer_chunked
        chunked: Any = grpc.stream_stream_rpc_method_handler(answer_chunks)
        methods = {"Infer": infer, "InferStream": stream, "InferChunked": chunked}
        return grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", methods)

    async def infer(self, body: bytes, context: Context) -> bytes:
        """Runs one serialized InferRequest; returns the serialized InferResponse."""
        call = self._access_log.begin(_INFER)
        call.bytes_in = len(body)
        try:
            call.principal = self._access.decide(METHODS[_INFER], lambda: shown_over_grpc(context))
            if self._calls.is_refusing:
                await self._calls.wait_to_be_told()
            with self._calls:
                request = await parsed_request(body)
                response = await self._inference.answer(request, body, context.time_remaining(), call.arrived_at)
                call.bytes_out = len(response)
                if call.bytes_out >= COUNTED_BYTES:
                    await self._sending.turn(context, call.bytes_out)
            if self._access_log.tells_all:  # it costs a tenth of a small call
                context.set_trailing_metadata((call.metadata(),))
            self._access_log.answered(call)
            return response
        except asyncio.CancelledError:
            self._access_log.cancelled(call)
            raise
        except Exception as error:
            await abort(context, error, call, self._access_log)

    async def infer_stream(self, body: bytes, context: Context) -> None:
        """Runs one serialized InferRequest; writes the serialized messages of its answer as they come."""
        async with self._handling.of("InferenceService/InferStream", context, lasts=True) as call:
            call.bytes_in = len(body)
            request = await parsed_request(body)
            async with contextlib.aclosing(
                self._inference.stream(request, body, context.time_remaining(), call.arrived_at)
            ) as messages:
                async for message in messages:
                    call.bytes_out += len(message)
                    await _taken(context, message)

    async def infer_chunked(self, chunks: AsyncIterator[bytes], context: Context) -> None:
        """Runs one serialized InferRequest that comes in chunks; writes its answer in chunks."""
        async with self._handling.of("InferenceService/InferChunked", context, lasts=True) as call:
            body = await _joined(chunks, self._most_bytes)
            call.bytes_in = len(body)
            request = await parsed_request(body)
            response = await self._inference.answer(request, body, context.time_remaining(), call.arrived_at)
            call.bytes_out = len(response)
            if call.bytes_out >= COUNTED_BYTES:
                await self._sending.turn(context, call.bytes_out)
            for begin in range(0, len(response), CHUNK_BYTES):
                chunk = pb.InferChunk(data=response[begin : begin + CHUNK_BYTES])
                await _taken(context, chunk.SerializeToString())

    async def _traced(self, body: bytes, context: Context) -> bytes:
        with tracing.call("kernelport.v1.InferenceService/Infer", context.invocation_metadata()):
            return await self.infer(body, context)

    async def _traced_stream(self, body: bytes, context: Context) -> None:
        with tracing.call("kernelport.v1.InferenceService/InferStream", context.invocation_metadata()):
            await self.infer_stream(body, context)

    async def _traced_chunked(self, chunks: AsyncIterator[bytes], context: Context) -> None:
        with tracing.call("kernelport.v1.InferenceService/InferChunked", context.invocation_metadata()):
            await self.infer_chunked(chunks, context)


async def _joined(chunks: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """The bytes of a message that comes in chunks.

    Raises:
        DeadlineExceededError: its caller sends nothing for too long.
        ResourceExhaustedError: they are too many.
    """
    body, loop = io.BytesIO(), asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CALLER_S) as patience:
            async for chunk in chunks:
                body.write((await parsed(pb.InferChunk, chunk)).data)
                if body.tell() > most_bytes:
                    raise ResourceExhaustedError(
                        f"the request is larger than {most_bytes:,} bytes, which KERNELPORT_MAX_MESSAGE_BYTES allows"
                    )
                patience.reschedule(loop.time() + CALLER_S)
    except TimeoutError:
        raise DeadlineExceededError(f"nothing of the request was sent for {CALLER_S:g} s") from None
    return body.getvalue()


async def _taken(context: Context, message: bytes) -> None:
    """Gives a message to a caller.

    Raises:
        DeadlineExceededError: it has not taken those before for too long.
    """
    try:
        async with asyncio.timeout(CALLER_S):
            await context.write(message)
    except TimeoutError:
        raise DeadlineExceededError(f"nothing of the answer was taken for {CALLER_S:g} s") from None
