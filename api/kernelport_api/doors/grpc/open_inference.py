"""The Open Inference Protocol over gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import grpc

from kernelport.counting import counted
from kernelport.errors import KernelPortError
from kernelport.open_inference import inference_pb2 as oip
from kernelport.open_inference import inference_pb2_grpc
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.doors.grpc.sending import COUNTED_BYTES, Sending
from kernelport_api.doors.open_inference.models import VERSION, Asked, Models, parameter_s
from kernelport_api.doors.open_inference.tensors import (
    DATATYPES,
    Input,
    check_output,
    dtype_of,
    invalid,
    numbers,
    packed,
)

Context = grpc.aio.ServicerContext[Any, Any]

# Of one stream, that are under way at once.
_MOST_OF_A_STREAM = 64
_CONTENTS: Mapping[int, str] = {
    pb.BOOL: "bool_contents",
    pb.I8: "int_contents",
    pb.I16: "int_contents",
    pb.I32: "int_contents",
    pb.I64: "int64_contents",
    pb.U8: "uint_contents",
    pb.U16: "uint_contents",
    pb.U32: "uint_contents",
    pb.U64: "uint64_contents",
    pb.F32: "fp32_contents",
    pb.F64: "fp64_contents",
    pb.STRING: "bytes_contents",
}
_FINAL = "triton_final_response"
_WANTS_FINAL = "triton_enable_empty_final_response"


class OpenInferenceService(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """GRPCInferenceService. What is not here, such as loading a model, is UNIMPLEMENTED."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._sending = Sending()

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        answer = await self._answer(request, context)
        if (size := answer.ByteSize()) >= COUNTED_BYTES:
            await self._sending.turn(context, size)
        return answer

    async def ModelStreamInfer(
        self, requests: AsyncIterator[oip.ModelInferRequest], context: Context
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Runs the requests of a stream side by side; what goes wrong with one is told in the stream."""
        answers: asyncio.Queue[oip.ModelStreamInferResponse | None] = asyncio.Queue()
        turns = asyncio.Semaphore(_MOST_OF_A_STREAM)

        async def answer(request: oip.ModelInferRequest) -> None:
            try:
                answers.put_nowait(oip.ModelStreamInferResponse(infer_response=await self._answer(request, context)))
            except KernelPortError as error:
                answers.put_nowait(oip.ModelStreamInferResponse(error_message=error.message))
            finally:
                turns.release()

        async def take() -> None:
            try:
                async with asyncio.TaskGroup() as running:
                    async for request in requests:
                        await turns.acquire()
                        running.create_task(answer(request))
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # such as of bytes that are no message

        taking = asyncio.create_task(take())
        taking.add_done_callback(lambda _: answers.put_nowait(None))
        try:
            while (told := await answers.get()) is not None:
                yield told
            await taking
        finally:
            taking.cancel()

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._models.are_taken())

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        return self._models.server()

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        return oip.ModelReadyResponse(ready=await self._models.is_ready(request.name, request.version))

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        return await self._models.metadata(request.name, request.version)

    async def ModelConfig(self, request: oip.ModelConfigRequest, context: Context) -> oip.ModelConfigResponse:
        return oip.ModelConfigResponse(config=await self._models.config(request.name, request.version))

    async def ModelStatistics(
        self, request: oip.ModelStatisticsRequest, context: Context
    ) -> oip.ModelStatisticsResponse:
        return self._models.statistics(request.name, request.version)

    async def RepositoryIndex(
        self, request: oip.RepositoryIndexRequest, context: Context
    ) -> oip.RepositoryIndexResponse:
        return await self._models.index(request.ready)

    async def SystemSharedMemoryStatus(
        self, request: oip.SystemSharedMemoryStatusRequest, context: Context
    ) -> oip.SystemSharedMemoryStatusResponse:
        return oip.SystemSharedMemoryStatusResponse()

    async def SystemSharedMemoryUnregister(
        self, request: oip.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> oip.SystemSharedMemoryUnregisterResponse:
        return oip.SystemSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryStatus(
        self, request: oip.CudaSharedMemoryStatusRequest, context: Context
    ) -> oip.CudaSharedMemoryStatusResponse:
        return oip.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryUnregister(
        self, request: oip.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> oip.CudaSharedMemoryUnregisterResponse:
        return oip.CudaSharedMemoryUnregisterResponse()

    async def _answer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        arrived_at = time.monotonic()
        for index, wanted in enumerate(request.outputs):
            check_output(wanted.parameters, f"outputs[{index}]")
        limits = [context.time_remaining(), parameter_s(_value(request.parameters, "timeout"), "parameters.timeout")]
        asked = Asked(
            model=request.model_name,
            version=request.model_version,
            inputs=list(_inputs(request)),
            outputs=[each.name for each in request.outputs],
            remaining_s=min((limit for limit in limits if limit is not None), default=None),
            idempotency_key=str(_value(request.parameters, "idempotency_key") or ""),
            arrived_at=arrived_at,
        )
        answered = await self._models.infer(asked)
        response = oip.ModelInferResponse(model_name=request.model_name, model_version=VERSION, id=request.id)
        for tensor, data in answered.outputs:
            response.outputs.add(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=tensor.shape)
            response.raw_output_contents.append(bytes(data))
        if answered.warnings:
            response.parameters["warnings"].string_param = answered.warnings
        if _value(request.parameters, _WANTS_FINAL):
            response.parameters[_FINAL].bool_param = True
        return response


def _inputs(request: oip.ModelInferRequest) -> Iterator[Input]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        found = f"expected {counted(len(request.inputs), 'entry', 'entries')}, one for each input; got {len(raw)}"
        raise invalid("raw_input_contents", found)
    for index, each in enumerate(request.inputs):
        dtype = dtype_of(each.datatype, f"inputs[{index}].datatype")
        if not raw:
            data = _typed(dtype, each.contents, f"inputs[{index}].contents")
        elif each.HasField("contents"):
            raise invalid(f"inputs[{index}].contents", "expected none beside raw_input_contents")
        else:
            data = raw[index]
        yield Input(each.name, dtype, each.shape, data)


def _typed(dtype: pb.DType, contents: oip.InferTensorContents, field: str) -> bytes:
    if dtype not in _CONTENTS:
        raise invalid(field, f"{DATATYPES[dtype]} travels as raw_input_contents alone")
    name = _CONTENTS[dtype]
    for other, _ in contents.ListFields():
        if other.name != name:
            raise invalid(field, f"expected {name} for {DATATYPES[dtype]}, got {other.name}")
    values = getattr(contents, name)
    return packed(values) if dtype == pb.STRING else numbers(dtype, values, f"{field}.{name}")


def _value(parameters: Mapping[str, oip.InferParameter], name: str) -> Any:
    """A parameter; None when it is not given."""
    if name not in parameters:
        return None
    chosen = parameters[name].WhichOneof("parameter_choice")
    return getattr(parameters[name], chosen) if chosen else None
