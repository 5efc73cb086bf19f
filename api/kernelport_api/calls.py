"""The calls that a front door answers: what each goes by in logs and answers, and its line of the access log."""

import asyncio
import dataclasses
import itertools
import logging
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, unquote

from kernelport.access.principals import NOBODY, Principal
from kernelport.errors import KernelPortError
from kernelport.limits import MAX_REQUEST_ID
from kernelport.telemetry import logs, metrics
from kernelport.telemetry.metrics import labelled
from kernelport.v1.dead_letter_pb2 import DeadLetter

# Where callers find the id that a call went by.
REQUEST_ID_KEY = "kernelport-request-id"
MICROSECONDS = 1_000_000
# Lines of calls that went well are written many at a time: after so many seconds, or so many calls.
LATE_S, MOST_LATE = 0.05, 256

log = logging.getLogger("kernelport.access")
log.addFilter(logs.RateLimit())
_numbers = itertools.count()
# How many calls of models have come in: what takes long rests while they do.
of_models = 0


class Call:
    """One call, from its arrival on. What logs say while it is handled carries its ids.

    Attributes:
        method: such as `InferenceService/Infer`.
        route: by which it is counted: the method, or for HTTP that with the path of the route as it is declared.
        deployment, job: empty where there is none, or it is not known.
        queue_us, model_us: microseconds in the queue, and in the model.
        batched_us: microseconds in which its batch was formed; None when it has been in none.
        audio_us, used_us, nano_dollars: what it is billed by: microseconds of audio, and of its part of the model's
            time, and what that costs.
        bytes_in, bytes_out: of its messages, as far as they are counted.
        peer: where it comes from, as its door says it.
        principal: who makes it.
        replays: the dead letter that it runs again; None for any other call.
    """

    __slots__ = (
        *("method", "route", "deployment", "job", "queue_us", "model_us", "bytes_in", "bytes_out"),
        *("batched_us", "audio_us", "used_us", "nano_dollars"),
        *("arrived_at", "peer", "principal", "replays", "_request_id", "_make_id"),
    )

    def __init__(self, method: str, make_id: Callable[[], str]) -> None:
        self.method = self.route = method
        self.deployment = self.job = self.peer = self._request_id = ""
        self.queue_us = self.model_us = self.bytes_in = self.bytes_out = 0
        self.audio_us = self.used_us = self.nano_dollars = 0
        self.batched_us: int | None = None
        self.principal: Principal = NOBODY
        self.replays: DeadLetter | None = None
        self.arrived_at = time.monotonic()
        self._make_id = make_id

    @property
    def request_id(self) -> str:
        """The caller's own id of it; one that is made here where it has none, or none that is short enough."""
        if not self._request_id:
            self._request_id = self._make_id()
        return self._request_id

    @request_id.setter
    def request_id(self, given: str) -> None:
        if 0 < len(given) <= MAX_REQUEST_ID:
            self._request_id = given

    @property
    def source(self) -> str:
        """The address that it comes from, such as `127.0.0.1:49152`; `unix:` for a socket of this machine."""
        scheme, _, address = unquote(self.peer).partition(":")
        return address if scheme in ("ipv4", "ipv6") else self.peer

    def adopt(self, request_id: str) -> str:
        """Makes an id that stands for it elsewhere its own, unless it has one: that one; else empty."""
        if own := self._request_id:
            return own
        self._request_id = request_id
        return ""

    def metadata(self) -> tuple[str, str]:
        """What tells the caller its id, percent-encoded where it is no printable ASCII, which metadata has to be."""
        request_id = self.request_id
        plain = request_id.isascii() and request_id.isprintable() and request_id == request_id.strip()
        return REQUEST_ID_KEY, request_id if plain else quote(request_id, safe="")

    def acts_for(self, tenant: str) -> None:
        """What follows is done as if somebody of this tenant made the call."""
        self.principal = dataclasses.replace(self.principal, tenant=tenant)

    def ids(self) -> dict[str, Any]:
        """What its lines are about."""
        return {"deployment": self.deployment, "request_id": self.request_id, "job": self.job}


_current: ContextVar[Call] = ContextVar("call")


def current() -> Call:
    """The call that is handled in this task."""
    return _current.get()


class AccessLog:
    """Counts every call, and logs a line for each that failed, as far as its rate allows, and for a share of the
    others; at DEBUG, for all.

    Args:
        front_door: its name, which the ids that are made here begin with.
        share: from 0 to 1, of the calls that went well.
        inputs: whether an error is told with its text, which may show what the caller sent.

    Attributes:
        tells_all: whether calls that went well are logged, too, or a share of them.
    """

    def __init__(self, front_door: str, share: float = 0.0, inputs: bool = False) -> None:
        self.front_door = front_door
        self._share = share
        self._inputs = inputs
        self._answered: list[tuple[float, float, Call, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.tells_all = share > 0 or log.isEnabledFor(logging.DEBUG)

    def begin(self, method: str) -> Call:
        """A call that has come in, in a task of its own."""
        call = Call(method, self._make_id)
        _current.set(call)
        logs.note(call.ids)
        return call

    def answered(self, call: Call, status: str = "OK") -> None:
        """It went well, or its caller has hung up as one does who watches something."""
        labelled(metrics.CALLS, call.route, status).inc()
        if self._share and random.random() < self._share:  # noqa: S311 - nobody gains by guessing it
            self._answered.append((time.time(), time.monotonic(), call, status))
            if len(self._answered) == MOST_LATE:
                self.write()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(LATE_S, self.write)
        elif self.tells_all and log.isEnabledFor(logging.DEBUG):
            log.debug("answered", extra=logs.fields(**_fields(call, status, time.monotonic())))

    def write(self) -> None:
        """Writes the lines that are late."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answered, self._answered = self._answered, []
        if answered and log.isEnabledFor(logging.INFO):
            lines = [(at, call.ids() | _fields(call, status, now)) for at, now, call, status in answered]
            logs.log_many(log, "answered", lines)

    def cancelled(self, call: Call) -> None:
        """Its caller hung up, or its deadline passed."""
        labelled(metrics.CALLS, call.route, "CANCELLED").inc()
        log.warning("cancelled", extra=logs.fields(**_fields(call, "CANCELLED", time.monotonic())))

    def failed(self, call: Call, error: KernelPortError) -> None:
        """Its caller is told so."""
        labelled(metrics.CALLS, call.route, error.code.name).inc()
        told = {"reason": error.reason, "error": error.message if self._inputs else ""}
        log.warning("failed", extra=logs.fields(**_fields(call, error.code.name, time.monotonic(), **told)))

    def refused(self, call: Call, status: int) -> None:
        """Its caller is told so by a status of HTTP."""
        labelled(metrics.CALLS, call.route, str(status)).inc()
        log.warning("failed", extra=logs.fields(**_fields(call, str(status), time.monotonic())))

    def _make_id(self) -> str:
        return f"{self.front_door}.{next(_numbers)}"


def _fields(call: Call, status: str, now: float, **more: str) -> dict[str, Any]:
    """Of a call that was over at `now`."""
    return {
        "method": call.method,
        "tenant": call.principal.tenant,
        "status": status,
        **more,
        "seconds": round(now - call.arrived_at, 6),
        "queue_s": call.queue_us / MICROSECONDS,
        "model_s": call.model_us / MICROSECONDS,
        "bytes_in": call.bytes_in,
        "bytes_out": call.bytes_out,
    }
