"""The Open Inference Protocol over REST, with JSON or with elements as they are behind it (the binary extension)."""

import gzip
import time
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from google.protobuf.message import Message
from starlette.types import ASGIApp

from kernelport.counting import counted
from kernelport.wire_format import Output
from kernelport_api.aside import SMALL_BYTES, aside
from kernelport_api.doors.http.answers import JSON, Answer, Part
from kernelport_api.doors.http.bodies import why_no_json
from kernelport_api.doors.http.endpoint import HttpCall
from kernelport_api.doors.http.errors import Refusal
from kernelport_api.doors.open_inference.models import VERSION, Answered, Asked, Models, parameter_s
from kernelport_api.doors.open_inference.tensors import (
    DATATYPES,
    Input,
    check_output,
    dtype_of,
    from_values,
    invalid,
    to_values,
)

BINARY = "application/octet-stream"
_HEAD_BYTES = b"inference-header-content-length"
_SIZE, _WANTED, _ALL_WANTED = "binary_data_size", "binary_data", "binary_data_output"
# Clients that send all that they know are not meant: packing takes longer than sending.
_PACKERS = {"gzip": lambda body: gzip.compress(body, 1), "deflate": lambda body: zlib.compress(body, 1)}


class _Tensor(msgspec.Struct):
    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Request)


class OpenInferenceRoutes:
    """What is below /v2."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def infer(self, call: HttpCall) -> ASGIApp:
        """Runs a request."""
        arrived_at = time.monotonic()
        head = _head_bytes(call)
        # Binary data is not looked at here.
        request, inputs = await aside(_read, call, head) if head > SMALL_BYTES else _read(call, head)
        asked = Asked(
            model=call.path["model"],
            version=call.path.get("version", ""),
            inputs=inputs,
            outputs=[each.name for each in request.outputs],
            remaining_s=parameter_s(request.parameters.get("timeout"), "parameters.timeout"),
            idempotency_key=call.header(b"idempotency-key"),
            arrived_at=arrived_at,
        )
        answered = await self._models.infer(asked)
        binary = _binary(request, answered.outputs)
        in_json = sum(len(each.data) for each in answered.outputs if each.tensor.name not in binary)
        given = call, request, answered, binary
        parts = await aside(_parts, *given) if in_json > SMALL_BYTES else _parts(*given)
        is_binary, headers = len(parts) > 1, {}
        if is_binary:
            headers["Inference-Header-Content-Length"] = str(len(parts[0]))
        encoding = call.header(b"accept-encoding")
        if encoding in _PACKERS:
            parts, headers["Content-Encoding"] = [await aside(_PACKERS[encoding], b"".join(parts))], encoding
        return Answer(parts, BINARY if is_binary else JSON, headers=headers)

    async def live(self, call: HttpCall) -> ASGIApp:
        """Whether the server runs."""
        return _json({"live": True})

    async def ready(self, call: HttpCall) -> ASGIApp:
        """Whether it takes requests."""
        is_ready = self._models.are_taken()
        return _json({"ready": is_ready}, status=200 if is_ready else 503)

    async def server(self, call: HttpCall) -> ASGIApp:
        """What answers here."""
        return _json(plain(self._models.server()))

    async def model_ready(self, call: HttpCall) -> ASGIApp:
        """Whether a deployment is served: its status is what clients look at."""
        name, version = _named(call)
        is_ready = await self._models.is_ready(name, version)
        return _json({"name": name, "ready": is_ready}, status=200 if is_ready else 503)

    async def metadata(self, call: HttpCall) -> ASGIApp:
        """What a deployment takes and gives."""
        return _json(plain(await self._models.metadata(*_named(call))))

    async def config(self, call: HttpCall) -> ASGIApp:
        """The same as Triton's model configuration."""
        return _json(plain(await self._models.config(*_named(call))))

    async def statistics(self, call: HttpCall) -> ASGIApp:
        """Of one deployment, or of all."""
        return _json(plain(self._models.statistics(call.path.get("model", ""), call.path.get("version", ""))))

    async def index(self, call: HttpCall) -> ASGIApp:
        """All deployments, with their states."""
        asked = await call.json() if call.body else {}
        ready = isinstance(asked, dict) and asked.get("ready") is True
        return _json(plain(await self._models.index(ready))["models"])

    async def no_regions(self, call: HttpCall) -> ASGIApp:
        """The status of shared memory: there is none."""
        return _json([])

    async def let_go(self, call: HttpCall) -> ASGIApp:
        """All regions of shared memory, which are none, are let go of."""
        return _json({})

    async def not_here(self, call: HttpCall) -> ASGIApp:
        """What this server does not do."""
        what = "shared memory, loading models on request, and settings of traces and logs"
        raise Refusal(501, f"expected something else: {what} are not to be had here")


