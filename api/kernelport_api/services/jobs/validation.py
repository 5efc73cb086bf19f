"""What is wrong with a job or its items before anything is queued."""

from collections.abc import Iterator, Sequence

from kernelport.broker.clock import clock
from kernelport.counting import counted
from kernelport.errors import FieldViolation
from kernelport.jobs.webhooks.signing import secret_problem
from kernelport.limits import (
    MAX_DEADLINE_S,
    MAX_METADATA,
    MAX_METADATA_BYTES,
    MAX_NAME,
    MAX_PRIORITY,
    MAX_PROGRESS_INTERVAL_S,
    MAX_RETENTION_S,
    MAX_TENSORS,
    MAX_WEBHOOK_EVENTS,
    MAX_WEBHOOK_SECRET,
    MAX_WEBHOOK_URL,
)
from kernelport.signature import Declared, Signature, is_speech, output_violations
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor
from kernelport_api.services.inputs import input_violations

_AUDIO = frozenset(pb.OutputFormat.values()) - {pb.OUTPUT_FORMAT_UNSPECIFIED, pb.OUTPUT_FORMAT_NPZ}


def spec_violations(spec: pb.JobSpec, signature: Signature | None) -> Iterator[FieldViolation]:
    """What is wrong with a job's spec; `signature` is what the deployment takes and gives, where that is known."""
    yield from shared_violations(spec, signature)
    if signature is not None and spec.output_format in _AUDIO and not is_speech(signature):
        yield FieldViolation("spec.output_format", "expected OUTPUT_FORMAT_NPZ: the deployment gives no audio")
    if spec.outputs and spec.output_format in _AUDIO:
        yield FieldViolation("spec.output_format", "expected OUTPUT_FORMAT_NPZ or none beside spec.outputs")
    if len(spec.outputs) > MAX_TENSORS:
        yield FieldViolation("spec.outputs", f"expected at most {MAX_TENSORS:,} names, got {len(spec.outputs):,}")
    elif signature is not None:
        yield from output_violations(spec.outputs, signature, "spec.outputs")
    if spec.output_format not in pb.OutputFormat.values():
        yield FieldViolation("spec.output_format", f"expected a value of OutputFormat, got {spec.output_format}")
    if spec.priority > MAX_PRIORITY:
        yield FieldViolation("spec.priority", f"expected 1 to {MAX_PRIORITY}, or 0 for 100; got {spec.priority}")
    yield from deadline_violations(spec, "spec.")
    if not 0 <= spec.retention_s <= MAX_RETENTION_S:
        yield FieldViolation("spec.retention_s", f"expected 0 to {MAX_RETENTION_S:,} seconds, got {spec.retention_s:,}")
    entries = len(spec.metadata)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in spec.metadata.items())
    if entries > MAX_METADATA or size > MAX_METADATA_BYTES:
        expected = f"expected at most {MAX_METADATA} entries and {MAX_METADATA_BYTES} bytes"
        yield FieldViolation(
            "spec.metadata", f"{expected}, got {counted(entries, 'entry', 'entries')} and {counted(size, 'byte')}"
        )
    if spec.HasField("webhook"):
        yield from _webhook_violations(spec.webhook)


def shared_violations(spec: pb.JobSpec, signature: Signature | None) -> Iterator[FieldViolation]:
    """What is wrong with the inputs that all items share."""
    shared = spec.shared_inputs
    found = list(input_violations(shared, spec.ByteSize(), "spec.shared_inputs"))
    yield from found
    if signature is not None and not found:
        # A shared input that is missing may be each item's own.
        for violation in Declared(signature.inputs).violations(shared, "spec.shared_inputs"):
            if violation.field != "spec.shared_inputs":
                yield violation


def deadline_violations(asked: pb.JobSpec | pb.ResumeJobRequest, prefix: str = "") -> Iterator[FieldViolation]:
    """A deadline must lie ahead, or be 0.

    Args:
        prefix: what stands before the names of fields.
    """
    unix_us, in_s = asked.deadline_unix_us, asked.deadline_in_s
    if unix_us and unix_us <= clock.now_us():
        found = f"expected a time to come in microseconds of Unix time, got {unix_us}"
        yield FieldViolation(f"{prefix}deadline_unix_us", found)
    if not 0 <= in_s <= MAX_DEADLINE_S:
        yield FieldViolation(f"{prefix}deadline_in_s", f"expected 0 to {MAX_DEADLINE_S:,} seconds, got {in_s:,}")
    elif in_s and unix_us:
        yield FieldViolation(f"{prefix}deadline_in_s", "expected none beside deadline_unix_us")


def deadline_unix_us(asked: pb.JobSpec | pb.ResumeJobRequest) -> int:
    """The deadline of a job that is taken in now; 0 for none."""
    return clock.now_us() + asked.deadline_in_s * 1_000_000 if asked.deadline_in_s else asked.deadline_unix_us


def item_violations(
    items: Sequence[pb.NewItem], shared: Sequence[Tensor], signature: Signature | None
) -> Iterator[FieldViolation]:
    """What is wrong with items, not with what they share; fields are paths in the message they came in."""
    declared = Declared(signature.inputs) if signature is not None else None
    elsewhere = {tensor.name for tensor in shared}
    for index, item in enumerate(items):
        if not 0 < len(item.id) <= MAX_NAME:
            yield FieldViolation(f"items[{index}].id", f"expected 1 to {MAX_NAME} characters, got {len(item.id)}")
            continue
        found = list(input_violations(item.inputs, item.ByteSize())) or list(
            declared.violations(item.inputs, elsewhere=elsewhere) if declared else ()
        )
        for violation in found:
            yield FieldViolation(f"items[{index}].{violation.field}", f'item "{item.id}": {violation.description}')


def _webhook_violations(webhook: pb.Webhook) -> Iterator[FieldViolation]:
    for field, text, most in (("url", webhook.url, MAX_WEBHOOK_URL), ("secret", webhook.secret, MAX_WEBHOOK_SECRET)):
        if len(text) > most:
            yield FieldViolation(f"spec.webhook.{field}", f"expected at most {most} characters, got {len(text)}")
            return
    if len(webhook.events) > MAX_WEBHOOK_EVENTS:
        found = f"expected at most {MAX_WEBHOOK_EVENTS}, got {len(webhook.events)}"
        yield FieldViolation("spec.webhook.events", found)
        return
    if webhook.secret and (problem := secret_problem(webhook.secret)):
        yield FieldViolation("spec.webhook.secret", problem)
    for index, event in enumerate(webhook.events):
        if event not in pb.WebhookEvent.values() or event == pb.WEBHOOK_EVENT_UNSPECIFIED:
            yield FieldViolation(f"spec.webhook.events[{index}]", f"expected a value of WebhookEvent, got {event}")
    if not 0 <= webhook.progress_interval_s <= MAX_PROGRESS_INTERVAL_S:
        found = f"expected 0 to {MAX_PROGRESS_INTERVAL_S:,} seconds, got {webhook.progress_interval_s:g}"
        yield FieldViolation("spec.webhook.progress_interval_s", found)
