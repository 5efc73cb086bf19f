"""What goes wrong, as HTTP callers are told: a status, and a body in the shape that clients of the route expect."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import msgspec
from starlette.types import Scope

from kernelport.access.quotas import QuotaExceededError
from kernelport.broker.stored import StoredError, tell
from kernelport.errors import FieldViolation, InternalError, KernelPortError
from kernelport.telemetry import logs
from kernelport_api.doors.calls import STOPPING
from kernelport_api.doors.http.answers import Answer

log = logging.getLogger(__name__)

_STATUSES: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# Trying again may help after one of these, and after what says when to; clients of OpenAI's try all from 500 on again
# unless they are told not to.
_PASSING = frozenset({grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE})
# What OpenAI's clients know some situations as.
_OPENAI_CODES = {"DEPLOYMENT_NOT_FOUND": "model_not_found", "SCOPE_MISSING": "insufficient_permissions"}
# How headers call what is limited.
_QUOTAS = {"calls_a_second": "requests", "calls": "concurrent-requests", "characters_a_day": "characters"}
# Of what a caller sent, an answer repeats no more.
_MAX_MESSAGE = 2000
_MAX_VIOLATIONS = 16


class Refusal(Exception):
    """A call that HTTP itself has a status for."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Problem:
    """What a caller is told.

    Attributes:
        status: of HTTP.
        reason: the situation, in a word of the contract.
        violations: the fields at fault.
    """

    status: int
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Exception) -> "Problem":
        """What is told of an error. Whatever nobody expected becomes an internal one, and a traceback in the log."""
        if isinstance(error, Refusal):
            return cls(error.status, "REFUSED", error.message, headers=error.headers)
        if isinstance(error, StoredError):
            tell(error)
            error = InternalError(f"what Redis holds cannot be read: {error}")
        if not isinstance(error, KernelPortError):
            log.error("a call over HTTP failed", exc_info=error, extra=logs.WITHOUT_TEXT)
            error = InternalError("the front door failed; its log has the details")
        status, may_try = _STATUSES[error.code], error.retry_after_s is not None or error.code in _PASSING
        headers = {"x-should-retry": "true" if may_try else "false"}
        if error.reason == STOPPING:
            headers["connection"] = "close"  # the next goes to another front door, which may have the same address
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        if error.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
            headers["retry-after-ms"] = str(round(1000 * error.retry_after_s))
        elif status == 429:  # it would be too much at any time
            status = 413
        if isinstance(error, QuotaExceededError):
            headers |= _quota_headers(error)
        violations = error.violations[:_MAX_VIOLATIONS]
        return cls(status, error.reason, error.message[:_MAX_MESSAGE], violations, headers)


def _quota_headers(error: QuotaExceededError) -> dict[str, str]:
    """What is left of a quota, and when it is there again, as clients of OpenAI's look for it."""
    what, seconds = _QUOTAS.get(error.quota, error.quota.replace("_", "-")), error.retry_after_s or 0.0
    told = {"limit": f"{error.limit:.15g}", "remaining": f"{error.left:.15g}", "reset": f"{seconds:g}s"}
    return {f"x-ratelimit-{name}-{what}": value for name, value in told.items()}


def openai_body(problem: Problem) -> dict[str, Any]:
    """As OpenAI's clients expect it."""
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    code = _OPENAI_CODES.get(problem.reason) or ("invalid_api_key" if problem.status == 401 else problem.reason.lower())
    told = {"message": problem.message, "type": "rate_limit_error" if problem.status == 429 else kind}
    return {"error": {**told, "param": problem.violations[0].field if problem.violations else None, "code": code}}


def open_inference_body(problem: Problem) -> dict[str, Any]:
    """As clients of the Open Inference Protocol expect it."""
    return {"error": problem.message}


def plain_body(problem: Problem) -> dict[str, Any]:
    """As those of our own JSON do."""
    violations = [{"field": each.field, "description": each.description} for each in problem.violations]
    return {"error": {"reason": problem.reason, "message": problem.message, "violations": violations}}


# By how paths begin, and what they are called in the description of the routes.
_SHAPES: tuple[tuple[str, Callable[[Problem], dict[str, Any]], str], ...] = (
    ("/v1/", openai_body, "OpenAIError"),
    ("/v2", open_inference_body, "OpenInferenceError"),
    ("", plain_body, "Error"),
)


def shape_name(path: str) -> str:
    """The name of the shape that errors of a path have."""
    return next(name for prefix, _, name in _SHAPES if path.startswith(prefix))


def answer_to(error: Exception, scope: Scope) -> Answer:
    """The answer to a call that went wrong, in the shape of its path."""
    problem, path = Problem.of(error), scope["path"]
    shape = next(shape for prefix, shape, _ in _SHAPES if path.startswith(prefix))
    return Answer(msgspec.json.encode(shape(problem)), status=problem.status, headers=problem.headers)