def plain(message: Message) -> dict[str, Any]:
    """A message as JSON has it, with every field."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None:
            value = [plain(each) for each in value] if field.is_repeated else plain(value)
        elif field.enum_type is not None:
            value = field.enum_type.values_by_number[value].name
        found[field.name] = list(value) if field.is_repeated else value
    return found


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(msgspec.json.encode(value), status=status)


def _named(call: HttpCall) -> tuple[str, str]:
    return call.path["model"], call.path.get("version", "")


def _head_bytes(call: HttpCall) -> int:
    """Of the JSON of a request; binary data follows."""
    size, told = len(call.body), call.header(_HEAD_BYTES)
    if told and not (told.isdecimal() and len(told) < 20 and int(told) <= size):
        expected = f"expected the bytes of the JSON, at most the {size:,} of the body"
        raise invalid("Inference-Header-Content-Length", f"{expected}; got {told[:32]!r}")
    return int(told) if told else size


def _read(call: HttpCall, head: int) -> tuple[_Request, list[Input]]:
    """A request, and its inputs.

    Args:
        head: the bytes of its JSON.
    """
    body = memoryview(call.body)
    try:
        request = _decoder.decode(body[:head])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid("body", why_no_json(error, call.body[:head])) from error
    inputs, at = [], head
    for index, tensor in enumerate(request.inputs):
        field = f"inputs[{index}]"
        dtype = dtype_of(tensor.datatype, f"{field}.datatype")
        size = tensor.parameters.get(_SIZE)
        if size is None:
            inputs.append(from_values(tensor.name, dtype, tensor.shape, _values(tensor, field), f"{field}.data"))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - at:
            expected = f"expected 0 to {len(body) - at}, the bytes that are left behind the JSON"
            raise invalid(f"{field}.parameters.{_SIZE}", f"{expected}; got {size!r:.64}")
        inputs.append(Input(tensor.name, dtype, tensor.shape, body[at : at + size]))
        at += size
    for index, wanted in enumerate(request.outputs):
        check_output(wanted.parameters, f"outputs[{index}]")
    if at != len(body):
        raise invalid("body", f"expected {counted(at - head, 'byte')} behind the JSON, got {len(body) - head:,}")
    return request, inputs


def _values(tensor: _Tensor, field: str) -> Any:
    if not tensor.data:
        raise invalid(f"{field}.data", f"required, or else the parameter {_SIZE}")
    try:
        return msgspec.json.decode(tensor.data)
    except msgspec.DecodeError as error:  # what is JSON, but a number beyond all that Python holds
        raise invalid(f"{field}.data", str(error)) from error


def _binary(request: _Request, outputs: Sequence[Output]) -> set[str]:
    """The names of the outputs that are wanted as they are, and not in JSON."""
    by_default = request.parameters.get(_ALL_WANTED) is True
    asked = {each.name: each.parameters.get(_WANTED, by_default) is True for each in request.outputs}
    return {each.tensor.name for each in outputs if asked.get(each.tensor.name, by_default)}


def _parts(call: HttpCall, request: _Request, answered: Answered, binary: Collection[str]) -> list[Part]:
    """The body of an answer: its JSON, then the outputs that are wanted as they are."""
    told: list[Mapping[str, Any]] = []
    raw: list[Part] = []
    for output in answered.outputs:
        tensor = output.tensor
        known = {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": list(tensor.shape)}
        if tensor.name in binary:
            raw.append(output.data)
            told.append({**known, "parameters": {_SIZE: len(output.data)}})
        else:
            told.append({**known, "data": to_values(output)})
    answer: dict[str, Any] = {"model_name": call.path["model"], "model_version": VERSION, "outputs": told}
    if request.id:
        answer["id"] = request.id
    if answered.warnings:
        answer["parameters"] = {"warnings": answered.warnings}
    return [msgspec.json.encode(answer), *raw]
