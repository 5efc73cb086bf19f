"""What came of requests, counted: for metrics, for the page, and for whoever has to bill it."""

import asyncio
from typing import NamedTuple

from kernelport.access.quotas import QuotaExceededError
from kernelport.errors import KernelPortError
from kernelport.telemetry import metrics
from kernelport.telemetry.metrics import labelled
from kernelport.v1 import inference_pb2 as pb
from kernelport_api.calls import MICROSECONDS, Call
from kernelport_api.services.figures import Figures
from kernelport_api.services.usage import Usage

_OUTCOMES = {"OK": "ok", "CANCELLED": "cancelled"}


class _Answered(NamedTuple):
    """A request that was answered: `size` and `response_bytes` in bytes, `seconds` from its arrival to its answer."""

    call: Call
    request: pb.InferRequest
    size: int
    response_bytes: int
    seconds: float


class Counting:
    """Counts the requests of models that are over.

    Those that were answered well are counted together, once all that one turn of the event loop answers are: one by
    one, the counters alone would be a fiftieth of a small call.
    """

    def __init__(self, figures: Figures, usage: Usage) -> None:
        self._figures = figures
        self._usage = usage
        self._answered: list[_Answered] = []

    def answered(self, call: Call, request: pb.InferRequest, size: int, response_bytes: int, seconds: float) -> None:
        """A request of `size` bytes has its answer, `seconds` after it came in."""
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._count)
        self._answered.append(_Answered(call, request, size, response_bytes, seconds))

    def failed(
        self,
        call: Call,
        request: pb.InferRequest,
        size: int,
        response_bytes: int,
        seconds: float,
        error: BaseException,
    ) -> None:
        """A request of `size` bytes has ended after some seconds, and after part of its answer if that is a stream."""
        deployment, status = request.model, _status(error)
        outcome = _OUTCOMES.get(status, "failed")
        told = "over_quota" if isinstance(error, QuotaExceededError) else outcome
        labelled(metrics.TENANT_REQUESTS, metrics.tenant_label(call.principal.tenant), told).inc()
        labelled(metrics.REQUESTS, deployment, status).inc()
        labelled(metrics.TOTAL_SECONDS, deployment, outcome).observe(seconds)
        labelled(metrics.REQUEST_BYTES, deployment).inc(size)
        labelled(metrics.RESPONSE_BYTES, deployment).inc(response_bytes)
        self._figures.observe(deployment, seconds, failed=outcome == "failed")
        self._usage.note(call)

    def _count(self) -> None:
        over, self._answered = self._answered, []
        # Requests, their bytes and those of their answers, by deployment and tenant.
        totals: dict[tuple[str, str], tuple[int, int, int]] = {}
        for call, request, size, response_bytes, seconds in over:
            deployment = request.model
            of = deployment, call.principal.tenant
            requests, bytes_in, bytes_out = totals.get(of, (0, 0, 0))
            totals[of] = requests + 1, bytes_in + size, bytes_out + response_bytes
            labelled(metrics.TOTAL_SECONDS, deployment, "ok").observe(seconds)
            if call.batched_us is not None:
                labelled(metrics.QUEUE_SECONDS, deployment).observe(call.queue_us / MICROSECONDS)
                labelled(metrics.BATCHING_SECONDS, deployment).observe(call.batched_us / MICROSECONDS)
            self._figures.observe(deployment, seconds, failed=False)
            self._usage.note(call, request, size)
        for (deployment, tenant), (requests, bytes_in, bytes_out) in totals.items():
            labelled(metrics.TENANT_REQUESTS, metrics.tenant_label(tenant), "ok").inc(requests)
            labelled(metrics.REQUESTS, deployment, "OK").inc(requests)
            labelled(metrics.REQUEST_BYTES, deployment).inc(bytes_in)
            labelled(metrics.RESPONSE_BYTES, deployment).inc(bytes_out)


def _status(error: BaseException) -> str:
    if isinstance(error, KernelPortError):
        return error.code.name
    # Its caller hung up, or its deadline passed.
    return "CANCELLED" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "INTERNAL"
