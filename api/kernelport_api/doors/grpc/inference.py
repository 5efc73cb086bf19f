"""InferenceService over gRPC: bytes in, bytes out."""

import asyncio

import grpc

from kernelport.telemetry import tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.calls import AccessLog
from kernelport_api.doors.calls import Calls
from kernelport_api.doors.grpc.errors import abort
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, Sending
from kernelport_api.doors.parsing import parsed
from kernelport_api.services.inference import Inference

Context = grpc.aio.ServicerContext[bytes, bytes]


class InferenceDoor:
    """Answers `Infer`.

    Args:
        calls: its own; how many there may be is for the inference service to say.
    """

    def __init__(self, inference: Inference, calls: Calls, access_log: AccessLog) -> None:
        self._inference = inference
        self._calls = calls
        self._access_log = access_log
        self._sending = Sending()

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a grpc.aio server."""
        # No serializers: bytes in, bytes out.
        method = self._traced if tracing.is_on else self.infer
        infer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
        return grpc.method_handlers_generic_handler("kernelport.v1.InferenceService", {"Infer": infer})

    async def infer(self, body: bytes, context: Context) -> bytes:
        """Runs one serialized InferRequest; returns the serialized InferResponse."""
        call = self._access_log.begin("InferenceService/Infer")
        call.bytes_in = len(body)
        try:
            with self._calls:
                request = await parsed(pb.InferRequest, body)
                response = await self._inference.answer(request, body, context.time_remaining(), call.arrived_at)
                call.bytes_out = len(response)
                if call.bytes_out >= COUNTED_BYTES:
                    await self._sending.turn(context, call.bytes_out)
            context.set_trailing_metadata((call.metadata(),))
            self._access_log.answered(call)
            return response
        except asyncio.CancelledError:
            self._access_log.cancelled(call)
            raise
        except Exception as error:
            await abort(context, error, call, self._access_log)

    async def _traced(self, body: bytes, context: Context) -> bytes:
        with tracing.call("kernelport.v1.InferenceService/Infer", context.invocation_metadata()):
            return await self.infer(body, context)
