"""What is wrong with a job or its items before anything is queued."""

import time
from collections.abc import Iterator, Sequence

from kernelport import tensors
from kernelport.errors import FieldViolation
from kernelport.jobs.records import MICROSECONDS
from kernelport.signature import Declared, Signature
from kernelport.v1 import job_pb2 as pb
from kernelport.v1.inference_pb2 import Tensor
from kernelport.webhooks.signing import secret_problem

MAX_ID = 256
MAX_PRIORITY = 10_000
MAX_RETENTION_S = 10 * 365 * 24 * 3600
MAX_METADATA = 64
MAX_METADATA_BYTES = 16 * 2**10
_AUDIO = {pb.OUTPUT_FORMAT_WAV, pb.OUTPUT_FORMAT_FLAC, pb.OUTPUT_FORMAT_OGG, pb.OUTPUT_FORMAT_MP3}


def spec_violations(spec: pb.JobSpec, signature: Signature | None) -> Iterator[FieldViolation]:
    """What is wrong with a job's spec; `signature` is what the deployment takes and gives, where that is known."""
    yield from tensors.violations(spec.shared_inputs, "spec.shared_inputs")
    if signature is not None:
        # A shared input that is missing may be each item's own.
        for violation in Declared(signature.inputs).violations(spec.shared_inputs, "spec.shared_inputs"):
            if violation.field != "spec.shared_inputs":
                yield violation
        if spec.output_format in _AUDIO and not {"audio", "sample_rate"} <= {each.name for each in signature.outputs}:
            yield FieldViolation("spec.output_format", "expected OUTPUT_FORMAT_NPZ: the deployment gives no audio")
    if spec.output_format not in pb.OutputFormat.values():
        yield FieldViolation("spec.output_format", f"expected a value of OutputFormat, got {spec.output_format}")
    if spec.priority > MAX_PRIORITY:
        yield FieldViolation("spec.priority", f"expected 1 to {MAX_PRIORITY}, or 0 for 100; got {spec.priority}")
    yield from deadline_violations(spec.deadline_unix_us, "spec.deadline_unix_us")
    if not 0 <= spec.retention_s <= MAX_RETENTION_S:
        yield FieldViolation("spec.retention_s", f"expected 0 to {MAX_RETENTION_S} seconds, got {spec.retention_s}")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in spec.metadata.items())
    if len(spec.metadata) > MAX_METADATA or size > MAX_METADATA_BYTES:
        found = f"expected at most {MAX_METADATA} entries and {MAX_METADATA_BYTES} bytes, got {len(spec.metadata)}"
        yield FieldViolation("spec.metadata", f"{found} entries and {size} bytes")
    if spec.HasField("webhook"):
        yield from _webhook_violations(spec.webhook)


def deadline_violations(unix_us: int, field: str) -> Iterator[FieldViolation]:
    """A deadline must lie ahead, or be 0."""
    if unix_us and unix_us <= time.time() * MICROSECONDS:
        yield FieldViolation(field, f"expected a time to come in microseconds of Unix time, got {unix_us}")


def item_violations(
    items: Sequence[pb.NewItem], shared: Sequence[Tensor], signature: Signature | None
) -> Iterator[FieldViolation]:
    """What is wrong with items; fields are paths in the message they came in."""
    declared = Declared(signature.inputs) if signature is not None else None
    for index, item in enumerate(items):
        if not 0 < len(item.id) <= MAX_ID:
            yield FieldViolation(f"items[{index}].id", f"expected 1 to {MAX_ID} characters, got {len(item.id)}")
        found = list(tensors.violations(item.inputs)) or list(_misfits(item, shared, declared))
        for violation in found:
            yield FieldViolation(f"items[{index}].{violation.field}", f'item "{item.id}": {violation.description}')


def _misfits(item: pb.NewItem, shared: Sequence[Tensor], declared: Declared | None) -> Iterator[FieldViolation]:
    if declared is None:
        return iter(())
    inputs: list[Tensor] = list(item.inputs)
    if shared:
        own = {tensor.name for tensor in inputs}
        inputs += [tensor for tensor in shared if tensor.name not in own]
    return declared.violations(inputs)


def _webhook_violations(webhook: pb.Webhook) -> Iterator[FieldViolation]:
    if webhook.secret and (problem := secret_problem(webhook.secret)):
        yield FieldViolation("spec.webhook.secret", problem)
    for index, event in enumerate(webhook.events):
        if event not in pb.WebhookEvent.values() or event == pb.WEBHOOK_EVENT_UNSPECIFIED:
            yield FieldViolation(f"spec.webhook.events[{index}]", f"expected a value of WebhookEvent, got {event}")
    if not 0 <= webhook.progress_interval_s <= 86400:
        yield FieldViolation(
            "spec.webhook.progress_interval_s", f"expected 0 to 86400 seconds, got {webhook.progress_interval_s:g}"
        )
