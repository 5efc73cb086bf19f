"""The errors that users see, each with its gRPC status.

A worker raises one, the front door answers with it, and the client raises it again: one class on every side. On the
wire it is a google.rpc.Status with ErrorInfo (AIP-193), and where they apply BadRequest and RetryInfo.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import unquote

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

ERROR_DOMAIN = "kernelport"
# The exit code (EX_UNAVAILABLE) of a worker that may not serve beside those that live.
REFUSED = 69
# Why a NotFoundError is about the file of an item and not about the job or the item.
OUTPUT_NOT_FOUND = "OUTPUT_NOT_FOUND"
_LONGEST_WORDS = 1000
_REFUSED = re.compile(
    r"failed to connect to all addresses; last error: \w+: (ipv[46]:)?(?P<address>\S+): "
    r"(Failed to connect to remote host: )?(?P<reason>.+)"
)
_UNRESOLVED = re.compile(r"(errors resolving|DNS resolution failed for) (?P<host>[^\s:]+)")
# Why there is no connection, as gRPC words it, and what helps.
_WHY = (
    (
        re.compile("Failed parsing HTTP/2.*http1"),
        "it speaks HTTP/1, not gRPC: it may be the HTTP address of the front door",
    ),
    (re.compile("Failed parsing HTTP/2"), "it does not speak gRPC"),
    (re.compile(r".*CERTIFICATE_VERIFY_FAILED: (certificate .+): OK"), "its {0}"),
    (
        re.compile(r".*CERTIFICATE_VERIFY_FAILED: (.+): OK"),
        "its certificate is not trusted ({0}); tls_ca or KERNELPORT_TLS_CA names the authority that vouches for it",
    ),
    (re.compile(r".*Hostname Verification Check failed"), "its certificate is not that of the host that was called"),
    (re.compile(r".*WRONG_VERSION_NUMBER"), "it speaks no TLS; without, it is called as HOST:PORT"),
    (
        re.compile("Socket closed"),
        "it closed the connection; with TLS it is called as grpcs://HOST:PORT, and where it asks for a certificate, "
        "KERNELPORT_TLS_CLIENT_CERT and KERNELPORT_TLS_CLIENT_KEY name it",
    ),
)
_TOO_LARGE = "message larger than max"
# What gRPC says of answers that are no messages, and of those of a server of HTTP/2 that does not speak gRPC.
_NO_MESSAGE = ("Exception deserializing response", "Stream removed (Data frame with END_STREAM flag received)")
# How gRPC words that a call was cancelled on this side.
_OWN_DOING = ("Locally cancelled", "Channel closed")
# What it says in a child of the streams that its parent was in the middle of when it forked.
_FORKED = "Call cancelled in fork child"
# Of an object, as in `<_io.BytesIO object at 0x7f52>`.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")


@dataclass(frozen=True)
class FieldViolation:
    """What is wrong with one field: `field` is its path in the request, such as `inputs[0].shape`."""

    field: str
    description: str


class KernelPortError(Exception):
    """Base of all errors that travel.

    Args:
        message: for a person; names what was expected. What is no Unicode text in it, or in the violations, is escaped.
        violations: the fields at fault (BadRequest).
        retry_after_s: seconds after which trying again makes sense (RetryInfo).
        reason: the situation, in a word of the contract (ErrorInfo); by default, the class's.

    Attributes:
        request_id: what the call goes by in logs: the caller's own id, or one that the front door made; empty where
            there is no own one and no front door has answered.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        violations: Iterable[FieldViolation] = (),
        retry_after_s: float | None = None,
        reason: str = "",
    ) -> None:
        self.message: str = as_unicode(message)
        super().__init__(self.message)
        self.violations: tuple[FieldViolation, ...] = tuple(
            FieldViolation(as_unicode(v.field), as_unicode(v.description)) for v in violations
        )
        self.retry_after_s = retry_after_s
        self.reason = reason or type(self).reason
        self.request_id = ""

    @property
    def field(self) -> str | None:
        """The path of the first field at fault; None when the error is about no field."""
        return self.violations[0].field if self.violations else None

    @classmethod
    def of(cls, violations: Iterable[FieldViolation]) -> Self:
        """An error whose message is made of its field violations."""
        violations = tuple(violations)
        return cls("; ".join(f"{v.field}: {v.description}" for v in violations), violations=violations)


class InternalError(KernelPortError):
    """The model or KernelPort failed; the request was fine."""


class InvalidArgumentError(KernelPortError):
    """The request is malformed or does not fit what the model declares."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class NotFoundError(KernelPortError):
    """No deployment has this name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "DEPLOYMENT_NOT_FOUND"


class AlreadyExistsError(KernelPortError):
    """The request id was used before, with another request."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class FailedPreconditionError(KernelPortError):
    """What the call is about is in a state that does not allow it."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"


class AbortedError(KernelPortError):
    """Somebody else changed the same thing at the same time; look again before trying again."""

    code = grpc.StatusCode.ABORTED
    reason = "CONFLICT"


class UnauthenticatedError(KernelPortError):
    """The front door asks for a key, and got none, or none that is valid."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "KEY_INVALID"


class PermissionDeniedError(KernelPortError):
    """The key does not let its bearer do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "SCOPE_MISSING"


class UnavailableError(KernelPortError):
    """Nobody serves the deployment now, or the queue cannot be reached; trying again later may help."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_SERVING"


class ResourceExhaustedError(KernelPortError):
    """Over a limit: the message is too large, or too many requests wait."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "LIMIT_EXCEEDED"


