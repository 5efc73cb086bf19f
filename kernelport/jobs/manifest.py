"""The manifest and the summary that land beside a job's outputs."""

import hashlib
import time
from typing import Any

from kernelport.jobs.records import MICROSECONDS, JobRecord
from kernelport.v1 import job_pb2 as pb

_STATES = {
    pb.ITEM_STATE_WAITING: "waiting",
    pb.ITEM_STATE_RUNNING: "running",
    pb.ITEM_STATE_SUCCEEDED: "succeeded",
    pb.ITEM_STATE_FAILED: "failed",
    pb.ITEM_STATE_CANCELLED: "cancelled",
}


def row(item: pb.Item, submitted: bytes | None = None) -> dict[str, Any]:
    """The manifest's line about an item.

    Args:
        submitted: the item's serialized NewItem; an item without text is told by the digest of its inputs.
    """
    what = {}
    if item.text:
        what["text"] = item.text
    elif submitted is not None:
        what["input_sha256"] = _input_digest(submitted)
    found: dict[str, Any] = {"id": item.id, "state": _STATES[item.state], **what}
    if item.state == pb.ITEM_STATE_SUCCEEDED:
        found |= {"file": item.file, "bytes": item.file_bytes, "sha256": item.sha256.hex()}
        if item.audio_s:
            found["seconds"] = round(item.audio_s, 6)
    if item.finished_unix_us:
        found["attempts"] = item.attempts
        found["timings"] = {
            "finished_unix_s": item.finished_unix_us / MICROSECONDS,
            "backend_s": round(item.backend_s, 6),
            "batch_size": item.batch_size,
        }
    if item.reason:
        found["error"] = item.reason
    return found


def summary(job: JobRecord, state: str, reason: str) -> dict[str, Any]:
    """The job as a whole.

    Args:
        state: what it ends in.
        reason: why; empty when there is nothing to tell.
    """
    known = job.job()
    progress = known.progress
    return {
        "job": job.id,
        "deployment": job.deployment,
        "state": state,
        "reason": reason,
        "metadata": dict(known.spec.metadata),
        "items": progress.items,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "cancelled": progress.items - progress.succeeded - progress.failed,
        "audio_s": progress.audio_s,
        "backend_s": progress.backend_s,
        # Seconds of work per second of audio, over all workers.
        "real_time_factor": progress.backend_s / progress.audio_s if progress.audio_s else None,
        "output_bytes": progress.output_bytes,
        # What padding batches to their longest item adds, as a share of the useful length.
        "padding_waste": progress.padded_cost / progress.useful_cost - 1 if progress.useful_cost else 0.0,
        "created_unix_s": known.created_unix_us / MICROSECONDS,
        "started_unix_s": known.started_unix_us / MICROSECONDS,
        "finished_unix_s": time.time(),
    }


def _input_digest(submitted: bytes) -> str:
    """SHA-256 over the inputs in the order of their names, each serialized as a Tensor."""
    tensors = sorted(pb.NewItem.FromString(submitted).inputs, key=lambda tensor: tensor.name)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.SerializeToString(deterministic=True))
    return digest.hexdigest()
