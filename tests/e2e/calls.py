"""Calls below the SDK: serialized messages in and out, and what an error carries on the wire."""

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kernelport.v1 import inference_pb2 as pb

INFER = "/kernelport.v1.InferenceService/Infer"


@dataclass(frozen=True)
class Refusal:
    """An error as its caller got it.

    Attributes:
        reason: of ErrorInfo; None when there is none.
        violations: of BadRequest, description by field.
        retry_after_s: of RetryInfo; None when there is none.
    """

    code: grpc.StatusCode
    message: str
    reason: str | None
    violations: dict[str, str]
    retry_after_s: float | None


def start(channel: grpc.Channel, request: bytes | pb.InferRequest, timeout_s: float = 30) -> grpc.Future:
    """Sends a request, sound or not, and does not wait for the answer."""
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return channel.unary_unary(INFER).future(body, timeout=timeout_s)


def response(call: grpc.Future) -> pb.InferResponse:
    """The response of a call that succeeds."""
    return pb.InferResponse.FromString(call.result())


def refusal(call: grpc.Future) -> Refusal:
    """The error of a call that fails."""
    error = call.exception()
    assert isinstance(error, grpc.RpcError), "the call was answered"
    info, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        assert any(detail.Unpack(known) for known in (info, bad_request, retry)), detail
    return Refusal(
        error.code(),
        error.details(),
        info.reason or None,
        {violation.field: violation.description for violation in bad_request.field_violations},
        retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )
