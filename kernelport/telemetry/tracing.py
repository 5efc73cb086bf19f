"""OpenTelemetry traces of the way of requests and jobs through front door, queue and worker.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT, or its form for traces alone, says where they go; the other OTEL_* variables
work as OpenTelemetry documents them. Then a request has these spans, under its caller's when it sends a `traceparent`:

    kernelport.v1.InferenceService/Infer    at the front door, from arrival to answer
      form a batch                          until its batch was published
      queue kp.<deployment>                 from then until the answer was back, without the worker's time
      process kp.<deployment>               in the worker
        run <deployment>                    on the backend, with the rest of its batch; one for each piece of an answer
                                            that is made in pieces

The first is called after another method where that queues work (`ModelInfer`), or after a route of HTTP. A job has

    kernelport.v1.JobService/SubmitJob      at the front door
      process kp.<deployment>               in a worker, once for each taking of a slice
        run <deployment>                    on the backend
        publish <deployment>                until its outputs were kept and its items noted as done

Code on the request's way asks `is_on` first, so that traces cost nothing while they are off.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kernelport.broker.queues import queue_name
from kernelport.config.settings import is_loopback
from kernelport.errors import install_hint
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Tracer, TracerProvider

log: logging.Logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NS_PER_US, _NS_PER_S = 1000, 1_000_000_000
_SERVER_ERRORS = 500

is_on: bool = False
_tracer: "Tracer"


def set_up(service: str) -> None:
    """Turns traces on when the environment says where to.

    Args:
        service: what this process is, unless OTEL_SERVICE_NAME says.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces, though %s is set: %s", " or ".join(_ENDPOINTS), install_hint("otel"))
        return

    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    session = requests.Session()
    endpoints = [os.environ.get(name, "") for name in _ENDPOINTS]
    session.trust_env = not any(is_loopback(urlsplit(endpoint).hostname or "") for endpoint in endpoints)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=session)))
    use(provider)


def use(provider: "TracerProvider") -> None:
    """Turns traces on, with the spans going where `provider` sends them."""
    global is_on, _tracer
    _tracer, is_on = provider.get_tracer("kernelport"), True


@contextlib.contextmanager
def call(method: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> Iterator["Span"]:
    """The span of a call over gRPC that a client made, current for as long as the block runs.

    Args:
        metadata: of the call, as gRPC has it.
    """
    carrier = {key: value for key, value in metadata or () if isinstance(value, str)}
    with _call(method, carrier, {"rpc.system": "grpc", "rpc.method": method}) as span:
        yield span


@contextlib.contextmanager
def http_call(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator["Span"]:
    """The same of a call over HTTP.

    Args:
        method: of HTTP; the span is called so until its route is known.
    """
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    with _call(method, carrier, {"http.request.method": method}) as span:
        yield span


@contextlib.contextmanager
def _call(name: str, carrier: Mapping[str, str], attributes: Mapping[str, str]) -> Iterator["Span"]:
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        name, extract(carrier), SpanKind.SERVER, attributes, record_exception=False
    ) as span:
        yield span


def answered(span: "Span", route: str, status: int) -> None:
    """A call over HTTP has been answered.

    Args:
        status: of the answer; 0 when its caller hung up before.
    """
    from opentelemetry.trace import StatusCode

    span.update_name(route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= _SERVER_ERRORS:
        span.set_status(StatusCode.ERROR)


def traceparent(deployment: str, about: str, kind: str = "request") -> str:
    """What carries the current span to a worker, in the form of the W3C; the span is told what it is about.

    Args:
        about: the id of a request, or whatever `kind` says.
    """
    from opentelemetry.propagate import inject
    from opentelemetry.trace import get_current_span

    get_current_span().set_attributes({"kernelport.deployment": deployment, f"kernelport.{kind}": about})
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent", "")


def record_way(deployment: str, answered_ns: int, forming_us: int, away_us: int, completion: Completion) -> None:
    """Adds what the front door knows of an answered request's way below the current span.

    Args:
        answered_ns: when its answer was back, in nanoseconds of Unix time.
        forming_us: microseconds from its arrival until its batch was published.
        away_us: microseconds from then until the answer was back.
    """
    from opentelemetry.trace import SpanKind

    published_ns = answered_ns - away_us * _NS_PER_US
    _record("form a batch", published_ns - forming_us * _NS_PER_US, published_ns)
    queue_ns = max(0, away_us - completion.worker_us) * _NS_PER_US
    _record(f"queue {queue_name(deployment)}", published_ns, published_ns + queue_ns, SpanKind.PRODUCER)


def record_batch(batch: Batch, completions: Sequence[Completion], ended_ns: int, worker: str) -> None:
    """Adds what a worker did to the trace of each request of a batch that has one.

    Args:
        ended_ns: when the batch was done, in nanoseconds of Unix time.
    """
    from opentelemetry.trace import SpanKind, set_span_in_context

    for item, completion in zip(batch.items, completions, strict=True):
        if not item.traceparent:
            continue
        started_ns = ended_ns - completion.worker_us * _NS_PER_US
        attributes, parent = _of_request(batch, item, worker), _context(item.traceparent)
        name, failed = f"process {queue_name(batch.deployment)}", completion.WhichOneof("result") == "error"
        span = _record(name, started_ns, ended_ns, SpanKind.CONSUMER, parent, attributes, failed)
        ran_ns = started_ns + completion.prepare_us * _NS_PER_US
        below = set_span_in_context(span)
        _record(f"run {batch.deployment}", ran_ns, ran_ns + completion.backend_us * _NS_PER_US, parent=below)


def take_in_hand(batch: Batch, worker: str) -> "Span | None":
    """The span of a request that a worker has in hand from now on, to make its answer in pieces; None where its caller
    has no trace. Whoever lets go of the request ends it."""
    from opentelemetry.trace import SpanKind

    (item,) = batch.items
    if not item.traceparent:
        return None
    name, attributes = f"process {queue_name(batch.deployment)}", _of_request(batch, item, worker)
    return _tracer.start_span(name, _context(item.traceparent), SpanKind.CONSUMER, attributes)


def record_piece(span: "Span", deployment: str, index: int, took_s: float) -> None:
    """Adds the piece that was made just now to a request in hand."""
    from opentelemetry.trace import set_span_in_context

    ended_ns = time.time_ns()
    began_ns = ended_ns - round(took_s * _NS_PER_S)
    parent, attributes = set_span_in_context(span), {"kernelport.piece": index}
    _record(f"run {deployment}", began_ns, ended_ns, parent=parent, attributes=attributes)


def fail(span: "Span") -> None:
    """A request in hand has failed."""
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


@dataclass(frozen=True)
class SliceTimes:
    """When things happened to a slice of a job, in nanoseconds of Unix time.

    Attributes:
        run: when the backend began and ended; None when it never did.
        keeping: when the outputs began to be kept.
    """

    started: int
    run: tuple[int, int] | None
    keeping: int
    ended: int


def record_slice(parent: str, deployment: str, times: SliceTimes, attributes: Mapping[str, Any], failed: bool) -> None:
    """Adds what a worker did with a slice to the trace of its job.

    Args:
        parent: the job's traceparent.
        failed: whether an item of it failed.
    """
    from opentelemetry.trace import SpanKind, set_span_in_context

    told = {"kernelport.deployment": deployment, **attributes}
    name = f"process {queue_name(deployment)}"
    span = _record(name, times.started, times.ended, SpanKind.CONSUMER, _context(parent), told, failed)
    below = set_span_in_context(span)
    if times.run is not None:
        _record(f"run {deployment}", *times.run, parent=below)
    _record(f"publish {deployment}", times.keeping, times.ended, parent=below)


def _of_request(batch: Batch, item: BatchItem, worker: str) -> Mapping[str, Any]:
    return {
        "kernelport.deployment": batch.deployment,
        "kernelport.request": item.id.decode(),
        "kernelport.batch": batch.id,
        "kernelport.batch_requests": len(batch.items),
        "kernelport.attempt": len(item.attempts) + 1,
        "kernelport.worker": worker,
    }


def _context(traceparent: str) -> "Context":
    from opentelemetry.propagate import extract

    return extract({"traceparent": traceparent})


def _record(
    name: str,
    started_ns: int,
    ended_ns: int,
    kind: "SpanKind | None" = None,
    parent: "Context | None" = None,
    attributes: Mapping[str, Any] | None = None,
    failed: bool = False,
) -> "Span":
    """A span that is over already."""
    from opentelemetry.trace import SpanKind, StatusCode

    span = _tracer.start_span(name, parent, kind or SpanKind.INTERNAL, attributes, start_time=started_ns)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)
    return span
