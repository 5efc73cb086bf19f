"""InferenceService over gRPC: bytes in, bytes out."""

import asyncio
import contextlib
from typing import Any

import grpc

from kernelport.errors import DeadlineExceededError
from kernelport.telemetry import tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.access.decision import Access
from kernelport_api.access.needs import METHODS
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.credentials import shown
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, Sending
from kernelport_api.doors.parsing import parsed
from kernelport_api.services.inference import Inference

Context = grpc.aio.ServicerContext[bytes, bytes]

_INFER, _INFER_STREAM = "InferenceService/Infer", "InferenceService/InferStream"
# A caller that takes nothing of its answer for so long has left it.
READER_S = 30.0


class InferenceDoor:
    """Answers `Infer` and `InferStream`.

    Args:
        calls: its own; how many there may be is for the inference service to say.
    """

    def __init__(self, inference: Inference, calls: Calls, access_log: AccessLog, access: Access) -> None:
        self._inference = inference
        self._calls = calls
        self._access_log = access_log
        self._access = access
        self._sending = Sending()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpc.aio server."""
        # No serializers: bytes in, bytes out.
        method = self._traced if tracing.is_on else self.infer
        infer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
        stream: Any = grpc.unary_stream_rpc_method_handler(self._traced_stream if tracing.is_on else self.infer_stream)
        methods = {"Infer": infer, "InferStream": stream}
        return grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", methods)

    async def infer(self, body: bytes, context: Context) -> bytes:
        """Runs one serialized InferRequest; returns the serialized InferResponse."""
        call = self._access_log.begin(_INFER)
        call.bytes_in = len(body)
        try:
            call.principal = self._access.decide(METHODS[_INFER], lambda: shown(context))
            with self._calls:
                request = await parsed(pb.InferRequest, body)
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
        call = self._access_log.begin(_INFER_STREAM)
        call.bytes_in = len(body)
        try:
            call.principal = self._access.decide(METHODS[_INFER_STREAM], lambda: shown(context))
            with self._calls:
                request = await parsed(pb.InferRequest, body)
                async with contextlib.aclosing(
                    self._inference.stream(request, body, context.time_remaining(), call.arrived_at)
                ) as messages:
                    async for message in messages:
                        call.bytes_out += len(message)
                        await _taken(context, message)
            context.set_trailing_metadata((call.metadata(),))
            self._access_log.answered(call)
        except asyncio.CancelledError:
            self._access_log.cancelled(call)
            raise
        except Exception as error:
            await abort(context, error, call, self._access_log)

    async def _traced(self, body: bytes, context: Context) -> bytes:
        with tracing.call("kernelport.v1.InferenceService/Infer", context.invocation_metadata()):
            return await self.infer(body, context)

    async def _traced_stream(self, body: bytes, context: Context) -> None:
        with tracing.call("kernelport.v1.InferenceService/InferStream", context.invocation_metadata()):
            await self.infer_stream(body, context)


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
