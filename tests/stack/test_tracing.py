"""The traces of requests, through real processes, and what each span says."""

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from kernelport import tensors
from kernelport.config.settings import bundled_deployments
from kernelport.internal.v1.queue_pb2 import Batch, BatchItem, Completion
from kernelport.telemetry import tracing
from kernelport.v1 import inference_pb2 as pb
from kernelport.v1 import inference_pb2_grpc
from kernelport.v1.job_pb2 import JobSpec, NewItem, SubmitJobRequest
from kernelport.v1.job_pb2_grpc import JobServiceStub
from tests.conftest import serving_stack, stack_settings
from tests.http.calls import ask
from tests.stack.models import pipeline, write_deployments
from tests.waiting import wait_for

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALL = "kernelport.v1.InferenceService/Infer"


@dataclass
class Collector:
    """An OTLP endpoint that keeps in memory what it is sent, by service."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    port: int = 0

    def named(self, trace: str) -> dict[str, Span]:
        """The spans of a trace by name."""
        return {span.name: span for spans in self.spans.values() for span in spans if span.trace_id.hex() == trace}

    def all_named(self, name: str, trace: str) -> list[Span]:
        """The spans of a trace that have a name."""
        every = [span for spans in list(self.spans.values()) for span in list(spans)]
        return [span for span in every if (span.name, span.trace_id.hex()) == (name, trace)]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {each.key: each.value.string_value for each in group.resource.attributes}
                spans = [span for scope in group.scope_spans for span in scope.spans]
                found.spans.setdefault(names["service.name"], []).extend(spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_request_is_one_trace_through_front_door_queue_and_worker(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    request = pb.InferRequest(
        model="identity-onnx", inputs=tensors.from_arrays({"x": np.ones((1, 1, 2, 2), np.float32)})
    )
    with (
        serving_stack(stack_settings(bundled_deployments()), ["identity-onnx"], tmp_path) as stack,
        grpc.insecure_channel(stack.target) as channel,
    ):
        infer = inference_pb2_grpc.InferenceServiceStub(channel).Infer
        infer(request, timeout=30, metadata=[("traceparent", f"00-{TRACE}-{CALLER}-01")])
        with pytest.raises(grpc.RpcError):
            infer(pb.InferRequest(model="identity-onnx"), timeout=30)
        spans = wait_for(lambda: named if len(named := collector.named(TRACE)) == 5 else None, what="five spans")
        failed = wait_for(lambda: [span for span in collector.spans["kernelport-front-door"] if span.status.code == 2])

    call, run = spans[CALL], spans["run identity-onnx"]
    assert call.parent_span_id.hex() == CALLER
    process = spans["process kp.identity-onnx"]
    for name in ("form a batch", "queue kp.identity-onnx", "process kp.identity-onnx"):
        assert spans[name].parent_span_id == call.span_id
    assert run.parent_span_id == process.span_id
    assert call.start_time_unix_nano <= process.start_time_unix_nano
    assert process.start_time_unix_nano <= run.start_time_unix_nano < run.end_time_unix_nano
    assert run.end_time_unix_nano <= process.end_time_unix_nano
    assert process in collector.spans["kernelport-worker"]
    told = {each.key: each.value for each in process.attributes}
    assert told["kernelport.deployment"].string_value == "identity-onnx"
    assert told["kernelport.batch_requests"].int_value == 1
    assert told["kernelport.request"] == {each.key: each.value for each in call.attributes}["kernelport.request"]
    assert failed[0].name == CALL


def test_a_stream_is_one_trace_with_a_run_for_each_piece_and_a_call_over_http_is_one(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    file = write_deployments(tmp_path, counting=pipeline("Counting"))
    counts = {"count": np.array([4], np.int64), "fatal": np.array([-1], np.int64)}
    of_http, path = TRACE[::-1], "/v2/models/counting/infer"
    with (
        serving_stack(stack_settings(file), ["counting"], tmp_path / "state") as stack,
        grpc.insecure_channel(stack.target) as channel,
    ):
        request = pb.InferRequest(model="counting", inputs=tensors.from_arrays(counts))
        metadata = [("traceparent", f"00-{TRACE}-{CALLER}-01")]
        list(inference_pb2_grpc.InferenceServiceStub(channel).InferStream(request, timeout=30, metadata=metadata))
        body = {
            "inputs": [
                {"name": name, "shape": [1], "datatype": "INT64", "data": value.tolist()}
                for name, value in counts.items()
            ]
        }
        assert ask(stack.url, "POST", path, body, {"traceparent": f"00-{of_http}-{CALLER}-01"}).status == 200
        for trace in (TRACE, of_http):
            wait_for(lambda trace=trace: len(collector.all_named("run counting", trace)) == 4)  # type: ignore[misc]
            wait_for(lambda trace=trace: len(collector.named(trace)) == 5)  # type: ignore[misc]

    assert collector.named(TRACE)[f"{CALL}Stream"].parent_span_id.hex() == CALLER
    for trace in (TRACE, of_http):
        spans = collector.named(trace)
        process, runs = spans["process kp.counting"], collector.all_named("run counting", trace)
        assert {run.parent_span_id for run in runs} == {process.span_id}
        assert sum(run.end_time_unix_nano - run.start_time_unix_nano for run in runs) >= 4 * 0.02e9
        assert process.end_time_unix_nano - process.start_time_unix_nano >= 4 * 0.02e9
        queue = spans["queue kp.counting"]
        assert queue.end_time_unix_nano <= process.end_time_unix_nano
    assert collector.named(of_http)[f"POST {path.replace('counting', '{model}')}"].parent_span_id.hex() == CALLER


def test_a_job_is_one_trace_from_its_submission_to_the_last_of_its_slices(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    file = write_deployments(tmp_path, journal=pipeline("Journal", batching={"max_batch": 2}))
    monkeypatch.setenv("KERNELPORT_TEST_JOURNAL", str(tmp_path / "journal"))
    rows = [{"number": np.array([n], np.int64), "seconds": np.array([0.05], np.float32)} for n in range(4)]
    items = [NewItem(id=f"i{number}", inputs=tensors.from_arrays(row)) for number, row in enumerate(rows)]
    with (
        serving_stack(stack_settings(file), ["journal"], tmp_path / "state") as stack,
        grpc.insecure_channel(stack.target) as channel,
    ):
        submit = SubmitJobRequest(spec=JobSpec(deployment="journal"), items=items)
        metadata = [("traceparent", f"00-{TRACE}-{CALLER}-01")]
        job = JobServiceStub(channel).SubmitJob(submit, timeout=30, metadata=metadata).job
        wait_for(
            lambda: sum(map(batch_requests, collector.all_named("process kp.journal", TRACE))) == 4,
            what="all slices told of",
        )

    (submitted,) = collector.all_named("kernelport.v1.JobService/SubmitJob", TRACE)
    assert submitted.parent_span_id.hex() == CALLER
    slices = {span.span_id: span for span in collector.all_named("process kp.journal", TRACE)}
    assert {span.parent_span_id for span in slices.values()} == {submitted.span_id}
    for name, item_s in (("run journal", 0.05), ("publish journal", 0.0)):
        below = collector.all_named(name, TRACE)
        assert {span.parent_span_id for span in below} == slices.keys()
        for span in below:
            around = slices[span.parent_span_id]
            assert around.start_time_unix_nano <= span.start_time_unix_nano
            least_ns = batch_requests(around) * item_s * 1e9
            assert span.start_time_unix_nano + least_ns <= span.end_time_unix_nano <= around.end_time_unix_nano
    told = {each.key: each.value for each in next(iter(slices.values())).attributes}
    assert told["kernelport.job"].string_value == job.id


def batch_requests(span: Span) -> int:
    (value,) = (each.value for each in span.attributes if each.key == "kernelport.batch_requests")
    return value.int_value


def test_a_worker_tells_of_each_traced_request_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "is_on", False)
    tracing.use(provider)
    parents = [f"00-{TRACE}-{CALLER}-01", "", f"00-{'a' * 32}-{CALLER}-01"]
    items = [BatchItem(id=f"r{index}".encode(), traceparent=parent) for index, parent in enumerate(parents)]
    batch = Batch(id="b", deployment="d", items=items)
    took = {"prepare_us": 10, "backend_us": 30, "worker_us": 50}
    completions = [Completion(response=b"", **took), Completion(response=b"", **took), Completion(error=b"e", **took)]
    tracing.record_batch(batch, completions, 1_000_000, "w")

    finished = exporter.get_finished_spans()
    assert [span.name for span in finished] == ["process kp.d", "run d"] * 2
    process, ran, failed, _ = finished
    assert (process.start_time, process.end_time) == (950_000, 1_000_000)
    assert (ran.start_time, ran.end_time) == (960_000, 990_000)
    assert process.attributes is not None
    assert process.attributes["kernelport.batch_requests"] == 3
    assert format(failed.context.trace_id, "032x") == "a" * 32
    assert (process.status.status_code, failed.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    provider.shutdown()


def test_traces_are_off_where_nothing_says_where_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "is_on", False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracing.set_up("test")
    assert not tracing.is_on


def test_traces_that_are_wanted_and_cannot_be_made_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "is_on", False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracing.set_up("test")
    assert not tracing.is_on
    assert "pip install '.[otel]' in KernelPort's repository" in caplog.text