class DeadlineExceededError(KernelPortError):
    """The caller's deadline, or the deployment's own time limit, has passed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CancelledError(KernelPortError):
    """The caller gave the request up."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


_BY_CODE: dict[grpc.StatusCode, type[KernelPortError]] = {
    error.code: error
    for error in (
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        FailedPreconditionError,
        AbortedError,
        UnauthenticatedError,
        PermissionDeniedError,
        UnavailableError,
        ResourceExhaustedError,
        DeadlineExceededError,
        CancelledError,
    )
}
_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: KernelPortError) -> status_pb2.Status:
    """The google.rpc.Status of an error, with its details."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)
    if error.request_id:
        info.metadata["request_id"] = error.request_id
    status.details.add().Pack(info)
    if error.violations:
        bad_request = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                for v in error.violations
            ]
        )
        status.details.add().Pack(bad_request)
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_status(status: status_pb2.Status) -> KernelPortError:
    """The error that `to_status` was given; an unknown code becomes an InternalError that says so."""
    code = _CODE_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    violations: list[FieldViolation] = []
    retry_after_s, reason, request_id = None, "", ""
    for detail in status.details:
        bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(bad_request):
            violations += [FieldViolation(v.field, v.description) for v in bad_request.field_violations]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            reason, request_id = info.reason, info.metadata.get("request_id", "")
    kind = _BY_CODE.get(code)
    if kind is None:
        return InternalError(f"{code.name}: {status.message}")
    error = kind(status.message, violations=violations, retry_after_s=retry_after_s, reason=reason)
    error.request_id = request_id
    return error


def no_front_door(target: str) -> FailedPreconditionError:
    """The error that says that what answers a call is something else, or too old to know the call."""
    where = f"at {target}" if target else "there"
    return FailedPreconditionError(f"what listens {where} is no KernelPort front door, or one of another version")


def from_call(call: grpc.RpcError, target: str = "") -> KernelPortError:
    """The error of a call that failed, whether the front door said so or gRPC itself.

    Args:
        target: where the call went.
    """
    status = rpc_status.from_call(call)  # type: ignore[arg-type]
    if status is None:
        code: grpc.StatusCode = call.code()
        details = call.details() or code.name
        if code is grpc.StatusCode.UNIMPLEMENTED or details.startswith(_NO_MESSAGE):
            return no_front_door(target)
        if _FORKED in details:
            told = "this process was forked from one that was in the middle of this stream: begin anew here"
            return UnavailableError(told, reason="FORKED")
        if code is grpc.StatusCode.CANCELLED and not details.startswith(_OWN_DOING):
            # What a server does to calls that come while it shuts down: the caller has cancelled nothing.
            code, details = grpc.StatusCode.UNAVAILABLE, "the front door stopped; the request may still run"
        status = status_pb2.Status(code=code.value[0], message=_of_connection(details))
    return from_status(status)


def _of_connection(details: str) -> str:
    """gRPC's words, or others that help: where nobody listens, and over a message that is too large."""
    if _TOO_LARGE in details:
        return f"{details}: the front door takes as much as KERNELPORT_MAX_MESSAGE_BYTES says there"
    if unresolved := _UNRESOLVED.match(details):
        return f"cannot find the host {unresolved['host']}"
    refused = _REFUSED.match(details)
    if refused is None:
        return details
    address, reason = unquote(refused["address"]), refused["reason"]
    for pattern, told in _WHY:
        if found := pattern.match(reason):
            return f"cannot connect to {address}: {told.format(*found.groups())}"
    return f"cannot connect to {address}: {reason}; `kernelport up` starts a front door"


class HostError(Exception):
    """This machine, or what runs on it, keeps a command from being done; the message says what to do about it."""


class PlaceError(HostError):
    """A folder that the command line names is not as the command needs it: no stack runs on it, it holds no backup, or
    something is there already."""


class StackError(HostError):
    """The stack cannot start or has stopped working; the message says what happened and where the log is."""


def install_hint(extra: str) -> str:
    """How an extra is installed. The package's name in public indexes belongs to another project."""
    return f"pip install '.[{extra}]' in KernelPort's repository, or with its wheel in place of the dot"


def in_words(error: BaseException) -> str:
    """Any exception in one line of bounded length, such as `ValueError: no such voice`."""
    kind = type(error).__name__
    try:
        text = f"{kind}: {error}".removesuffix(": ")
    # Its class is anybody's code.
    except BaseException:
        text = f"{kind}, which does not say more"
    text = _ADDRESS.sub(">", as_unicode(text[: 10 * _LONGEST_WORDS]))
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _LONGEST_WORDS else f"{line[: _LONGEST_WORDS - 4]} ..."


def as_unicode(text: str) -> str:
    """A text as it can travel: lone surrogates, as in the name of a file that is no UTF-8, become `\\udc80`."""
    return text.encode(errors="backslashreplace").decode()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raises gRPC's errors as KernelPort's."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_call(error) from None


@contextlib.contextmanager
def of_request(request_id: str) -> Iterator[None]:
    """Has the errors of a call carry its id, whoever raises them; an empty one is none."""
    try:
        yield
    except KernelPortError as error:
        if error.field != "request_id":  # else the front door has made another one in place of it
            error.request_id = request_id or error.request_id
        raise
